"""The checks of `doctor`, one function a subject: Redis, token, storage, clock, account, workers, calls."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis
from redis.exceptions import RedisError

from replibatch import embedded
from replibatch.errors import AccountStopped, ReplibatchError, SettingsError
from replibatch.jobs import Jobs
from replibatch.jobs.webhooks import OwedWebhooks
from replibatch.limits import AccountStatus, Limiter
from replibatch.limits.process import process_name
from replibatch.limits.reads import Reads
from replibatch.redisdb.connection import connect
from replibatch.redisdb.health import Finding, Health, check_server, unreachable
from replibatch.replicate_api import ReplicateAPI
from replibatch.settings import Settings
from replibatch.storage.shared import storage_for

LARGEST_SKEW_SECONDS = 10.0
NAMED = 5  # workers; the others are counted
UNREAD_SECONDS = 10.0  # that a call of an application's task may wait in its queue
TOKENS_PAGE = "https://replicate.com/account/api-tokens"


def examine(settings: Settings) -> list[Finding]:
    """Everything that has to be in order before money is spent; nothing is created, and nothing started but the
    embedded Redis.

    Raises:
        SettingsError: the address of Redis is malformed.
    """
    findings: list[Finding] = []
    redis = _reach(settings, findings)
    limiter = Limiter(redis, settings, process_name()) if redis is not None else None
    findings += [check_token(settings, redis), check_storage(settings)]
    if redis is None or limiter is None:
        return findings
    try:
        findings.append(check_clock(redis))
        now = limiter.status()
        calls = check_calls(Jobs(redis, settings, ""))
    except RedisError as error:  # it answers a PING, but not a worker's calls
        return [*findings, unreachable(error, settings.redis_address)]
    return [*findings, check_account(settings, now), *check_outages(now), check_workers(settings, now), *calls]


def _reach(settings: Settings, findings: list[Finding]) -> Redis | None:
    """A client of a Redis that answers, or None; adds what was found on the way."""
    address = settings.redis_address
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        try:
            url = settings.redis_url.get_secret_value() if settings.redis_url else embedded.attach(settings)
        except SettingsError as error:
            findings.append(_of_error("redis", error))
            return None
    if any(issubclass(warning.category, UserWarning) for warning in warned):
        found = "no Redis on this machine: a substitute serves, which keeps nothing on the disk"
        findings.append(Finding("redis", Health.WRONG, found, "install redis-server, or set REPLIBATCH_REDIS_URL"))
        return connect(url)
    redis = connect(url)
    try:
        redis.ping()
        findings.append(_reached(settings, address))
        findings += check_server(redis, is_shared=settings.redis_url is not None)
    except RedisError as error:
        findings.append(unreachable(error, address))
        return None
    return redis


def _reached(settings: Settings, address: str) -> Finding:
    url = urlsplit(settings.redis_url.get_secret_value() if settings.redis_url else "")
    is_near = url.scheme in ("", "unix", "redis+socket") or url.hostname in ("localhost", "127.0.0.1", "::1")
    if url.password is None and not is_near:
        found = f"{address} answers without a password: who reaches it can read and change the work"
        return Finding("redis", Health.NOTE, found, "set requirepass, and the password in REPLIBATCH_REDIS_URL")
    return Finding("redis", Health.OK, f"{address} answers")


def check_token(settings: Settings, redis: Redis | None) -> Finding:
    """Ask Replicate which account the token belongs to.

    Args:
        settings: the token, and the server to ask.
        redis: where it answers, the read is counted among the account's.
    """

    token, server = settings.replicate_api_token, settings.replicate_base_url
    if token is None and settings.redis_url is not None:
        found = "REPLICATE_API_TOKEN is not set here; that will do where nothing but producers run"
        return Finding("token", Health.NOTE, found, "set it where workers run")
    if token is None:
        mend = f"set it in the environment or in .env; tokens are made at {TOKENS_PAGE}"
        return Finding("token", Health.WRONG, "REPLICATE_API_TOKEN is not set", mend)
    api = ReplicateAPI(
        server,
        token,
        await_read=Reads(redis, settings).wait if redis is not None else lambda: None,
        settle_seconds=settings.settle_seconds,
    )
    try:
        return Finding("token", Health.OK, f"accepted by {server}; the account is {api.account()}")
    except AccountStopped as error:
        mend = f"put a valid one in REPLICATE_API_TOKEN; tokens are made at {TOKENS_PAGE}"
        return Finding("token", Health.WRONG, str(error), mend)
    except ReplibatchError as error:
        mend = "fix the way to it (network, proxy, firewall), or REPLICATE_BASE_URL"
        return Finding("token", Health.WRONG, f"{server} could not be asked: {error}", mend)
    except RedisError as error:
        return Finding("token", Health.NOTE, f"not checked: {error}", "fix Redis first")
    finally:
        api.close()


def check_storage(settings: Settings) -> Finding:
    """Write a file to the storage, and remove it."""
    try:
        storage_for(settings, embedded=settings.redis_url is None).check_writable()
    except SettingsError as error:
        return _of_error("storage", error)
    if settings.storage_url is None:
        return Finding("storage", Health.OK, f"{Path.cwd()} (the working directory) can be written")
    parts = urlsplit(settings.storage_url)
    where = f"{parts.scheme}://{parts.hostname or ''}{parts.path}" if "://" in settings.storage_url else parts.path
    return Finding("storage", Health.OK, f"{where} can be written")


def check_clock(redis: Redis) -> Finding:
    """Compare Redis' clock, which the limits use, with this machine's, which searches for creates use.

    Raises:
        RedisError: it went away meanwhile.
    """
    before = time.time()
    seconds, microseconds = redis.time()
    return judge_clock(seconds + microseconds / 1e6 - (before + time.time()) / 2)


def judge_clock(ahead_seconds: float) -> Finding:
    """The finding on a Redis clock so far ahead of this machine's."""
    if abs(ahead_seconds) > LARGEST_SKEW_SECONDS:
        found = f"Redis' clock is {abs(ahead_seconds):,.0f} s {'ahead of' if ahead_seconds > 0 else 'behind'} ours"
        return Finding("clock", Health.WRONG, found, "have both machines keep their time with NTP")
    return Finding("clock", Health.OK, f"within {max(0.1, abs(ahead_seconds)):.1f} s of Redis'")


