"""The rights that docs/deployment.md gives a user of Redis are enough to work with, and hardly more."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from replibatch import BatchRequest, enqueue_batch
from replibatch.redisdb.health import Health
from replibatch.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.redis_server import RedisServer

RULES = re.compile(r"^user replibatch (.+)$", re.MULTILINE)


@pytest.fixture
def fleet(durable_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a user with the documented rights, and nobody else let in without a password."""
    rules = RULES.findall((PROJECT / "docs" / "deployment.md").read_text())
    assert len(rules) == 1
    with Redis.from_url(durable_redis.url) as redis:
        redis.execute_command("ACL", "SETUSER", "replibatch", *rules[0].replace(">PASSWORD", ">s3cret").split())
    url = f"unix://replibatch:s3cret@{durable_redis.url.removeprefix('unix://')}"
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", url)
    return url


def test_a_batch_is_made_with_the_documented_rights_and_nothing_was_denied(
    fleet: str, durable_redis: RedisServer, sandbox: Sandbox, start_worker: Callable[..., subprocess.Popen[bytes]]
) -> None:
    start_worker("--concurrency", "4")
    batch = enqueue_batch(BatchRequest(f"p{number}", "qwen/qwen-image") for number in range(6))
    assert all(result.success for result in batch.results(timeout=90))
    for command in ("status", "doctor"):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "replibatch", command, "--json"],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert {check["state"] for check in json.loads(done.stdout)["checks"]} == {Health.OK}
    with Redis.from_url(durable_redis.url, decode_responses=True) as redis:
        denied = [(entry["reason"], entry["object"]) for entry in redis.acl_log()]
    # Redis 6.2 counts all of CLIENT as dangerous; a client says its name there, and is content with a no.
    assert set(denied) <= {("command", "client")}


def test_nothing_of_others_can_be_read_and_nothing_administered(fleet: str, durable_redis: RedisServer) -> None:
    with Redis.from_url(durable_redis.url) as redis:
        redis.set("session:of-another-application", "secret")
    with Redis.from_url(fleet) as redis:
        for command in (
            ["GET", "session:of-another-application"],
            ["FLUSHALL"],
            ["CONFIG", "SET", "appendonly", "no"],
            ["ACL", "LIST"],
            ["KEYS", "*"],
        ):
            with pytest.raises(NoPermissionError):
                redis.execute_command(*command)
