"""What is found in real servers that are set up wrongly, and in one that is set up well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from redis.exceptions import RedisError

from replibatch.embedded.server import free_port
from replibatch.redisdb.connection import connect
from replibatch.redisdb.health import Finding, Health, _version, check_server, unreachable
from tests.support.redis_server import RedisServer


@pytest.fixture
def redis(durable_redis: RedisServer) -> Iterator[Redis]:
    with Redis.from_url(durable_redis.url, decode_responses=True) as client:
        yield client


def wrong(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings if finding.state == Health.WRONG}


def test_a_well_set_up_server_passes_every_check(redis: Redis) -> None:
    findings = check_server(redis, is_shared=False)
    assert [finding.state for finding in findings] == [Health.OK] * 5
    assert not any(finding.mend for finding in findings)


@pytest.mark.parametrize(
    ("directive", "value", "subject", "mend"),
    [
        ("appendonly", "no", "redis persistence", "appendonly yes"),
        ("appendfsync", "everysec", "redis persistence", "appendfsync always"),
        ("maxmemory-policy", "allkeys-lru", "redis eviction", "noeviction"),
        ("maxmemory", "500000", "redis memory", "maxmemory"),
    ],
)
def test_a_directive_that_loses_work_is_named_with_its_mend(
    redis: Redis, directive: str, value: str, subject: str, mend: str
) -> None:
    redis.config_set(directive, value)
    (finding,) = wrong(check_server(redis, is_shared=False)).values()
    assert finding.subject == subject and mend in finding.mend


def test_a_replica_is_not_the_server_to_work_with(redis: Redis) -> None:
    redis.replicaof("127.0.0.1", str(free_port()))
    assert "primary" in wrong(check_server(redis, is_shared=False))["redis role"].mend


def test_what_a_user_may_not_ask_is_not_taken_for_wrong(redis: Redis, durable_redis: RedisServer) -> None:
    redis.execute_command("ACL", "SETUSER", "narrow", "on", ">narrow", "~*", "+info")
    redis.execute_command("ACL", "SETUSER", "blind", "on", ">blind", "~*", "+ping")
    for user, expected in (("narrow", "appendfsync"), ("blind", "INFO")):
        with Redis.from_url(durable_redis.url, username=user, password=user, decode_responses=True) as client:
            findings = check_server(client, is_shared=False)
        assert not wrong(findings)
        (note,) = (finding for finding in findings if finding.state == Health.NOTE)
        assert expected in note.found and note.mend


def test_a_wrong_password_is_told_from_nobody_there(redis: Redis, durable_redis: RedisServer) -> None:
    redis.config_set("requirepass", "right")
    before = redis.info("stats")["total_connections_received"]

    def trouble(url: str) -> Finding:
        with connect(url) as client, pytest.raises(RedisError) as caught:
            client.ping()
        assert isinstance(caught.value, RedisError)
        return unreachable(caught.value, "redis.example")

    socket = durable_redis.url.removeprefix("unix://")
    for refused in (durable_redis.url, f"unix://:wrong@{socket}"):
        found = trouble(refused).found
        assert "refuses the password" in found and "wrong" not in found
    tried = redis.info("stats")["total_connections_received"] - before
    assert tried == 2, "what is refused is not tried again, and told at once"
    assert "no answer from redis.example" in trouble(f"redis://127.0.0.1:{free_port()}/0").found


@pytest.mark.parametrize(
    ("version", "fixed_in"),
    [
        ("6.2.14", "6.2.20"),
        ("7.0.15", "7.2.11"),
        ("7.2.10", "7.2.11"),
        ("7.4.5", "7.4.6"),
        ("8.0.3", "8.0.4"),
        ("6.2.20", None),
        ("7.2.11", None),
        ("7.4.7", None),
        ("8.0.4", None),
        ("8.2.0", None),
    ],
)
def test_versions_with_known_holes_are_named(version: str, fixed_in: str | None) -> None:
    found = _version({"redis_version": version}, is_shared=True)
    assert (found.state == Health.NOTE) == (fixed_in is not None)
    assert fixed_in is None or f"Redis {fixed_in} or later" in found.mend
    assert _version({"redis_version": version}, is_shared=False).state == Health.OK
