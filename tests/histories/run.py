"""Runs histories."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from redis import Redis

from tests.histories.losses import LossyMachine
from tests.histories.stories import Story

STEPS = 40


def tell(url: str, story: Story) -> None:
    """Run one story, to the end at which all waiters are served, on the Redis there; what is in it is forgotten."""
    with _machine(url) as machine:
        told = machine()
        story(told)
        told.books_and_status_agree()
        told.every_waiter_is_served()


def run_histories(url: str, histories: int, *, repeatable: bool = False) -> int:
    """Run that many histories of up to `STEPS` steps each, every one to the end at which all waiters are served.

    Args:
        url: of a Redis; what is in it is forgotten.
        histories: how many.
        repeatable: the same histories each time, instead of others.

    Returns:
        The number of script calls made and checked.
    """
    with _machine(url) as machine:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=histories,
                stateful_step_count=STEPS,
                deadline=None,
                phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a history of 40 steps takes minutes to shrink
                suppress_health_check=list(HealthCheck),
                database=None,
                derandomize=repeatable,
                print_blob=True,
            ),
        )
    return machine.calls


@contextmanager
def _machine(url: str) -> Iterator[type[LossyMachine]]:
    with Redis.from_url(url, decode_responses=True) as redis, Redis.from_url(url) as raw:
        yield type("Machine", (LossyMachine,), {"redis": redis, "raw": raw})
