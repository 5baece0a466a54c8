"""What the API's answers, and their absence, mean."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from replibatch.errors import (
    ApiUnreachable,
    AttemptFailure,
    InvalidInput,
    MaybeCreated,
    ModelMissing,
    NoCredit,
    NotThere,
    Throttled,
    TokenRefused,
    Verdict,
)
from replibatch.replicate_api import causes
from replibatch.replicate_api.answers import Answer, of_create, of_read, wait_asked_for

URL = "https://api.replicate.com"


def refusal(status: int, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    content = body if isinstance(body, str) else json.dumps(body)
    return Answer(status, {name.lower(): value for name, value in (headers or {}).items()}, content.encode())


class TestWait:
    @pytest.mark.parametrize(
        ("detail", "seconds"),
        [
            ("Request was throttled. Expected available in 1 second.", 1),
            ("Request was throttled. Expected available in 12 seconds.", 12),
            ("Request was throttled. Your rate limit resets in ~30s.", 30),
            ("Rate limit resets in 0.5s", 0.5),
            ("Your rate limit resets in ~2m.", 120),
            ("Your rate limit resets in ~1h30m.", 5400),
            ("Expected available in 2 minutes and 5 seconds.", 125),
            ("Expected available in 1 day.", 86_400),
            ("Expected available in 250 ms.", 0.25),
            ("Expected available in a moment.", None),
            ("Request was throttled.", None),
        ],
    )
    def test_in_words(self, detail, seconds):
        assert wait_asked_for(refusal(429, {"detail": detail})) == seconds

    def test_in_the_body_before_the_words(self):
        body = {"detail": "Your rate limit resets in ~30s.", "retry_after": 5}
        assert wait_asked_for(refusal(429, body)) == 5

    @pytest.mark.parametrize(("value", "seconds"), [("7", 7), ("0", 0), ("-3", 5), ("1.5", 1.5)])
    def test_in_the_header_before_all(self, value, seconds):
        body = {"detail": "Request was throttled.", "retry_after": 5}
        assert wait_asked_for(refusal(429, body, {"Retry-After": value})) == seconds

    def test_as_a_date_by_the_servers_own_clock(self):
        its_time = datetime(2020, 1, 1, tzinfo=UTC)
        headers = {"Retry-After": format_datetime(its_time + timedelta(seconds=40), usegmt=True)}
        assert wait_asked_for(refusal(429, {}, headers)) == 0
        headers["Date"] = format_datetime(its_time, usegmt=True)
        assert wait_asked_for(refusal(429, {}, headers)) == 40

    @pytest.mark.parametrize("value", ["nan", "inf", "soon", ""])
    def test_what_is_no_wait_is_passed_over(self, value):
        answer = refusal(429, {"detail": "resets in ~3s"}, {"Retry-After": value})
        assert wait_asked_for(answer) == 3

    @pytest.mark.parametrize("body", ["<html>busy</html>", "", [1], {"retry_after": 9}, {"detail": {"a": 1}}])
    def test_another_servers_429_is_no_throttle(self, body):
        failure = of_create(refusal(429, body, {"Retry-After": "4"}))
        assert isinstance(failure, ApiUnreachable)
        assert failure.retry_after_seconds == 4


class TestCreate:
    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (refusal(401, {"title": "Unauthenticated", "detail": "no"}), TokenRefused),
            (refusal(402, {"title": "Insufficient credit", "detail": "no."}), NoCredit),
            (refusal(404, {"detail": "no", "status": 404}), ModelMissing),
            (refusal(422, {"detail": "no"}), InvalidInput),
            (refusal(400, {"detail": "no"}), InvalidInput),
            (refusal(413, {"detail": "no", "status": 413}), InvalidInput),
            (refusal(413, "<html>"), MaybeCreated),
            (refusal(408, "<html>"), MaybeCreated),
            (refusal(408, {"detail": "no", "status": 408}), ApiUnreachable),
            (refusal(404, {"detail": "Not Found"}), MaybeCreated),
            (refusal(407, "<html>"), ApiUnreachable),
            (refusal(302, "<html>"), ApiUnreachable),
            (refusal(403, {"detail": "no", "status": 403}), InvalidInput),
            (refusal(403, {"message": "Forbidden"}), MaybeCreated),
            (refusal(429, {"detail": "no"}), Throttled),
            (refusal(500, {"detail": "no"}), MaybeCreated),
            (refusal(502, "<html>"), MaybeCreated),
            (refusal(503, "<html>"), MaybeCreated),
            (refusal(599, ""), MaybeCreated),
            (refusal(200, "<html>"), MaybeCreated),
            (httpx.ConnectError("refused"), ApiUnreachable),
            (httpx.ConnectTimeout(""), ApiUnreachable),
            (httpx.PoolTimeout(""), ApiUnreachable),
            (httpx.UnsupportedProtocol("x"), ApiUnreachable),
            (httpx.ReadTimeout(""), MaybeCreated),
            (httpx.WriteTimeout(""), MaybeCreated),
            (httpx.ReadError(""), MaybeCreated),
            (httpx.WriteError(""), MaybeCreated),
            (httpx.RemoteProtocolError("Server disconnected without sending a response."), MaybeCreated),
            (httpx.ProxyError("502"), MaybeCreated),
        ],
        ids=repr,
    )
    def test_only_what_surely_created_nothing_is_not_reconciled(self, answer, kind):
        failure = of_create(answer) if isinstance(answer, Answer) else causes.of_create(answer, URL)
        assert type(failure) is kind
        assert "\n" not in str(failure)
        if isinstance(failure, AttemptFailure):
            assert (failure.verdict is Verdict.RECONCILE) == (kind is MaybeCreated)

    def test_a_refused_input_is_told_in_replicates_words_with_the_fields(self):
        body = {
            "title": "Input validation failed",
            "detail": "- input: prompt is required\n",
            "invalid_fields": [
                {"type": "required", "field": "input.prompt", "description": "prompt is required"},
                {"type": "enum", "field": "input.aspect_ratio", "description": "must be one of 1:1"},
            ],
        }
        said = str(of_create(refusal(422, body)))
        assert said == "- input: prompt is required; input.aspect_ratio: must be one of 1:1"

    @pytest.mark.parametrize("fields", [None, "x", [1, None], {"a": 1}])
    def test_fields_of_another_shape_do_no_harm(self, fields):
        assert "no" in str(of_create(refusal(422, {"detail": "no", "invalid_fields": fields})))


class TestRead:
    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (refusal(401, {"title": "Unauthenticated", "detail": "no"}), TokenRefused),
            (refusal(401, {}), ApiUnreachable),
            (refusal(429, {"detail": "resets in ~2s"}), Throttled),
            (refusal(404, {"detail": "no", "status": 404}), NotThere),
            (refusal(404, {}), ApiUnreachable),
            (refusal(503, "<html>"), ApiUnreachable),
            (refusal(200, "<html>"), ApiUnreachable),
            (httpx.ReadTimeout(""), ApiUnreachable),
            (httpx.RemoteProtocolError(""), ApiUnreachable),
        ],
        ids=repr,
    )
    def test_a_failed_read_leaves_nothing_to_reconcile(self, answer, kind):
        failure = of_read(answer) if isinstance(answer, Answer) else causes.of_read(answer, URL)
        assert type(failure) is kind
