"""The reconciler against the stand-in: a create whose reply was lost is found, or surely was not made."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from replibatch.errors import MaybeCreated
from replibatch.execution.reconcile import Reconciler, Unsettled, fingerprint
from replibatch.replicate_api import Prediction, ReplicateAPI
from replibatch.sandbox import clock
from tests.support.account import account, inputs
from tests.support.catalogue import FLUX, QWEN
from tests.support.odd_server import OddServer, answer
from tests.support.sandbox_caller import Caller, wait_for

SETTLE_SECONDS = 0.3


@pytest.fixture
def reconciler(api: ReplicateAPI) -> Iterator[Reconciler]:
    reconciler = Reconciler(api, SETTLE_SECONDS)
    reconciler.start()
    yield reconciler
    reconciler.stop()


class Claims:
    """Who has which prediction, as the records keeps it: the first to claim it."""

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}
        self.found: dict[str, str] = {}
        self.absent: list[str] = []
        self.asked = 0
        self._lock = threading.Lock()

    def unsettled(
        self, key: str, sent: dict[str, Any], model: str = FLUX, *, fenced: bool = False, **more: Any
    ) -> Unsettled:
        def claim(prediction: Prediction) -> bool:
            with self._lock:
                self.asked += 1
                return not fenced and self.owners.setdefault(prediction.id, key) == key

        def on_found(prediction: Prediction) -> None:
            assert key not in self.found, "once"
            self.found[key] = prediction.id

        recognised_by = fingerprint(model, sent)
        return Unsettled(key, model, recognised_by, claim, on_found, lambda: self.absent.append(key), **more)

    @property
    def settled(self) -> int:
        return len(self.found) + len(self.absent)


@pytest.fixture
def claims() -> Claims:
    return Claims()


def lose(api: ReplicateAPI, sent: dict[str, Any], model: str = FLUX) -> None:
    with pytest.raises(MaybeCreated):
        api.create(model, sent, 600)


class TestFound:
    @pytest.mark.parametrize("marker", ["502-after", "drop-after", "500-after"])
    def test_whatever_became_of_the_reply(self, sandbox, api, reconciler, claims, marker):
        sent = inputs(f"ein Füchslein 🦊 [[{marker}]]", seed=3, guidance=3.0, go_fast=True)
        lose(api, sent)
        reconciler.submit(claims.unsettled("a", sent))
        wait_for(lambda: claims.settled == 1)
        assert claims.found == {"a": sandbox.books.bill(FLUX, sent).prediction_ids[0]}
        assert len(sandbox.books.post_times) == 1

    def test_each_of_many_has_its_own(self, sandbox, api, reconciler, claims):
        sent = {f"k{number}": inputs(f"[[drop-after]] {number}") for number in range(120)}
        for key, one in sent.items():
            lose(api, one)
            reconciler.submit(claims.unsettled(key, one))
        wait_for(lambda: claims.settled == 120, 10)
        assert claims.found == {key: sandbox.books.bill(FLUX, one).prediction_ids[0] for key, one in sent.items()}

    def test_equal_ones_take_one_each_and_none_is_taken_twice(self, sandbox, api, reconciler, claims):
        sent = inputs("[[drop-after]]")
        for _ in range(3):
            lose(api, sent)
        for key in "abcd":
            reconciler.submit(claims.unsettled(key, sent))
        wait_for(lambda: claims.settled == 4)
        assert sorted(claims.found.values()) == sorted(sandbox.books.bill(FLUX, sent).prediction_ids)
        assert len(claims.absent) == 1

    def test_what_somebody_has_claimed_is_passed_over(self, sandbox, api, reconciler, claims):
        sent = inputs("[[drop-after]]")
        for _ in range(2):
            lose(api, sent)
        theirs, ours = sandbox.books.bill(FLUX, sent).prediction_ids
        claims.owners[theirs] = "somebody"
        reconciler.submit(claims.unsettled("a", sent))
        wait_for(lambda: claims.settled == 1)
        assert claims.found == {"a": ours}

    def test_an_equal_one_that_may_not_claim_is_not_in_the_way(self, api, reconciler, claims):
        """Its generation has moved on, so the records refuses it whatever it claims."""
        sent = inputs("[[drop-after]]")
        lose(api, sent)
        reconciler.submit(claims.unsettled("fenced", sent, fenced=True))
        reconciler.submit(claims.unsettled("good", sent))
        wait_for(lambda: claims.settled == 2)
        assert list(claims.found) == ["good"]
        assert claims.absent == ["fenced"]

    def test_another_model_or_another_input_is_another(self, sandbox, api, reconciler, claims):
        api.create(QWEN, inputs("a fox"), 600)
        api.create(FLUX, inputs("a fox", seed=2), 600)
        reconciler.submit(claims.unsettled("a", inputs("a fox")))
        wait_for(lambda: claims.settled == 1)
        assert claims.absent == ["a"]

    def test_what_the_list_shows_after_a_while_is_found(self, sandbox, api, reconciler, claims):
        sent = inputs("late")
        reconciler.submit(claims.unsettled("a", sent))
        wait_for(lambda: sandbox.books.reads_by_kind["list"] >= 1)
        made = api.create(FLUX, sent, 600)
        wait_for(lambda: claims.settled == 1)
        assert claims.found == {"a": made.id}

    def test_this_machine_s_clock_may_be_ahead_of_replicate_s(self, api, reconciler, claims, monkeypatch):
        monkeypatch.setattr(clock, "_OFFSET_SECONDS", clock._OFFSET_SECONDS - 3600)
        api.account()
        sent = inputs("a fox [[drop-after]]")
        lose(api, sent)
        reconciler.submit(claims.unsettled("a", sent, sent_at=time.monotonic()))
        wait_for(lambda: claims.settled == 1)
        assert list(claims.found) == ["a"]

    def test_one_sent_long_ago_is_looked_for_in_that_time(self, claims):
        """As after a whole fleet was down: the list is asked for the time of the POST, not for the last minutes."""
        empty = answer(200, '{"next": null, "results": []}')
        with OddServer(empty) as server, account(server.url) as api:
            reconciler = Reconciler(api, SETTLE_SECONDS)
            reconciler.start()
            reconciler.submit(claims.unsettled("a", inputs("p"), sent_at=time.monotonic() - 7200))
            wait_for(lambda: claims.settled == 1)
            reconciler.stop()
            query = parse_qs(urlsplit(server.requests[0].split()[1].decode()).query)
            age = datetime.now(UTC) - datetime.fromisoformat(query["created_after"][0])
            assert 7200 < age.total_seconds() < 7200 + 900

    def test_a_list_of_many_pages_is_turned_to_its_end(self, sandbox, api, reconciler, claims):
        sent = inputs("[[drop-after]] first of all")
        lose(api, sent)
        for number in range(230):
            api.create(QWEN, inputs(f"p{number}"), 600)
        reconciler.submit(claims.unsettled("a", sent))
        wait_for(lambda: claims.settled == 1)
        assert claims.found


class TestAbsent:
    @pytest.mark.parametrize("marker", ["502-before", "drop-before"])
    def test_only_after_the_settle_time_and_several_looks(self, sandbox, api, reconciler, claims, marker):
        sent = inputs(f"[[{marker}]]")
        lose(api, sent)
        began = time.monotonic()
        reconciler.submit(claims.unsettled("a", sent))
        wait_for(lambda: claims.settled == 1)
        assert claims.absent == ["a"]
        assert time.monotonic() - began >= SETTLE_SECONDS
        assert sandbox.books.reads_by_kind["list"] >= 3

    def test_not_as_long_as_the_list_cannot_be_read(self, sandbox, reconciler, claims):
        sandbox.settings.fault_rates = {"failed-reads": 1.0}
        began = time.monotonic()
        reconciler.submit(claims.unsettled("a", inputs("p")))
        wait_for(lambda: time.monotonic() - began > 2 * SETTLE_SECONDS)
        assert not claims.settled
        sandbox.settings.fault_rates = {}
        sandbox.books.reset()
        wait_for(lambda: claims.settled == 1)
        assert sandbox.books.reads_by_kind["list"] >= 3, "looks that failed do not count"

    def test_what_people_made_on_the_web_is_theirs(self):
        row = f'"model": "{FLUX}", "input": {{"prompt": "p"}}, "status": "succeeded"'
        theirs, ours = (f'{{"id": "{source}", "source": "{source}", {row}}}' for source in ("web", "api"))
        for body, found in ((f"{theirs}, {ours}", {"a": "api"}), (theirs, {})):
            fresh = Claims()
            page = answer(200, f'{{"next": null, "results": [{body}]}}')
            with OddServer(page) as server, account(server.url) as api:
                reconciler = Reconciler(api, SETTLE_SECONDS)
                reconciler.start()
                reconciler.submit(fresh.unsettled("a", inputs("p")))
                wait_for(lambda fresh=fresh: fresh.settled == 1)  # type: ignore[misc]
                reconciler.stop()
            assert fresh.found == found

    def test_not_where_it_may_be_among_rows_that_are_erased(self, sandbox, api, reconciler, claims):
        sandbox.settings.erase_after_seconds = 0.0
        api.create(FLUX, inputs("any"), 600)
        wait_for(lambda: sandbox.books.in_flight == 0)
        began = time.monotonic()
        reconciler.submit(claims.unsettled("same", inputs("p"), FLUX))
        reconciler.submit(claims.unsettled("versioned", inputs("p"), f"{FLUX}:abc"))
        reconciler.submit(claims.unsettled("other", inputs("p"), QWEN))
        wait_for(lambda: time.monotonic() - began > 2.5 * SETTLE_SECONDS)
        assert claims.absent == ["other"], "no other model's rows are in its way"
        assert not claims.found
        reconciler.submit(claims.unsettled("canceled", inputs("p"), FLUX, given_up=lambda: True))
        wait_for(lambda: "canceled" in claims.absent)
        assert "same" not in claims.absent


class TestThread:
    def test_it_stops_at_once_and_leaves_what_is_unsettled(self, api, claims):
        reconciler = Reconciler(api, 3600)
        reconciler.start()
        reconciler.submit(claims.unsettled("a", inputs("p")))
        began = time.monotonic()
        reconciler.stop()
        assert time.monotonic() - began < 5
        assert not claims.settled

    def test_one_submitted_twice_is_settled_once(self, api, reconciler, claims):
        sent = inputs("[[drop-after]]")
        lose(api, sent)
        for _ in range(2):
            reconciler.submit(claims.unsettled("a", sent))
        wait_for(lambda: claims.settled == 1)

    def test_a_later_search_for_the_same_attempt_takes_the_place_of_one_that_may_not_claim(
        self, api, reconciler, claims
    ):
        """As after a double takeover: the first search was of a custody that is lost since."""
        sent = inputs("[[drop-after]]")
        lose(api, sent)
        reconciler.submit(claims.unsettled("a", sent, fenced=True))
        reconciler.submit(claims.unsettled("a", sent))
        wait_for(lambda: claims.settled == 1)
        assert list(claims.found) == ["a"] and not claims.absent

    def test_it_reads_nothing_while_nothing_is_lost(self, sandbox, reconciler, claims):
        reconciler.submit(claims.unsettled("a", inputs("p")))
        wait_for(lambda: claims.settled == 1)
        reads = sandbox.books.reads_by_kind["list"]
        with Caller(sandbox) as caller:
            caller.ended("p")
        assert sandbox.books.reads_by_kind["list"] == reads


class TestFingerprint:
    def test_equal_requests_are_equal_however_they_are_written(self):
        sent = {"b": 1, "a": [1.0, {"x": None, "y": "ü"}], "guidance": 3.0}
        echoed = {"guidance": 3, "a": [1, {"y": "ü", "x": None}], "b": 1}
        assert fingerprint("me/mine:abc", sent) == fingerprint("me/mine", echoed)

    @pytest.mark.parametrize("other", [{"a": 2}, {"a": "1"}, {"a": True}, {"a": 1, "b": None}, {"a": 1.5}, {}])
    def test_different_ones_are_not(self, other):
        assert fingerprint("m/m", {"a": 1}) != fingerprint("m/m", other)
