"""The worker process: the Celery app, its one task, its start and its end.

`celery -A replibatch.worker worker` finds the app here; it is made at first use, since making it reads the settings.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "celery":
        from replibatch.worker.app import app  # noqa: PLC0415  # see above

        return app
    raise AttributeError(name)
