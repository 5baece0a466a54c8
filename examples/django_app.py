"""The same in Django, as one file: views for WSGI and for ASGI.

    pip install django
    python examples/django_app.py runserver --noreload
    curl -o harbour.webp 'http://127.0.0.1:8000/stream?prompt=A+quiet+harbour'

No request has an output name: each job then has a file of its own, and no two users share one.
"""

import sys

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.urls import path

from replibatch import BatchRequest, QueueUnavailable, RequestError, aenqueue, enqueue

MODEL = "qwen/qwen-image"

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1", "localhost", "testserver"], SECRET_KEY="unused")  # noqa: S106


def stream(request: HttpRequest) -> HttpResponseBase:
    """Make an image and stream it."""
    try:
        job = enqueue(BatchRequest(request.GET.get("prompt"), MODEL))
    except (RequestError, QueueUnavailable) as error:
        return JsonResponse({"error": str(error)}, status=400 if isinstance(error, RequestError) else 503)
    result = job.result(timeout=300, bring_files=False)
    if not result.success:
        return JsonResponse({"error": result.error}, status=502)
    return StreamingHttpResponse(iter(result.files[0]), content_type="image/webp", headers={"X-Job": job.id})


async def astream(request: HttpRequest) -> HttpResponseBase:
    """The same under ASGI: a wait is a future."""
    job = await aenqueue(BatchRequest(request.GET.get("prompt"), MODEL))
    result = await job.aresult(timeout=300, bring_files=False)
    if not result.success:
        return JsonResponse({"error": result.error}, status=502)
    return StreamingHttpResponse(aiter(result.files[0]), content_type="image/webp", headers={"X-Job": job.id})


urlpatterns = [path("stream", stream), path("astream", astream)]
django.setup()
application = WSGIHandler()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
