"""Checks of a running Redis against the needs of this queue, for `doctor` and the start of a worker."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

OLDEST_VERSION = (6, 2)  # the Lua scripts and the commands they call need it
# Of each branch, the first release without the holes in Lua that were found until 2025.
MENDED = ((6, 2, 20), (7, 2, 11), (7, 4, 6), (8, 0, 4))
FULL = 0.9  # of its memory: from here on writes may soon be refused


class Health(StrEnum):
    """A finding's verdict."""

    OK = "ok"
    NOTE = "note"  # worth knowing, or could not be checked; no failure
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One checked subject.

    Attributes:
        subject: in a word or two.
        state: the verdict.
        found: how it is.
        mend: what to do about it; empty where nothing has to be done.
    """

    subject: str
    state: Health
    found: str
    mend: str = ""


def check_server(redis: Redis, *, is_shared: bool = True) -> list[Finding]:
    """Check whether a Redis that answers keeps to the settings that the promises rest on.

    Args:
        redis: a client of this Redis.
        is_shared: whether other users reach it: an embedded one serves this user only.

    Raises:
        RedisError: it went away meanwhile.
    """
    try:
        info: dict[str, Any] = redis.info()
    except ResponseError as error:  # not permitted; or not a real Redis
        mend = "allow this user the command INFO: without it the loss of Redis' data may go unnoticed"
        return [Finding("redis server", Health.NOTE, f"INFO is refused: {error}", mend)]
    version = _version(info, is_shared=is_shared)
    return [version, _role(info), _persistence(info, redis), _eviction(info), _memory(info)]


def unreachable(error: RedisError, address: str) -> Finding:
    """Why a Redis did not let this process in, and what to do about it.

    Args:
        error: what a first `PING` raised.
        address: where, without the password.
    """
    if isinstance(error, AuthenticationError):
        mend = "fix user and password in REPLIBATCH_REDIS_URL; characters such as / # ? in it as %2F %23 %3F"
        return Finding("redis", Health.WRONG, f"{address} refuses the password: {error}", mend)
    if isinstance(error, NoPermissionError):
        mend = "give this user the rights that docs/deployment.md lists under ACL"
        return Finding("redis", Health.WRONG, f"{address}: {error}", mend)
    mend = "start Redis, or fix host, port and scheme (rediss:// with TLS) in REPLIBATCH_REDIS_URL"
    return Finding("redis", Health.WRONG, f"no answer from {address}: {error}", mend)


def _mended_in(version: tuple[int, ...]) -> str | None:
    """The release that fixes a version's known holes in Lua; None where it has none."""
    mended = next((each for each in MENDED if each[:2] == version[:2]), None)
    if mended is None:
        mended = next((each for each in MENDED if each[:2] > version[:2]), None)  # a branch that is kept up no more
    return ".".join(map(str, mended)) if mended and version < mended else None


def _version(info: dict[str, Any], *, is_shared: bool) -> Finding:
    version = str(info.get("redis_version", "unknown"))
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {version}"
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    if numbers < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        return Finding("redis version", Health.WRONG, f"{name} is too old", f"install Redis {oldest} or later")
    if is_shared and "valkey_version" not in info and (safe := _mended_in(numbers)):
        mend = f"install Redis {safe} or later; until then let nobody you do not trust log in to it"
        found = f"{name} has known holes in Lua: whoever may run scripts can take it over (CVE-2025-49844)"
        return Finding("redis version", Health.NOTE, found, mend)
    return Finding("redis version", Health.OK, name)


def _role(info: dict[str, Any]) -> Finding:
    if info.get("redis_mode") == "cluster":
        mend = "use one Redis, or one behind Sentinel: the queue cannot be spread over a cluster"
        return Finding("redis role", Health.WRONG, "a node of a cluster", mend)
    if info.get("role") == "slave":
        mend = "let REPLIBATCH_REDIS_URL name the primary, or the sentinels that know it"
        return Finding("redis role", Health.WRONG, "a replica, which takes no writes", mend)
    return Finding("redis role", Health.OK, "primary")


def _persistence(info: dict[str, Any], redis: Redis) -> Finding:
    subject = "redis persistence"
    if not info.get("aof_enabled"):
        mend = "set appendonly yes and appendfsync always"
        return Finding(subject, Health.WRONG, "no append-only file: a restart loses work that was acknowledged", mend)
    if "err" in (info.get("aof_last_write_status"), info.get("aof_last_bgrewrite_status")):
        mend = "see its log; often the disk is full"
        return Finding(subject, Health.WRONG, "the append-only file cannot be written", mend)
    try:
        fsync = redis.config_get("appendfsync").get("appendfsync", "unknown")
    except ResponseError:  # a managed Redis
        found = "appendonly yes; appendfsync cannot be read here"
        return Finding(subject, Health.NOTE, found, "have the operator confirm appendfsync always")
    if fsync != "always":
        found = f"appendfsync {fsync}: a crash may lose acknowledged writes, and something may be paid for twice"
        return Finding(subject, Health.WRONG, found, "set appendfsync always")
    return Finding(subject, Health.OK, "appendonly yes, appendfsync always")


def _eviction(info: dict[str, Any]) -> Finding:
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        found = f"maxmemory-policy {policy}: short of memory it deletes work"
        return Finding("redis eviction", Health.WRONG, found, "set maxmemory-policy noeviction")
    return Finding("redis eviction", Health.OK, "maxmemory-policy noeviction")


def _memory(info: dict[str, Any]) -> Finding:
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    found = f"{used / 2**20:,.0f} MiB" + (f" of {limit / 2**20:,.0f}" if limit else " in use, no limit set")
    if limit and used > FULL * limit:
        mend = "raise maxmemory, or lower REPLIBATCH_KEEP_DAYS; a full Redis takes no work"
        return Finding("redis memory", Health.WRONG, found, mend)
    return Finding("redis memory", Health.OK, found)
