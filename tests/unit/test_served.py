"""A prediction as the gateway tells it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from replibatch.requests import Attempt, BatchResult, OutputFile, State
from replibatch.served import Progress, Served, view
from replibatch.webhooks import secret_of

BASE = "http://gateway:1"
SERVED = Served("p1", "ours", time.time() - 5, "a/model", "hidden", {"prompt": "a fox"}, token="t", shape="uri")
GOOD = Attempt("a/model", "abc", "succeeded", None, None, 2.0, 0.5)
BAD = Attempt("a/model", "abc", "failed", "sensitive", "flagged", 1.0, 0.0)


def result(state: State = State.SUCCEEDED, **changes: Any) -> BatchResult:
    made = state == State.SUCCEEDED
    given: dict[str, Any] = {"files": (OutputFile("served/ours/0001-a b.png"),), "attempts": (GOOD,), "cost_usd": 0.5}
    return BatchResult("r", "a fox", "a/model", "a/model", made, **{**given, "state": state, **changes})


def row(progress: Progress, served: Served = SERVED) -> dict[str, Any]:
    return view(served, progress, BASE, lambda file: f"text of {file.path}")


@pytest.mark.parametrize(
    ("progress", "status"),
    [
        (Progress("pending"), "starting"),
        (Progress("publishing"), "starting"),
        (Progress("running"), "starting"),
        (Progress("running", prediction_id="abc"), "processing"),
        (Progress("succeeded", result()), "succeeded"),
        (Progress("failed", result(State.FAILED)), "failed"),
        (Progress("placeholder", result(State.PLACEHOLDER)), "failed"),
        (Progress("canceled", result(State.CANCELED)), "canceled"),
        (Progress(), "starting"),
    ],
)
def test_status(progress: Progress, status: str) -> None:
    told = row(progress)
    assert told["status"] == status
    assert (told["output"] is not None) == (status == "succeeded"), "a placeholder is no output"
    assert ("metrics" in told) == (progress.result is not None)


@pytest.mark.parametrize(
    ("shape", "count", "expected"),
    [
        ("uri", 1, f"{BASE}/outputs/p1/t/0/a%20b.png"),
        ("", 1, f"{BASE}/outputs/p1/t/0/a%20b.png"),
        ("array<uri>", 1, [f"{BASE}/outputs/p1/t/0/a%20b.png"]),
        ("", 2, [f"{BASE}/outputs/p1/t/{number}/a%20b.png" for number in range(2)]),
        ("text", 1, "text of x/a b.png"),
        ("array<text>", 1, ["text of x/a b.png"]),
    ],
)
def test_output_has_the_form_of_the_model(shape: str, count: int, expected: Any) -> None:
    made = result(files=tuple(OutputFile("x/a b.png") for _ in range(count)))
    assert row(Progress("succeeded", made), replace(SERVED, shape=shape))["output"] == expected


def test_logs_tell_attempts_fallbacks_and_waits() -> None:
    over = result(attempts=(BAD, replace(GOOD, model="b/other")), warnings=("seed was left out",))
    assert row(Progress("succeeded", over))["logs"].splitlines() == [
        "attempt 1: a/model failed as prediction abc after 1.0 s (sensitive: flagged)",
        "fallback: b/other stands in for a/model",
        "attempt 2: b/other succeeded as prediction abc after 2.0 s",
        "seed was left out",
    ]
    assert row(Progress("publishing"))["logs"] == "waiting: it is in the queue\n"
    goes_on = Progress("running", model="b/other", prediction_id="def", attempts=(BAD,))
    assert row(goes_on)["logs"].splitlines()[1:] == [
        "fallback: b/other stands in for a/model",
        "attempt 2: b/other runs as prediction def",
    ]


def test_times_are_in_order() -> None:
    told = row(Progress("succeeded", result(duration=2.0), completed=SERVED.created + 4))
    assert told["created_at"] < told["started_at"] < told["completed_at"]
    assert told["metrics"] == {
        "predict_time": 2.0, "total_time": 4.0, "attempts": 1, "cost_usd": 0.5, "model_used": "a/model",
    }  # fmt: skip


def test_what_is_kept_no_more_says_so() -> None:
    told = row(Progress(), replace(SERVED, ended="succeeded", completed=SERVED.created + 4))
    assert told["data_removed"] and told["status"] == "succeeded" and told["input"] == {} and told["output"] is None
    unknown = row(Progress(), replace(SERVED, created=time.time() - 3600))
    assert unknown["status"] == "failed" and "not known" in unknown["error"]


def test_it_is_kept_as_it_was() -> None:
    served = replace(SERVED, webhook=True, lane="key-x", completed=3.5, ended="failed")
    assert Served.parse("p1", served.packed()) == served
    assert Served.parse("p1", {}) is None


def test_a_secret_of_one_key_tells_nothing_of_another() -> None:
    master = "whsec_" + "c2l4dGVlbiBieXRlcyBhbmQgbW9yZQ=="
    assert len({secret_of(master, "a"), secret_of(master, "b"), master}) == 3
    assert secret_of(master, "a") == secret_of(master, "a")
