"""Testing an application that uses replibatch: a pytest plugin with two fixtures, both without a network.

`replibatch_fake` makes results in the test's own process, as the test orders them. `replibatch_sandbox` runs the
whole queue, worker included, on the stand-in for Replicate. With either, the application's own calls and clients need
no change: `enqueue(…)`, `Client(…)` and all others work on it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from replibatch.testing.fake import Fake
    from replibatch.testing.stand_in import StandIn

__all__ = ["Fake", "StandIn"]

_HOMES = {"Fake": "fake", "StandIn": "stand_in"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'replibatch.testing' has no attribute {name!r}")
    return getattr(import_module(f"replibatch.testing.{_HOMES[name]}"), name)
