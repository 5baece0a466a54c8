"""Where a limit comes from, and the status for people."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from replibatch.cli.commands.status import picture
from replibatch.errors import Stop
from tests.support.account_status import account_status

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
    assert account_status(stored=stored, processes=reports).source(limit) == expected


def test_a_limit_nobody_else_has_set_is_this_process_own() -> None:
    now = account_status(processes={"one": {"pid": 1, "per_window": 5}})
    own = {"max_concurrent": 7, "per_window": 9}
    assert now.source("max_concurrent", own) == "this process"
    assert now.source("per_window", own) == "one"


SNAPSHOT: dict[str, Any] = {
    "account": "default@api.replicate.com",
    "global_max_concurrent": 60,
    "current_concurrent": 12,
    "max_concurrent_reached": 58,
    "requests_in_window": 34,
    "requests_per_minute": 600,
    "window_seconds": 60.0,
    "reads_in_minute": 17,
    "reads_per_minute": 3000,
    "waiting": 1234,
    "waiting_for": "slots",
    "cooling_down_seconds": 0,
    "total_requests": 5000,
    "throttled": 0,
    "spent_usd": 12.5,
    "reserved_usd": 0.0,
    "budget_usd": None,
    "learned_per_window": None,
    "stopped": None,
    "outages": [],
    "webhooks_failing": [],
    "unknown": [],
    "to_go_on": None,
    "workers": [{"name": "one/1/a", "in_flight": 12, "waiting": 88, "silent_seconds": 0.31}],
    "sources": {"max_concurrent": "limits set", "per_window": "default", "budget": "default"},
}


def told(now: dict[str, Any]) -> str:
    """What people read, with single spaces."""
    console = Console(file=StringIO(), width=120)
    console.print(picture(now), soft_wrap=True)
    assert isinstance(console.file, StringIO)
    return "\n".join(" ".join(line.split()) for line in console.file.getvalue().splitlines())


def test_the_status_says_what_operators_ask_for() -> None:
    lines = told(SNAPSHOT).splitlines()
    for line in (
        "account default@api.replicate.com",
        "in flight 12 60 limits set at most 58 so far",
        "created in 1 min 34 600 default",
        "reads in 1 min 17 3,000",
        "spent this month $12.50 no budget",
        "waiting 1,234 for a slot",
        "created 5,000 in all, throttled 0 times",
        "one/1/a 12 88 0.3 s ago",
    ):
        assert line in lines, lines


def test_what_is_wrong_is_said_and_how_to_go_on() -> None:
    lines = told(
        {
            **SNAPSHOT,
            "stopped": "NoCredit: no [b]credit[/b]",
            "to_go_on": Stop("NoCredit", "no credit").to_go_on,
            "cooling_down_seconds": 30.0,
            "budget_usd": 20.0,
            "reserved_usd": 0.5,
            "learned_per_window": 6,
            "waiting_for": "stopped",
            "workers": [],
            "sources": {"max_concurrent": "default", "per_window": "default", "budget": "limits set"},
        }
    ).splitlines()
    for line in (
        "stopped NoCredit: no [b]credit[/b]",
        "to go on add credit at https://replicate.com/account/billing, then `replibatch resume`",
        "pause Replicate asked for 30 s more",
        "spent this month $12.50 $20.00 limits set $0.50 reserved",
        "created in 1 min 34 600 default Replicate lets 6 through",
        "waiting 1,234 for the account to go on",
        "no worker answers; start one with `replibatch worker`",
    ):
        assert line in lines, lines


def test_a_held_create_is_listed_with_the_command_that_settles_it() -> None:
    held = {
        "id": "g1",
        "model": "a/b",
        "why": "it may be any of 2 predictions",
        "to_settle": "replibatch settle g1 …",
    }
    shown = told({**SNAPSHOT, "unknown": [held]})
    assert "g1, on a/b: it may be any of 2 predictions" in shown and "replibatch settle g1" in shown
