"""Why nothing new of a batch is started, as its `held` says it."""

from replibatch.errors import Stop

PAUSED = "paused"  # by its owner
UNFOLLOWED = "not followed"  # of another command's list, in embedded mode: no one asked for it now
BUDGET = "budget"  # its next request would exceed one
_STOPPED = "stopped: "
_OF_A_KEY = "key-"


def held_by(stop: Stop) -> str:
    """For a batch of an account that is stopped."""
    return f"{_STOPPED}{stop}"


def stop_of(held: str) -> Stop | None:
    """The stop that holds a batch; None where something else does, or nothing."""
    return Stop.parse(held.removeprefix(_STOPPED)) if held.startswith(_STOPPED) else None


def budget_of_key(key_id: str) -> str:
    """The name of the budget of a key of the gateway."""
    return f"{_OF_A_KEY}{key_id}"


def is_of_key(budget: str) -> bool:
    """Whether a budget is a key's: what does not fit it fails, and holds no other up."""
    return budget.startswith(_OF_A_KEY)
