"""Pages of proxies, half answers, rows that cannot be read, anywhere: nothing is burnt, paid again or hung."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import replibatch
from replibatch import BatchRequest
from replibatch.sandbox import Sandbox
from replibatch.sandbox.answers import BODIES
from replibatch.sandbox.odd_rows import ODD_ROWS
from tests.support.custody import MODEL, Start
from tests.support.waiting import until

ITEMS = 40
STATUSES = (200, 301, 401, 402, 403, 404, 407, 413, 422, 429, 500, 502, 503, 520, 524)
BEHIND = (200, 401, 402, 403, 404, 413, 422, 500, 502, 503, 520, 524)  # in the place of an answer that came
OWN = ("api",)  # the API's own words: those are verdicts


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", "1.5")
    monkeypatch.setenv("REPLIBATCH_PREDICTION_TIMEOUT_SECONDS", "60")
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))


def odd(places: tuple[str, ...], share: float, seed: int) -> dict[str, float]:
    """A share of each place's answers, spread over statuses and bodies drawn at random."""
    rng = random.Random(seed)
    bodies = [body for body in BODIES if body not in OWN]
    kinds = [
        f"{place}-{rng.choice(BEHIND if place == 'created' else STATUSES)}-{rng.choice(bodies)}"
        for place in places
        for _ in range(12)
    ]
    return dict.fromkeys(kinds, share / 12)


@pytest.mark.parametrize(
    ("places", "share"),
    [
        (("create", "created"), 0.25),
        (("get", "list", "account"), 0.4),
        pytest.param(("create", "created", "get", "list", "cancel", "account"), 0.3, marks=pytest.mark.chaos),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else "",
)
def test_no_item_is_burnt(places: tuple[str, ...], share: float, sandbox: Sandbox, start_worker: Start) -> None:
    sandbox.settings.fault_rates = odd(places, share, 14)
    start_worker("--concurrency", "20")
    check(sandbox)


def test_rows_that_cannot_be_read_harm_no_other(sandbox: Sandbox, start_worker: Start) -> None:
    sandbox.settings.odd_rows_in = frozenset({"list"})
    sandbox.settings.fault_rates = dict.fromkeys(ODD_ROWS, 0.02)
    start_worker("--concurrency", "20")
    check(sandbox)


def check(sandbox: Sandbox) -> None:
    batch = replibatch.enqueue_batch(BatchRequest(f"a fox {n}", MODEL, f"{n}.webp") for n in range(ITEMS))
    until(lambda: batch.progress().succeeded == ITEMS, 120, "all are made")
    assert sandbox.books.paid_twice() == [] and len(sandbox.books.create_times) == ITEMS
    for result in batch.results():
        assert result.model_used == MODEL and "<" not in str(result.attempts)
