"""Counting, and the words for it."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import NoReturn

import pytest
from rich.console import Console

from replibatch.cli.formatting import closing, dollars, duration, stand_ins
from replibatch.cli.run.progress import LiveProgress, item, waiting_for
from replibatch.cli.run.tally import Tally
from replibatch.errors import Stop
from replibatch.requests import Attempt, BatchResult, State, StepResult
from tests.support.account_status import account_status

GOOD = Attempt("a/one", "p1", "succeeded", None, None, 2.0, 0.025)
BAD = Attempt("a/two", "p0", "failed", "sensitive", "E005", 1.0, 0.0)
SUCCESS = BatchResult("1", "a fox", "a/one", "a/one", True, attempts=(GOOD,), cost_usd=0.025, duration=2.0)
FALLBACK = replace(SUCCESS, model_name="a/two", attempts=(BAD, GOOD))
PLACEHOLDER = replace(
    SUCCESS, model_used=None, success=False, attempts=(BAD,), cost_usd=0.0, placeholder=True, state=State.PLACEHOLDER
)
FAILURE = replace(PLACEHOLDER, placeholder=False, state=State.FAILED, error="a/two: E005")
CANCELED = replace(FAILURE, state=State.CANCELED, error="canceled")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_result_is_counted_once_under_what_it_is() -> None:
    tally = Tally(10, skipped=2)
    for result in (SUCCESS, SUCCESS, FALLBACK, PLACEHOLDER, FAILURE, CANCELED):
        tally.add(result)
    told = tally.to_json()
    assert (told["succeeded"], told["fallbacks"], told["placeholders"], told["failed"], told["canceled"]) == (
        3,
        1,
        1,
        1,
        1,
    )
    assert told["total"] == 12 and told["made_before"] == 2 and told["not_started"] == 4
    assert told["cost_usd"] == pytest.approx(0.075)


def test_who_stood_in_for_whom_is_said_with_the_reason() -> None:
    words = "answers 404 since 14:02 UTC"
    missing = replace(BAD, prediction_id=None, reason="model_missing", message="404", cost_usd=0.0)
    out = replace(missing, reason="out", message=words)
    step = StepResult(1, 0, "a fox", "a/two", "a/two", (), {}, 0.0)
    second = replace(step, step=2, after=1, model_name="a/three", model_used="a/one")
    of_second = [replace(each, step=2, model="a/three") for each in (missing, out)]
    stepped = replace(
        SUCCESS,
        model_name="a/two",
        steps=(step, second),
        attempts=(replace(GOOD, model="a/two"), *of_second, replace(GOOD, step=2)),
    )
    tally = Tally(6)
    for result in (SUCCESS, FALLBACK, *[replace(FALLBACK, attempts=(missing, out, GOOD))] * 2, stepped, PLACEHOLDER):
        tally.add(result)
    assert sorted(stand_ins(tally)) == [
        "a/one made 1 item in place of a/three: " + words,
        "a/one made 1 item in place of a/two: sensitive",
        "a/one made 2 items in place of a/two: " + words,
    ]
    assert tally.to_json()["stand_ins"][0] == {"model": "a/two", "made_by": "a/one", "why": words, "count": 2}
    for number in range(20):
        tally.add(replace(FALLBACK, attempts=(replace(out, message=str(number)), GOOD)))
    assert len(stand_ins(tally)) == 13 and stand_ins(tally)[-1] == "and 11 more such lines"


def test_a_model_switched_before_the_call_is_no_fallback() -> None:
    tally = Tally(1)
    tally.add(replace(SUCCESS, model_name="a/three"))
    assert tally.fallbacks == 0


def test_time_left_is_the_estimate_at_first_then_by_the_rate() -> None:
    clock = Clock()
    tally = Tally(100, expected_seconds=50.0, clock=clock)
    clock.now += 10
    assert tally.per_minute() is None and tally.seconds_left() == pytest.approx(40)
    for _ in range(20):
        tally.add(SUCCESS)
    assert tally.per_minute() == pytest.approx(120)
    assert tally.seconds_left() == pytest.approx(40)
    clock.now += 1000  # nothing for long: the rate of two minutes ago tells nothing any more
    assert tally.per_minute() is None


def test_the_rate_is_that_of_the_last_minutes() -> None:
    clock = Clock()
    tally = Tally(10_000, clock=clock)
    for _ in range(600):
        clock.now += 1
        tally.add(SUCCESS)
    for _ in range(240):
        clock.now += 0.5
        tally.add(SUCCESS)
    assert tally.per_minute() == pytest.approx(120, rel=0.02)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.84, "0.8 s"),
        (9.94, "9.9 s"),
        (45, "45 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("amount", "words"), [(0, "$0.00"), (0.025, "$0.025"), (0.3, "$0.30"), (12.345, "$12.35"), (1234.5, "$1,234.50")]
)
def test_money(amount: float, words: str) -> None:
    assert dollars(amount) == words


def test_a_burst_at_the_beginning_promises_nothing_that_the_window_forbids() -> None:
    clock = Clock()
    tally = Tally(6600, per_window=600, window_seconds=60.0, clock=clock)
    clock.now += 10
    for _ in range(600):
        tally.add(SUCCESS)
    assert tally.seconds_left() == pytest.approx(540)  # nine windows more, not the 100 s that its rate comes to


def test_the_closing_line_names_only_what_there_was() -> None:
    clock = Clock()
    tally = Tally(2, clock=clock)
    tally.add(SUCCESS)
    tally.add(SUCCESS)
    clock.now += 3
    assert closing(tally) == "2 of 2 items made; $0.05 in 3.0 s"
    tally = Tally(5, skipped=7, clock=clock)
    for result in (FALLBACK, PLACEHOLDER, FAILURE):
        tally.add(result)
    assert closing(tally) == (
        "1 of 5 items made, 1 by a fallback, 1 placeholder, 1 failed, 2 not started, 7 made before; $0.025 in 0.0 s"
    )


NOW = {
    "cooling_down_seconds": 0.0,
    "waiting": 9,
    "in_window": 3,
    "per_window": 600,
    "in_flight": 4,
    "creating": 0,
    "max_concurrent": 4,
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "9 wait for a slot"),
        ({"waiting": 0}, ""),
        ({"in_window": 600}, "9 wait for the window (600 of 600 used)"),
        ({"cooling_down_seconds": 12.0}, "Replicate asks for a pause: 12 s"),
        ({"stop": Stop("NoCredit", "no credit")}, "stopped: NoCredit: no credit"),
        ({"in_flight": 1}, "9 wait"),
        ({"held": "budget"}, "the budget is used up"),
    ],
)
def test_what_is_waited_for(change: dict[str, object], said: str) -> None:
    held = change.pop("held", "")
    assert waiting_for(account_status(**{**NOW, **change}), str(held)) == said


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None, highlight=False)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_prompt_is_text_whatever_it_holds(terminal: bool) -> None:
    where = console(terminal=terminal)
    with LiveProgress(Tally(1), lambda: (account_status(**NOW), ""), where) as progress:
        progress.tell(replace(SUCCESS, prompt="a [red]fox[/] \n on [bold"))
    assert "a [red]fox[/] on [bold" in where.file.getvalue()  # type: ignore[attr-defined]


def test_a_terminal_sees_the_counts_and_what_goes_on() -> None:
    where = console(terminal=True)
    tally = Tally(3)
    tally.add(FALLBACK)
    with LiveProgress(tally, lambda: (account_status(**NOW), ""), where) as progress:
        progress.note = "Pausing"
        where.print(progress._picture())
    shown = where.file.getvalue()  # type: ignore[attr-defined]
    assert "1/3" in shown and "1 by a fallback" in shown and "$0.025" in shown and "Pausing" in shown


def test_a_look_that_fails_ends_nothing() -> None:
    def look() -> NoReturn:
        raise ConnectionError

    with LiveProgress(Tally(1), look, console(terminal=True)) as progress:
        progress.tell(FAILURE)


def test_one_line_tells_how_an_item_went() -> None:
    where = console(terminal=False)
    assert "one, after two (sensitive)" in item(FALLBACK, where)
    assert "placeholder, after two (sensitive)" in item(PLACEHOLDER, where)
    assert "a/two: E005" in item(FAILURE, where)
