"""The watcher against the stand-in: every end is seen, soon, for few reads. Reads are counted in the books."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from replibatch.polling import Watcher
from replibatch.polling.watcher import BURST_SECONDS
from replibatch.replicate_api import Prediction
from replibatch.sandbox import Sandbox, SandboxSettings
from tests.support.account import TOKEN, account
from tests.support.catalogue import FLUX, QWEN, VEO
from tests.support.odd_server import OddServer, answer
from tests.support.sandbox_caller import wait_for
from tests.support.watching import Worker

PLENTY = 1_000_000


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    settings = SandboxSettings(latency_seconds=0.15, jitter=0.3, creates_per_window=PLENTY, reads_per_minute=PLENTY)
    with Sandbox(settings) as running:
        yield running


@pytest.fixture
def worker(sandbox: Sandbox) -> Iterator[Worker]:
    with Worker(sandbox) as opened:
        yield opened


class TestEnds:
    @pytest.mark.parametrize(("count", "reads_each"), [(1, 12), (3, 8), (150, 0.5), (350, 0.4)])
    def test_all_are_seen_once_for_few_reads(self, worker, count, reads_each):
        made = worker.create_many(count)
        for prediction in made:
            worker.watch(prediction)
        wait_for(lambda: len(worker.seen) >= count, 10)
        assert sorted(seen.id for seen in worker.seen) == sorted(one.id for one in made)
        assert {seen.status for seen in worker.seen} == {"succeeded"}
        assert worker.reads <= reads_each * count

    @pytest.mark.parametrize("count", [1, 3, 150])
    def test_those_of_unknown_age_too(self, worker, count):
        """As a takeover has them: ids of a dead worker's predictions, some over for long."""
        made = worker.create_many(count)
        wait_for(lambda: worker.sandbox.books.in_flight < count)
        for prediction in made:
            worker.watch(prediction.id)
        wait_for(lambda: len(worker.seen) >= count, 10)
        assert sorted(seen.id for seen in worker.seen) == sorted(one.id for one in made)
        assert worker.reads <= 10 + count / 4

    def test_one_of_unknown_age_that_is_over_is_seen_at_once_however_slow_its_model(self, worker):
        prediction = worker.create()
        wait_for(lambda: worker.sandbox.books.in_flight == 0)
        began = time.monotonic()
        worker.watch(prediction.id, typical_seconds=1000)
        wait_for(lambda: bool(worker.seen))
        assert time.monotonic() - began < 5

    def test_one_that_is_over_is_told_at_once_without_a_read(self, worker):
        prediction = worker.create()
        wait_for(lambda: worker.api.get(prediction.id).is_over)
        reads = worker.reads
        worker.watch(worker.api.get(prediction.id))
        assert [seen.id for seen in worker.seen] == [prediction.id]
        assert worker.reads == reads + 1

    @pytest.mark.parametrize("marker", ["failed", "canceled", "aborted", "sensitive"])
    def test_every_way_to_end_is_one(self, worker, marker):
        worker.watch(worker.create(f"a fox [[{marker}]]"))
        wait_for(lambda: bool(worker.seen))
        assert worker.seen[0].is_over
        assert not worker.seen[0].output

    def test_what_the_list_does_not_show_is_asked_for_singly(self, worker, sandbox):
        """Rows of an account whose list lags behind: here, one of another account with the same API."""
        worker.run(1)
        predictions = [worker.create(f"p{number}") for number in range(3)]
        for prediction in predictions:
            shifted = Prediction(prediction.id, prediction.status, FLUX, created_at=worker.seen[0].created_at)
            worker.watch(shifted)
        wait_for(lambda: len(worker.seen) == 4, 10)
        assert worker.sandbox.books.reads_by_kind["get"] >= 1

    def test_a_time_the_api_leaves_out_is_no_obstacle(self, worker):
        prediction = worker.create()
        worker.watch(Prediction(prediction.id, prediction.status, FLUX))
        wait_for(lambda: bool(worker.seen))

    def test_a_callback_that_fails_takes_no_other_with_it(self, worker):
        def fail(prediction: Prediction) -> None:
            raise RuntimeError("no")

        made = worker.create_many(4)
        worker.watcher.watch(made[0], FLUX, 0.15, fail)
        for prediction in made[1:]:
            worker.watch(prediction)
        wait_for(lambda: len(worker.seen) == 3)


