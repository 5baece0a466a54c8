"""A place in the line as the gateway's streams tell it."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from replibatch.errors import Stop
from replibatch.gateway.line import about, held_by, seconds_left
from replibatch.gateway.streams import new_lines
from replibatch.limits.outages import Outage
from replibatch.limits.status import AccountStatus

NOTHING = MappingProxyType[str, Any]({})


def status(**changes: Any) -> AccountStatus:
    given: dict[str, Any] = {
        "max_concurrent": 10, "per_window": 100, "learned_per_window": None, "budget_usd": None, "stored": NOTHING,
        "in_flight": 0, "creating": 0, "in_window": 0, "waiting": 0, "waiting_for": None, "waited_seconds": NOTHING,
        "reads": 0, "cooling_down_seconds": 0.0, "stop": None, "outages": (), "outages_so_far": 0, "spent_usd": 0.0,
        "reserved_usd": 0.0, "total": 0, "throttled": 0, "peak": 0, "processes": {"w": {"pid": 1}},
        "silent_seconds": NOTHING,
    }  # fmt: skip
    return AccountStatus(**{**given, **changes})


@pytest.mark.parametrize(
    ("changes", "before", "seconds"),
    [
        ({}, 0, 8),
        ({"in_flight": 9}, 0, 8),
        ({"in_flight": 10}, 0, 16),
        ({"in_flight": 10}, 9, 16),
        ({"in_flight": 10}, 10, 24),
        ({"in_window": 100}, 0, 68),
        ({"in_window": 99}, 1, 68),
        ({"in_window": 50, "learned_per_window": 50, "max_concurrent": 1000}, 50, 128),
        ({"cooling_down_seconds": 30.0}, 0, 38),
    ],
)
def test_the_limits_tell_how_long_it_takes(changes: dict[str, Any], before: int, seconds: float) -> None:
    assert seconds_left(status(**changes), before, window_seconds=60, typical_seconds=8) == seconds


def test_what_goes_on_for_nobody_has_no_time() -> None:
    assert held_by(status(), "a/model") == ""
    assert held_by(status(processes=NOTHING), "a/model") == "no worker is running"
    assert "stopped (NoCredit)" in held_by(status(stop=Stop("NoCredit", "pay")), "a/model")
    out = status(outages=(Outage("model:a/model", "server", "500", 9.0, 5, 0.0),))
    assert held_by(out, "a/model").startswith("a/model is out since") and held_by(out, "b/other") == ""


def test_seconds_become_minutes() -> None:
    assert [about(each) for each in (0.2, 40, 99, 130, 7200)] == [
        "about 1 s", "about 40 s", "about 99 s", "about 3 min", "about 120 min",
    ]  # fmt: skip


def test_a_line_is_told_once() -> None:
    assert new_lines("", "a\nb\n") == "a\nb\n"
    assert new_lines("a\nwaiting: 2\n", "a\nwaiting: 1\n") == "waiting: 1\n"
    assert new_lines("a\n", "a\n") == ""
