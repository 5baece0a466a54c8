"""What the records write for Celery's result backend is what Celery's own `store_result` would write."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

from replibatch.broker.app import make_app
from replibatch.broker.results import IN_BRIEF, ResultBackend
from replibatch.errors import ReplibatchError
from replibatch.jobs import Notice
from replibatch.requests import BatchResult, State
from replibatch.settings import load

DONE = BatchResult("asked", "a fox", "a/model", "a/model", True, state=State.SUCCEEDED)
FAILED = BatchResult("asked", "a fox", "a/model", None, False, error="no model is left", state=State.FAILED)


class App:
    """The worker's, while it runs a task."""

    def __init__(self, redis_url: str) -> None:
        self._app = make_app(load(), redis_url)
        self.backend = self._app.backend
        self.request = SimpleNamespace(
            id="one", args=["one", 1], kwargs={}, task="replibatch.generate", hostname="w@here", retries=2,
            delivery_info={"routing_key": "q"}, group=None, parent_id=None, children=[],
        )  # fmt: skip
        self.current_task = SimpleNamespace(request=self.request)


@pytest.fixture
def app(redis_url: str) -> App:
    return App(redis_url)


def stored(app: App, redis_url: str, state: str, outcome: Any, request: Any) -> dict[str, Any]:
    """What Celery itself keeps."""
    app.backend.store_result("one", outcome, state, request=request)
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        return plain(redis.get(app.backend.get_key_for_task("one").decode()))


def plain(text: Any) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(text)
    return {name: value for name, value in fields.items() if name != "date_done"}


def test_of_a_single_job(app: App, redis_url: str) -> None:
    notice = ResultBackend(app).ended("one", DONE, in_batch=False)  # type: ignore[arg-type]
    assert isinstance(notice, Notice) and notice.seconds == app.backend.expires
    assert plain(notice.text) == stored(app, redis_url, "SUCCESS", DONE.to_json(), app.request)
    assert plain(notice.text)["retries"] == 2


def test_of_a_failure(app: App, redis_url: str) -> None:
    notice = ResultBackend(app).ended("one", FAILED, in_batch=False)  # type: ignore[arg-type]
    assert plain(notice.text) == stored(app, redis_url, "FAILURE", ReplibatchError("no model is left"), app.request)


def test_of_a_start(app: App, redis_url: str) -> None:
    notice = ResultBackend(app).started("one")  # type: ignore[arg-type]
    assert plain(notice.text) == stored(app, redis_url, "STARTED", None, app.request)


def test_of_a_batch_no_more_than_the_outcome(app: App) -> None:
    notice = ResultBackend(app).ended("one", DONE, in_batch=True)  # type: ignore[arg-type]
    assert set(plain(notice.text)["result"]) == set(IN_BRIEF)
    assert "args" not in plain(notice.text)
