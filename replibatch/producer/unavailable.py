"""The border between callers and Redis: its errors become `QueueUnavailable`, which says what became of the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from replibatch.errors import QueueUnavailable

SAYS = {
    True: "the job is accepted, and made once Redis is back",
    False: "nothing was accepted",
    None: "not known whether it was accepted; ask again with the same request_id",
}


@contextmanager
def queue_errors(where: str, *, accepted: bool | None = False, job_id: str | None = None) -> Iterator[None]:
    """Turn errors of Redis into one of ours.

    Args:
        where: the address of Redis, without its password.
        accepted: what became of the work, if it fails now; None for not known.
        job_id: the job's, where there is one.

    Raises:
        QueueUnavailable: Redis cannot be reached, or refuses.
    """
    try:
        yield
    except RedisError as error:
        raise unavailable(error, where, accepted=accepted, job_id=job_id) from error


def unavailable(
    error: Exception, where: str, *, accepted: bool | None = False, job_id: str | None = None
) -> QueueUnavailable:
    """The error that callers meet."""
    named = f" (job {job_id})" if job_id and accepted is not False else ""
    return QueueUnavailable(f"Redis ({where}) is not available: {error}; {SAYS[accepted]}{named}", accepted, job_id)
