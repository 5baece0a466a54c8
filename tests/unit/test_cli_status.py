"""Where a limit comes from, and the status for people."""

from __future__ import annotations

from typing import Any

import pytest

from replibatch.cli.status import lines, source

REPORTS = {"one/1/a": {"pid": 1, "max_concurrent": 9}, "two/2/b": {"max_concurrent": 7}, "three/3/c": {"pid": 3}}


@pytest.mark.parametrize(
    ("stored", "reports", "limit", "expected"),
    [
        ({"max_concurrent": 5}, REPORTS, "max_concurrent", "limits set"),
        ({"max_concurrent": None}, REPORTS, "max_concurrent", "two/2/b"),
        ({}, REPORTS, "per_window", "default"),
        ({}, {}, "max_concurrent", "default"),
        ({"budget": 0}, REPORTS, "budget", "limits set"),
    ],
)
def test_the_source_of_a_limit(stored: Any, reports: Any, limit: str, expected: str) -> None:
    assert source({"stored": stored, "processes": reports}, limit) == expected


SNAPSHOT: dict[str, Any] = {
    "account": "default@api.replicate.com",
    "global_max_concurrent": 60,
    "current_concurrent": 12,
    "max_concurrent_reached": 60,
    "requests_in_window": 34,
    "requests_per_minute": 600,
    "window_seconds": 60.0,
    "waiting": 1234,
    "cooling_down_seconds": 0,
    "total_requests": 5000,
    "throttled": 0,
    "spent_usd": 12.5,
    "reserved_usd": 0.0,
    "budget_usd": None,
    "learned_per_window": None,
    "stopped": None,
    "workers": ["one/1/a"],
    "sources": {"max_concurrent": "limits set", "per_window": "default", "budget": "default"},
}


def test_the_status_says_what_operators_ask_for() -> None:
    told = "\n".join(lines(SNAPSHOT))
    assert "12 of 60 (limits set)" in told and "34 of 600 in 1 min (default)" in told
    assert "1,234" in told and "$12.50 this month" in told and "one/1/a" in told


def test_what_is_wrong_is_said() -> None:
    troubled = {
        **SNAPSHOT,
        "stopped": "NoCredit: no credit",
        "cooling_down_seconds": 30.0,
        "budget_usd": 20.0,
        "learned_per_window": 6,
        "workers": [],
    }
    told = "\n".join(lines(troubled))
    for words in ("NoCredit: no credit", "30 s", "of $20.00", "lets 6 through", "replibatch worker"):
        assert words in told
