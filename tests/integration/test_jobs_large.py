"""Scripts on large batches: every worker waits while one runs, so it takes few commands, whatever it moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from replibatch.jobs import Batches, Jobs
from replibatch.jobs.holds import PAUSED
from tests.support.jobs import append, open_batch

COUNT = 1200
CHUNK = 400


@pytest.fixture
def large(batches: Batches) -> Batches:
    """A batch of which nothing has begun."""
    open_batch(batches)
    batches.hold("one", PAUSED)
    for offset in range(0, COUNT, CHUNK):
        assert append(batches, CHUNK, offset) == []
    batches.close("one")
    return batches


def commands_of(jobs: Jobs, step: Callable[[], Any]) -> int:
    """How many commands Redis runs for a step, those of its scripts included."""

    def calls() -> int:
        return sum(row["calls"] for row in jobs.redis.info("commandstats").values())

    before = calls()
    step()
    return calls() - before


def test_a_page_of_what_was_dropped_is_taken_back_in_one_go(jobs: Jobs, large: Batches) -> None:
    large.cancel("one")
    answers = []
    assert commands_of(jobs, lambda: answers.append(large.retry("one", []))) < 60
    ((again, left),) = answers
    assert again > 0 and again + left == COUNT and large.state("one").canceled == left
    while left:
        _, left = large.retry("one", [])
    state = large.state("one")
    assert (state.canceled, state.pending + state.outstanding) == (0, COUNT)
    assert [entry.index for entry in large.unstarted("one")] == list(range(state.outstanding, COUNT))


def test_what_waits_is_dropped_in_one_go_beside_what_was_dropped_before(jobs: Jobs, large: Batches) -> None:
    large.cancel("one")
    large.retry("one", [])
    assert commands_of(jobs, lambda: large.cancel("one")) < 60
    state = large.state("one")
    assert state.canceled + state.outstanding == COUNT and state.pending == 0
    assert len({entry.index for entry in large.unstarted("one")}) == state.canceled
