"""A web application that makes images: one request asks for it, another streams the file as soon as it is there.

    pip install flask
    flask --app examples/web_app.py run
    curl -d prompt="A quiet harbour" http://127.0.0.1:5000/images
    curl -o harbour.webp http://127.0.0.1:5000/images/…   # the address that the first one answered with

The application needs no token and no worker of its own where REPLIBATCH_REDIS_URL names a fleet. Files are streamed
from the workers' storage, a folder or a bucket, and never held whole in memory.
"""

from mimetypes import guess_type

from flask import Flask, Response, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue

from replibatch import BatchRequest, Job, NoSuchWork, OutputFile, QueueUnavailable, RequestError, enqueue

app = Flask(__name__)


@app.post("/images")
def ask() -> ResponseReturnValue:
    """Ask for an image; answers at once, with the address it will have."""
    try:
        job = enqueue(BatchRequest(request.form["prompt"], request.form.get("model", "qwen/qwen-image")))
    except RequestError as error:
        return {"error": str(error)}, 400
    except QueueUnavailable as error:
        return {"error": str(error)}, 503
    address = url_for("show", job_id=job.id, _external=True)
    return {"image": address}, 202, {"Location": address}


@app.get("/images/<job_id>")
def show(job_id: str) -> ResponseReturnValue:
    """The image, or how far it is."""
    try:
        job = Job.get(job_id)
        state = job.status()
    except NoSuchWork as error:
        return {"error": str(error)}, 404
    if not state.is_final:
        return {"state": state}, 202, {"Retry-After": "1"}
    result = job.result(bring_files=False)
    if not result.success:
        return {"state": state, "error": result.error}, 502
    return streamed(result.files[0])


@app.get("/stream")
def stream() -> ResponseReturnValue:
    """Make an image and stream it in one request, which takes as long as the model does."""
    job = enqueue(BatchRequest(request.args["prompt"], "qwen/qwen-image"))
    result = job.result(timeout=300, bring_files=False)
    if not result.success:
        return {"error": result.error}, 502
    response = streamed(result.files[0])
    response.headers["X-Job"] = job.id
    return response


def streamed(file: OutputFile) -> Response:
    """An output as a response: it is an iterator of its chunks, like any other."""
    response = app.response_class(stream_with_context(file), mimetype=guess_type(file.path)[0])
    response.content_length = file.size_bytes
    return response
