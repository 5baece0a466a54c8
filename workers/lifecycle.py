"""A worker process from its first check to its last hand-over."""

from __future__ import annotations

import sys

import structlog
from redis import Redis

from replibatch.errors import AccountStopped, AttemptFailure, SettingsError
from replibatch.workshop import Workshop
from workers.app import app, embedded, redis_url, report, settings
from workers.custodian import Custodian

log = structlog.get_logger(__name__)


class _Open:
    """The process's workshop and custodian, while they are open."""

    shop: Workshop | None = None
    custodian: Custodian | None = None


def shop() -> Workshop:
    """This process's workshop."""
    if _Open.shop is None:
        raise RuntimeError("the worker has not started")
    return _Open.shop


def open_shop() -> None:
    """Check token and Redis, then begin. A token Replicate refuses ends the worker before it takes any work."""
    try:
        opened = Workshop(settings, redis_url, embedded=embedded, report=report)
    except SettingsError as error:
        sys.exit(f"replibatch: {error}")
    _warn_of_lost_writes(opened.redis)
    try:
        account = opened.api.account()
    except AccountStopped as stop:
        opened.gate.stop(f"{type(stop).__name__}: {stop}")
        sys.exit(f"replibatch: {stop}")
    except AttemptFailure as failure:
        log.warning("could not ask for the account", error=str(failure))
    else:
        log.info("account", name=account, limits=opened.gate.prefix)
    opened.gate.resume()
    opened.start()
    _Open.shop = opened
    _Open.custodian = Custodian(opened, app)
    _Open.custodian.start()


def close_shop() -> None:
    """Hand over what is left, and take leave."""
    if _Open.shop and _Open.custodian:
        _Open.custodian.stop()
        _Open.shop.stop()
        _Open.shop = None


def _warn_of_lost_writes(redis: Redis) -> None:
    """Say so when this Redis could lose a write it has acknowledged: nothing paid twice rests on that."""
    persistence = redis.info("persistence")
    if not persistence.get("aof_enabled"):
        log.warning("redis keeps no append-only file: after its restart work is lost; set appendonly yes")
    policy = redis.config_get("maxmemory-policy").get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        log.warning("redis may evict keys; set maxmemory-policy noeviction", found=policy)
