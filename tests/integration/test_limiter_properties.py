"""The limiter's promises (P1, P2, P6, budget, cooldown, lost state) over histories of several processes."""

from __future__ import annotations

import pytest

from tests.histories.run import run_histories, tell
from tests.histories.stories import STORIES, Story


@pytest.mark.chaos  # minutes of random calls; the stories below are in every run
def test_every_promise_of_the_limiter_holds_in_random_histories(redis_url: str) -> None:
    run_histories(redis_url, 60)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_every_promise_of_the_limiter_holds_when(redis_url: str, story: Story) -> None:
    tell(redis_url, story)
