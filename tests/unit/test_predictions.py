"""Predictions as the API tells of them; and how long they take, to know when to look."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from replibatch.errors import (
    Interrupted,
    OutputErased,
    PredictionCanceled,
    PredictionFailed,
    PredictionTimedOut,
    Sensitive,
)
from replibatch.polling.durations import Durations
from replibatch.polling.watched import Watched, best_page
from replibatch.replicate_api import Prediction


class TestReading:
    def test_id_and_status_are_enough(self):
        prediction = Prediction.from_json({"id": "a", "status": "starting"})
        assert prediction == Prediction("a", "starting")
        assert not prediction.is_over

    def test_nulls_are_what_is_left_out(self):
        row = dict.fromkeys(("model", "input", "output", "error", "source", "created_at", "completed_at"))
        assert Prediction.from_json({"id": "a", "status": "failed", "data_removed": None, **row}) == Prediction(
            "a", "failed"
        )

    @pytest.mark.parametrize("status", ["starting", "processing", "queued"])
    def test_a_status_nobody_knows_is_not_over(self, status):
        assert not Prediction.from_json({"id": "a", "status": status}).is_over

    @pytest.mark.parametrize("status", ["succeeded", "failed", "canceled", "aborted"])
    def test_these_are_over(self, status):
        assert Prediction.from_json({"id": "a", "status": status}).is_over

    @pytest.mark.parametrize(
        ("text", "time"),
        [
            ("2026-11-20T12:00:00.123456Z", datetime(2026, 11, 20, 12, 0, 0, 123456, UTC)),
            ("2026-11-20T12:00:00Z", datetime(2026, 11, 20, 12, tzinfo=UTC)),
            ("2026-11-20T12:00:00", datetime(2026, 11, 20, 12, tzinfo=UTC)),
            ("2026-11-20T12:00:00+02:00", datetime(2026, 11, 20, 12, tzinfo=timezone(timedelta(hours=2)))),
        ],
    )
    def test_times_have_a_zone(self, text, time):
        read = Prediction.from_json({"id": "a", "status": "x", "created_at": text, "completed_at": text})
        assert read.created_at == read.completed_at == time


class TestFailure:
    @pytest.mark.parametrize(
        ("words", "kind"),
        [
            (
                "The input or output was flagged as sensitive. Please try again with different inputs. (E005)",
                Sensitive,
            ),
            ("NSFW content detected. Try running it again", Sensitive),
            ("Prediction interrupted; please retry (code: PA)", Interrupted),
            ("Director: unexpected error handling prediction (E9828)", Interrupted),
            ("Service is experiencing high demand (E003)", Interrupted),
            ("CUDA out of memory (E1001)", Interrupted),
            ("The request timed out", PredictionTimedOut),
            ("Prediction failed.", PredictionFailed),
            (None, PredictionFailed),
        ],
    )
    def test_the_models_words_say_what_follows(self, words, kind):
        failure = Prediction("a", "failed", error=words).failure()
        assert type(failure) is kind
        assert (words or "failed") in str(failure)

    def test_a_cancel_past_the_deadline_is_a_time_out(self):
        assert type(Prediction("a", "canceled").failure()) is PredictionCanceled
        assert type(Prediction("a", "canceled").failure(past_deadline=True)) is PredictionTimedOut
        assert type(Prediction("a", "aborted").failure()) is PredictionTimedOut

    def test_a_success_has_none_unless_it_was_erased(self):
        assert Prediction("a", "succeeded", output=["https://x"]).failure(past_deadline=True) is None
        assert type(Prediction("a", "succeeded", data_removed=True).failure()) is OutputErased


class TestDurations:
    def learned(self, *seconds: float) -> Durations:
        durations = Durations(5.0)
        for one in seconds:
            durations.learn(one)
        return durations

    def test_the_usual_time_is_learned_however_wrong_the_catalogue_is(self):
        assert Durations(90.0).usual_seconds == pytest.approx(90)
        assert self.learned(0.02).usual_seconds == pytest.approx(0.02)
        rng = random.Random(1)
        durations = self.learned(*(12 * rng.uniform(0.7, 1.3) for _ in range(300)))
        assert durations.usual_seconds == pytest.approx(12, rel=0.05)

    def test_it_follows_a_model_that_becomes_slower(self):
        durations = self.learned(*[2.0] * 1000, *[4.0] * 1500)
        assert durations.usual_seconds == pytest.approx(4, rel=0.1)

    def test_hardly_a_second_is_lost_before_the_usual_time_and_more_and_more_after_it(self):
        durations = self.learned(*[9.0, 10.0, 11.0] * 20)
        lost = [durations.unseen_seconds(0.0, age) for age in (2.0, 6.0, 9.0, 10.0, 11.0, 13.0, 20.0)]
        assert lost == sorted(lost)
        assert lost[1] < 0.01 < lost[3]
        assert lost[-1] > 5

    def test_a_look_that_showed_it_running_begins_anew(self):
        durations = self.learned(*[9.0, 10.0, 11.0] * 20)
        assert durations.unseen_seconds(10.0, 10.0) == 0
        assert durations.unseen_seconds(10.0, 10.1) < durations.unseen_seconds(9.0, 10.1)
        # A straggler is looked at ever more rarely: what counts is the share of its age.
        assert durations.unseen_seconds(100.0, 101.0) < durations.unseen_seconds(20.0, 21.0)

    def test_a_straggler_of_the_most_regular_model_is_looked_for_however_old_it_is(self):
        durations = self.learned(*[1.0] * 1000)
        for age in (2.0, 300.0, 1800.0):
            assert durations.unseen_seconds(age, 1.1 * age) > 0.01 * age

    @pytest.mark.parametrize("age", [1e-9, 1e9])
    def test_no_age_is_too_small_or_too_large(self, age):
        assert self.learned(*[1.0] * 100).unseen_seconds(0.0, age) >= 0

    def test_as_long_as_nothing_is_known_looks_come_early_then_at_growing_ages(self):
        durations = Durations(100.0)
        assert durations.unseen_seconds(0.0, 4.9) < 1 < durations.unseen_seconds(0.0, 5.1)
        durations.seen_running(5.1, watched=1)
        assert durations.unseen_seconds(5.1, 15.0) < 1 < durations.unseen_seconds(5.1, 15.4)
        durations.learn(50.0)
        assert durations.unseen_seconds(5.1, 15.4) < 1


class TestPages:
    def watched(self, created_at: float | None, lost: float, **more: object) -> Watched:
        durations = SimpleNamespace(unseen_seconds=lambda seen, age: lost)
        return Watched("id", print, durations, 0.0, 0.0, created_at, **more)  # type: ignore[arg-type]

    def test_it_begins_where_most_is_lost_and_reaches_as_far_as_a_page(self):
        items = [self.watched(at, lost) for at, lost in ((100, 0.01), (50, 1.0), (48, 1.0), (45, 1.0), (20, 2.0))]
        page = best_page(items, 1.0, page_seconds=10.0)
        assert page.items == items[1:4]
        assert page.unseen_seconds == pytest.approx(3)
        assert best_page(items, 1.0, page_seconds=1000.0).items == items[1:], "the first is not worth its row"

    def test_what_the_list_cannot_show_is_on_no_page(self):
        unlisted = self.watched(1.0, 9.0, listed=False)
        unknown = self.watched(None, 9.0)
        waiting = self.watched(2.0, 9.0, not_before=2.0)
        assert best_page([unlisted, unknown, waiting], 1.0, 10.0).items == []

    def test_a_page_has_no_more_than_its_rows(self):
        items = [self.watched(float(-number), 1.0) for number in range(250)]
        page = best_page(items, 1.0, float("inf"))
        assert page.unseen_seconds == 100
        assert 95 < len(page.items) <= 100
