"""Whoever reaches the queue, or Flower's port, ends no worker, and no page of another site reads Flower."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from celery.app.control import Control
from redis import Redis

from replibatch import BatchRequest, enqueue_batch
from replibatch.broker.app import make_app
from replibatch.broker.publish import queue_lists
from replibatch.sandbox import Sandbox
from replibatch.settings import load
from tests.support.flower_server import FlowerServer
from tests.support.waiting import until

MODEL = "qwen/qwen-image"
NO_MESSAGES = (
    "not json",
    "[]",
    "{}",
    "null",
    "5",
    '"text"',
    "\x1b]0;owned\x07",
    "[" * 5000,
    json.dumps({"body": "x"}),
    json.dumps({"body": "x", "properties": {}, "headers": {}}),
    json.dumps({"body": "!", "content-encoding": "utf-8", "content-type": "application/x-python-serialize",
                "headers": {"task": "replibatch.generate", "id": "x"},
                "properties": {"delivery_tag": "x", "delivery_info": {}, "body_encoding": "base64"}}),
    json.dumps({"body": "W1tdLHt9LHt9XQ==", "content-encoding": "utf-8", "content-type": "application/json",
                "headers": {"task": "os.system", "id": "x"},
                "properties": {"delivery_tag": "y", "delivery_info": {}, "body_encoding": "base64"}}),
    json.dumps({"body": "W1tdLHt9LHt9XQ==", "content-encoding": "utf-8", "content-type": "application/json",
                "headers": {"task": "replibatch.generate", "id": "x", "lang": "py", "argsrepr": "x"},
                "properties": {"delivery_tag": "z", "delivery_info": {}, "body_encoding": "base64"}}),
)  # fmt: skip
REMOTE = (
    ("add_consumer", {"queue": "of-another"}),
    ("pool_shrink", {"n": 100}),
    ("pool_grow", {"n": 10_000}),
    ("pool_restart", {}),
    ("autoscale", {"max": 0, "min": 0}),
    ("rate_limit", {"task_name": "replibatch.generate", "rate_limit": "1/h"}),
    ("time_limit", {"task_name": "replibatch.generate", "hard": 1, "soft": 1}),
)


def ping(control: Control) -> object:
    """The worker's answer; `Control.ping` would wait for more of them."""
    return control.broadcast("ping", reply=True, timeout=1, limit=1)


def test_a_worker_survives_what_is_no_message_and_commands_that_would_stop_it(
    fleet: str, sandbox: Sandbox, start_worker: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    worker = start_worker("--concurrency", "4")
    control = make_app(load(), fleet).control
    until(lambda: ping(control), what="the worker answers")
    lists = queue_lists(load())
    with Redis.from_url(fleet) as redis:
        for name in lists.values():
            redis.lpush(name, *NO_MESSAGES)
        redis.publish("/0.celery.pidbox", "not json")
        redis.publish("/0.celery.pidbox", '{"a": 1}')
    until(lambda: ping(control), what="the worker answers again")
    for command, arguments in (*REMOTE, ("cancel_consumer", {"queue": lists[0]})):
        answers = control.broadcast(command, arguments=arguments, reply=True, timeout=30, limit=1)
        assert answers, command
        assert all("refused" in str(answer) for reply in answers for answer in reply.values()), (command, answers)
    batch = enqueue_batch(BatchRequest(f"p{number}", MODEL) for number in range(4))
    assert all(result.success for result in batch.results(timeout=60))
    assert worker.poll() is None
    until(lambda: sum(Redis.from_url(fleet).llen(name) for name in lists.values()) == 0, what="the queue is empty")
    said = (tmp_path / "worker-0.log").read_text()
    assert "\x1b]0" not in said
    assert "thrown away" in said


@pytest.mark.parametrize("password", ["", "operator:correct horse"])
def test_flower_answers_no_page_of_another_site(fleet: str, sandbox: Sandbox, tmp_path: Path, password: str) -> None:
    environment = {"FLOWER_BASIC_AUTH": password} if password else {}
    server = FlowerServer(tmp_path, environment) if password else FlowerServer(tmp_path, {}, without_password=True)
    try:
        for path in (
            "/replibatch",
            "/replibatch/fleet.json",
            "/api/workers",
            "/tasks",
            "/metrics",
            "/static/css/x.css",
        ):
            rebound = server.client.get(path, headers={"Host": "evil.example:5555"})
            assert password or rebound.status_code == 403, path
        for path in ("/api/worker/shutdown/x", "/api/task/revoke/x", "/api/worker/queue/cancel-consumer/x"):
            for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
                assert server.client.post(path, headers=headers).status_code == 403, path
        assert server.client.get("/replibatch").status_code == 200
    finally:
        server.close()