def check_account(settings: Settings, now: AccountStatus) -> Finding:
    """Whether the account may work.

    Args:
        settings: which account.
        now: from `Limiter.status`.
    """
    if now.stop:
        return Finding("account", Health.WRONG, f"stopped: {now.stop}", now.stop.to_go_on)
    return Finding("account", Health.OK, f"{settings.account_key} is free to work")


def check_outages(now: AccountStatus) -> list[Finding]:
    """What holds work at present, as the workers have found it."""
    return [Finding("outage", Health.WRONG, str(outage), outage.to_go_on) for outage in now.outages]


def check_workers(settings: Settings, now: AccountStatus) -> Finding:
    """Who has been heard of within a lease, and works.

    Args:
        settings: whether the mode is embedded.
        now: from `Limiter.status`.
    """
    names = now.workers
    if names:
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        return Finding("workers", Health.OK, f"{len(names):,} live: {', '.join(names[:NAMED])}{more}")
    if settings.redis_url is None:
        return Finding("workers", Health.OK, "none now; in embedded mode each command brings its own")
    mend = "start one with `replibatch worker`, with the same REPLIBATCH_REDIS_URL and REPLIBATCH_ACCOUNT"
    return Finding("workers", Health.WRONG, "none answers: nothing that is enqueued is made", mend)


def check_calls(jobs: Jobs) -> list[Finding]:
    """Whether applications take the calls of their linked tasks, and their webhooks.

    Raises:
        RedisError: it went away meanwhile.
    """
    findings = []
    for queue, (length, since_seconds) in jobs.linked_queues().items():
        if length and since_seconds > UNREAD_SECONDS:
            found = f"{length:,} calls wait in the queue {queue!r}, the last for {since_seconds:,.0f} s"
            mend = f"start the application's Celery worker with -Q {queue}, or name its queue with link_queue"
            findings.append(Finding("links", Health.WRONG, found, mend))
    owed = OwedWebhooks(jobs.redis, jobs.prefix)
    if failing := owed.failing():
        last = failing[-1]
        found = f"{len(failing):,} are tried again, one to {host_of(last.url)}: {last.error}"
        findings.append(Finding("webhooks", Health.WRONG, found, "see that the address answers with a 2xx"))
    if lost := owed.lost():
        found = f"{len(lost):,} were given up, the last to {host_of(lost[0].url)}: {lost[0].error}"
        findings.append(Finding("webhooks", Health.NOTE, found, "the results are there: Job.get(…).result()"))
    return findings


def host_of(url: str) -> str:
    """Where a webhook goes, without what only its receiver should know."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _of_error(subject: str, error: SettingsError) -> Finding:
    """A `SettingsError` names the value found, then the allowed ones."""
    found, _, allowed = str(error).partition("; allowed: ")
    return Finding(subject, Health.WRONG, found, f"allowed: {allowed}" if allowed else "")
