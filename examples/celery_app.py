"""A Celery application of one's own, on the fleet's Redis: its task is called with each result.

    celery --workdir examples -A celery_app worker
    python examples/celery_app.py "A quiet harbour"

The task gets the fields of `BatchResult`, the job's id among them, and whatever the signature brings along. It is
called at least once: `self.request.id` is the same each time.
"""

import os
import sys
from typing import Any

from celery import Celery

from replibatch import BatchRequest, enqueue

app = Celery(
    "pictures", broker=os.environ.get("CELERY_BROKER_URL") or os.environ["REPLIBATCH_REDIS_URL"], set_as_current=False
)
app.conf.task_default_queue = "pictures"


@app.task(name="pictures.deliver", bind=True)
def deliver(self: Any, result: dict[str, Any], user: str) -> None:
    """Hand a picture to its user."""
    made = result["file_paths"][0] if result["success"] else result["error"]
    print(f"for {user}: {result['prompt']!r} is {made} (job {result['job_id']}, call {self.request.id})", flush=True)


def ask(prompt: str, user: str) -> str:
    """Ask for a picture; its task is called later, by a worker of this application."""
    return enqueue(BatchRequest(prompt, "qwen/qwen-image", fields={"user": user}), link=deliver.s(user)).id


if __name__ == "__main__":
    print(ask(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "nobody"))
