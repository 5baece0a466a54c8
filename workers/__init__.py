"""The fleet's entry point in a checkout and in the image: `celery -A workers worker`.

An installed package has it as `replibatch.worker`.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "celery":
        from replibatch.worker.app import app  # noqa: PLC0415  # making the app reads the settings

        return app
    raise AttributeError(name)
