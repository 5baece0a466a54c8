"""The project's own client of the stand-in, and what it takes to make one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from replibatch.replicate_api import Prediction, ReplicateAPI
from tests.support.sandbox_caller import TOKEN, wait_for


class Reads:
    """Counts reads, and lets them through."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@contextlib.contextmanager
def account(
    url: str,
    *,
    token: str = TOKEN,
    await_read: Callable[[], None] = lambda: None,
    settle_seconds: float = 30.0,
) -> Iterator[ReplicateAPI]:
    """A client of the server at `url`, closed in the end."""
    api = ReplicateAPI(url, SecretStr(token), await_read=await_read, settle_seconds=settle_seconds)
    try:
        yield api
    finally:
        api.close()


def create(
    api: ReplicateAPI,
    model: str,
    sent: dict[str, Any],
    seconds: float = 60,
    may_send: Callable[[], bool] = lambda: True,
) -> Prediction:
    """Create a prediction."""
    return api.create(model, sent, seconds, may_send=may_send)


def ended(api: ReplicateAPI, prediction_id: str) -> str:
    """How a prediction ends."""
    wait_for(lambda: api.get(prediction_id).is_over)
    return api.get(prediction_id).status


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and everything it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def write(folder: Path, name: str, content: bytes = b"content") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def inputs(prompt: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, **more}
