"""The rights that docs/deployment.md gives each user of Redis are enough to work with, and no more."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from replibatch import BatchRequest, enqueue_batch
from replibatch.sandbox import Sandbox
from tests.support import PROJECT
from tests.support.commands import replibatch
from tests.support.flower_server import FlowerServer
from tests.support.redis_server import RedisServer

USERS = re.compile(r"^user (\w+) (on .+)$", re.MULTILINE)
NAMES = ("producer", "worker", "flower")


def users_of(server: RedisServer) -> dict[str, str]:
    """Give a server the users with the documented rights; their addresses."""
    rules = dict(USERS.findall((PROJECT / "docs" / "deployment.md").read_text()))
    assert tuple(rules) == NAMES
    place = server.url.removeprefix("unix://")
    with Redis.from_url(server.url) as redis:
        for name, words in rules.items():
            redis.execute_command("ACL", "SETUSER", name, *words.replace(">PASSWORD", ">s3cret").split())
    return {name: f"unix://{name}:s3cret@{place}" for name in NAMES}


@pytest.fixture
def urls(durable_redis: RedisServer) -> dict[str, str]:
    """Addresses of the users with the documented rights; the administrator has a password."""
    return users_of(durable_redis)


@pytest.fixture
def fleet(urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What is run here is a producer."""
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", urls["producer"])
    return urls["worker"]


def denied(durable_redis: RedisServer) -> set[tuple[str, str, str]]:
    with Redis.from_url(durable_redis.url, decode_responses=True) as redis:
        log = {(entry["username"], entry["reason"], entry["object"]) for entry in redis.acl_log()}
    # Redis 6.2 counts all of CLIENT as dangerous; a client says its name there, and is content with a no. Whether a
    # write is synced at once cannot be read, and a producer may load no script: both are asked, and done without.
    return {each for each in log if each[2] not in ("client", "config", "config|get") and each not in LOADS}


LOADS = {("producer", "command", "eval"), ("flower", "command", "eval"), ("flower", "command", "script")}


def test_a_batch_is_made_with_the_documented_rights_and_nothing_was_denied(
    urls: dict[str, str],
    fleet: str,
    durable_redis: RedisServer,
    sandbox: Sandbox,
    start_worker: Callable[..., subprocess.Popen[bytes]],
    tmp_path: object,
) -> None:
    start_worker("--concurrency", "4", REPLIBATCH_REDIS_URL=urls["worker"])
    batch = enqueue_batch(BatchRequest(f"p{number}", "qwen/qwen-image") for number in range(6))
    assert all(result.success for result in batch.results(timeout=90))
    for command in ("status", "doctor"):
        done = replibatch(command, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
    with Redis.from_url(durable_redis.url) as redis:
        redis.script_flush()
    again = enqueue_batch(BatchRequest(f"q{number}", "qwen/qwen-image") for number in range(2))
    assert all(result.success for result in again.results(timeout=90))
    server = FlowerServer(tmp_path, {"REPLIBATCH_REDIS_URL": urls["flower"]})
    try:
        assert server.client.get("/replibatch").status_code == 200
        assert server.client.get("/replibatch/fleet").status_code in (200, 404)
    finally:
        server.close()
    assert denied(durable_redis) == set()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_others_can_be_read_and_nothing_administered(
    name: str, urls: dict[str, str], durable_redis: RedisServer
) -> None:
    with Redis.from_url(durable_redis.url) as redis:
        redis.set("session:of-another-application", "secret")
        redis.config_set("requirepass", "of-the-administrator")
    loop = "while true do end"
    attacks: list[list[str]] = [
        ["GET", "session:of-another-application"],
        ["CONFIG", "GET", "requirepass"],
        ["CONFIG", "SET", "appendonly", "no"],
        *([["EVAL", loop, "0"], ["SCRIPT", "LOAD", loop]] if name != "worker" else []),
        *(["SCRIPT", "FLUSH"], ["SCRIPT", "KILL"], ["FLUSHALL"], ["FLUSHDB"], ["KEYS", "*"], ["ACL", "LIST"]),
        *(["ACL", "SETUSER", "default", "nopass"], ["CLIENT", "KILL", "TYPE", "normal"], ["CLIENT", "LIST"]),
        *(["DEBUG", "SLEEP", "1"], ["MONITOR"], ["SHUTDOWN", "NOSAVE"], ["REPLICAOF", "NO", "ONE"], ["SAVE"]),
        *(["MIGRATE", "127.0.0.1", "1", "rb:x", "0", "1"], ["MODULE", "LIST"], ["BGREWRITEAOF"]),
        *(["RESTORE", "rb:x", "0", "x"], ["SORT", "session:of-another-application"], ["SLOWLOG", "GET"]),
        *(["PUBLISH", "of-another-application", "x"], ["LATENCY", "DOCTOR"], ["EVAL_RO", loop, "0"]),
    ]
    with Redis.from_url(urls[name]) as redis:
        assert redis.ping()
        for attack in attacks:
            with pytest.raises((NoPermissionError, ResponseError)) as refused:
                redis.execute_command(*attack)
            assert isinstance(refused.value, NoPermissionError) or "unknown command" in str(refused.value), attack