class TestPace:
    def test_a_freed_slot_is_seen_within_a_fraction_of_a_prediction(self, sandbox, worker):
        """20 in flight of 0.5 s each; `benchmarks.slots` says how small the fraction is."""
        sandbox.settings.latency_seconds = 0.5
        began = time.monotonic()
        worker.keep_in_flight(20, 50, typical_seconds=0.5)
        seconds = time.monotonic() - began + BURST_SECONDS
        assert statistics.median(worker.delays) < 0.3 * 0.5  # on a machine with other things to do
        assert worker.reads / seconds < 50

    def test_many_in_flight_cost_few_reads_each(self, sandbox, worker):
        sandbox.settings.latency_seconds = 1.6
        worker.keep_in_flight(100, 200, typical_seconds=1.6)
        assert worker.reads / 200 < 0.8
        assert statistics.median(worker.delays) < 0.4 * 1.6

    def test_a_slow_one_costs_a_few_reads_around_its_usual_end(self, sandbox, worker):
        sandbox.settings.latency_seconds = 0.4
        sandbox.settings.jitter = 0.1
        worker.run(2, typical_seconds=0.4)
        sandbox.books.reset()
        worker.run(3, typical_seconds=0.4)
        assert worker.reads <= 3 * 15
        assert statistics.median(worker.delays[-3:]) < 0.3

    @pytest.mark.parametrize("typical_seconds", [0.01, 5.0])
    def test_the_models_pace_is_learned_however_wrong_the_catalogue_is(self, worker, typical_seconds):
        worker.run(3, typical_seconds)
        worker.sandbox.books.reset()
        worker.run(5, typical_seconds)
        assert statistics.median(worker.delays[-5:]) < 0.2
        assert worker.reads <= 5 * 15

    def test_each_model_has_its_own(self, worker, sandbox):
        """A quick one is not kept waiting by a slow one that needs no poll yet."""
        sandbox.settings.latency_seconds = None
        sandbox.settings.speed = 16.0
        sandbox.settings.jitter = 0.0
        slow = worker.create(model=VEO)
        worker.watch(slow, 60.0, VEO)
        quick = worker.create(model=QWEN)
        worker.watch(quick, 0.25, QWEN)
        wait_for(lambda: bool(worker.seen), 10)
        assert worker.seen[0].id == quick.id
        assert worker.delays[0] < 2
        worker.api.cancel(slow.id)


class TestTrouble:
    def test_failing_reads_only_delay(self, worker, sandbox):
        sandbox.settings.fault_rates = {"failed-reads": 0.4}
        made = worker.create_many(20)
        for prediction in made:
            worker.watch(prediction)
        wait_for(lambda: len(worker.seen) == 20, 15)

    def test_an_api_that_is_away_is_not_hammered_and_all_is_seen_when_it_is_back(self, worker, sandbox):
        made = worker.create_many(20)
        sandbox.settings.fault_rates = {"failed-reads": 1.0}
        for prediction in made:
            worker.watch(prediction)
        wait_for(lambda: worker.reads >= 3)
        wait_for(lambda: sandbox.books.in_flight == 0)
        assert sandbox.books.most_reads(0.5) <= 25
        sandbox.settings.fault_rates = {}
        wait_for(lambda: len(worker.seen) == 20, 10)

    def test_without_the_list_all_are_asked_for_singly(self):
        def no_list(request: bytes) -> bytes:
            prediction_id = request.split()[1].decode().removeprefix("/v1/predictions").strip("/")
            if not prediction_id or prediction_id.startswith("?"):
                return answer(503, "<html>")
            return answer(200, f'{{"id": "{prediction_id}", "status": "succeeded"}}')

        seen: list[str] = []
        with OddServer(no_list) as server, account(server.url) as api:
            watcher = Watcher(api)
            watcher.start()
            for number in range(5):
                made = Prediction(f"id{number}", "starting", FLUX, created_at=datetime.now(UTC))
                watcher.watch(made, FLUX, 0.1, lambda ended: seen.append(ended.id))
            wait_for(lambda: len(seen) == 5)
            watcher.stop()
        assert sorted(seen) == [f"id{number}" for number in range(5)]

    def test_throttled_reads_wait_as_told(self, worker, sandbox):
        sandbox.settings.reads_per_minute = 0
        worker.watch(worker.create())
        wait_for(lambda: sandbox.books.throttled == 1)
        wait_for(lambda: sandbox.books.in_flight == 0)
        assert sandbox.books.throttled == 1
        assert not worker.seen

    def test_a_prediction_that_is_gone_keeps_no_other_waiting(self, worker):
        worker.watch("an-id-of-nothing")
        worker.watch("another-id-of-nothing")
        worker.watch(worker.create())
        wait_for(lambda: len(worker.seen) == 1)
        assert worker.delays[0] < 1.5
        assert worker.reads < 40

    def test_a_refused_token_does_not_end_the_watch(self, worker, sandbox):
        prediction = worker.create()
        sandbox.settings.refused_tokens = frozenset({SecretStr(TOKEN)})
        worker.watch(prediction.id)
        wait_for(lambda: sandbox.books.in_flight == 0)
        assert not worker.seen
        sandbox.settings.refused_tokens = frozenset()
        wait_for(lambda: bool(worker.seen), 10)


class TestForget:
    def test_what_is_forgotten_is_not_told(self, worker):
        kept, dropped = worker.create("kept"), worker.create("dropped")
        worker.watch(kept)
        worker.watch(dropped)
        worker.watcher.forget(dropped.id)
        worker.watcher.forget("never watched")
        wait_for(lambda: bool(worker.seen) and worker.sandbox.books.in_flight == 0)
        last = worker.create("last")
        worker.watch(last)
        wait_for(lambda: len(worker.seen) == 2)
        assert {seen.id for seen in worker.seen} == {kept.id, last.id}

    def test_nothing_is_read_while_nothing_is_watched(self, worker):
        worker.run(1)
        reads = worker.reads
        wait_for(lambda: worker.create() is not None and worker.sandbox.books.ended_by_status["succeeded"] >= 3, 10)
        assert worker.reads == reads

    def test_it_stops_at_once_and_leaves_predictions_alone(self, worker, sandbox):
        sandbox.settings.latency_seconds = 30
        worker.watch(worker.create(), 1000.0)
        began = time.monotonic()
        worker.watcher.stop()
        assert time.monotonic() - began < 5
        assert sandbox.books.in_flight == 1
        assert not worker.seen
