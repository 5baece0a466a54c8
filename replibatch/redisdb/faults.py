"""What Redis' errors mean: that it is away for a while, or that a call can never succeed."""

from __future__ import annotations

from redis.exceptions import RedisError, ResponseError

# A full, loading, failing-over or write-protected Redis says so, also from within a script: that passes.
_PASSING = ("OOM", "MISCONF", "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "BUSY", "NOPERM")


def is_lasting(error: RedisError) -> bool:
    """Whether the same call fails again however often it is made: a script stumbles over what it was given."""
    if not isinstance(error, ResponseError):
        return False
    text = str(error)
    if any(word in text for word in _PASSING):
        return False
    return "user_script" in text or "running script" in text or text.startswith("WRONGTYPE")
