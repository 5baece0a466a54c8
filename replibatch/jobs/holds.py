"""Why nothing new of a batch is started, as its `held` says it."""

from replibatch.errors import Stop

PAUSED = "paused"  # by its owner
UNFOLLOWED = "not followed"  # of another command's list, in embedded mode: no one asked for it now
BUDGET = "budget"  # its next request would exceed one
_STOPPED = "stopped: "


def held_by(stop: Stop) -> str:
    """For a batch of an account that is stopped."""
    return f"{_STOPPED}{stop}"


def stop_of(held: str) -> Stop | None:
    """The stop that holds a batch; None where something else does, or nothing."""
    return Stop.parse(held.removeprefix(_STOPPED)) if held.startswith(_STOPPED) else None
