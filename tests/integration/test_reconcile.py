"""The reconciler against the stand-in: a create whose reply was lost is found, or surely was not made."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from replibatch.errors import MaybeCreated
from replibatch.execution.reconcile import Lost, Reconciler, fingerprint
from replibatch.jobs import Record
from replibatch.limits import Ticket
from replibatch.replicate_api import ReplicateAPI
from replibatch.sandbox import clock
from tests.support.account import account, create, inputs
from tests.support.catalogue import FLUX, QWEN
from tests.support.jobs import lost_record
from tests.support.odd_server import OddServer, answer
from tests.support.sandbox_caller import Caller, wait_for

SETTLE_SECONDS = 0.3


class Claims:
    """Who has which prediction, as the records keep it: the first to claim it. And what became of lost creates."""

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}
        self.found: dict[str, str] = {}
        self.absent: list[str] = []
        self.fenced: list[Record | str] = []
        self.canceling: set[str] = set()
        self._lock = threading.Lock()

    def claim(self, record: Record, ticket: Ticket, prediction_id: str) -> str:
        with self._lock:
            if any(each is record or each == record.id for each in self.fenced):
                return "fenced"
            owner = self.owners.setdefault(prediction_id, ticket.attempt_key)
            return "ok" if owner == ticket.attempt_key else "twin"

    def to_cancel(self) -> set[str]:
        return self.canceling

    def lost(self, key: str, sent: dict[str, Any], model: str = FLUX, *, sent_at: float | None = None) -> Lost:
        return Lost(lost_record(key, model, sent_at), Ticket(f"{key}:1", 1, 0.0), fingerprint(model, sent))

    def look_for(self, reconciler: Reconciler, lost: Lost) -> None:
        def settled() -> None:
            assert not lost.is_open
            key = lost.record.id
            if lost.found:
                assert key not in self.found, "once"
                self.found[key] = lost.found.id
            else:
                self.absent.append(key)

        reconciler.submit(lost, settled)

    @property
    def settled(self) -> int:
        return len(self.found) + len(self.absent)


@pytest.fixture
def claims() -> Claims:
    return Claims()


@contextmanager
def running(api: ReplicateAPI, claims: Claims, settle_seconds: float = SETTLE_SECONDS) -> Iterator[Reconciler]:
    reconciler = Reconciler(api, claims.claim, claims.to_cancel, settle_seconds)
    reconciler.start()
    yield reconciler
    reconciler.stop()


@pytest.fixture
def reconciler(api: ReplicateAPI, claims: Claims) -> Iterator[Reconciler]:
    with running(api, claims) as reconciler:
        yield reconciler


def lose(api: ReplicateAPI, sent: dict[str, Any], model: str = FLUX) -> None:
    with pytest.raises(MaybeCreated):
        create(api, model, sent, 600)


class TestFound:
    @pytest.mark.parametrize("marker", ["502-after", "drop-after", "500-after"])
    def test_whatever_became_of_the_reply(self, sandbox, api, reconciler, claims, marker):
        sent = inputs(f"ein Füchslein 🦊 [[{marker}]]", seed=3, guidance=3.0, go_fast=True)
        lose(api, sent)
        claims.look_for(reconciler, claims.lost("a", sent))
        wait_for(lambda: claims.settled == 1)
        assert claims.found == {"a": sandbox.books.bill(FLUX, sent).prediction_ids[0]}
        assert len(sandbox.books.post_times) == 1

    def test_each_of_many_has_its_own(self, sandbox, api, reconciler, claims):
        sent = {f"k{number}": inputs(f"[[drop-after]] {number}") for number in range(120)}
        for key, one in sent.items():
            lose(api, one)
            claims.look_for(reconciler, claims.lost(key, one))
        wait_for(lambda: claims.settled == 120, 10)
        assert claims.found == {key: sandbox.books.bill(FLUX, one).prediction_ids[0] for key, one in sent.items()}

    def test_equal_ones_take_one_each_and_none_is_taken_twice(self, sandbox, api, reconciler, claims):
        sent = inputs("[[drop-after]]")
        for _ in range(3):
            lose(api, sent)
        for key in "abcd":
            claims.look_for(reconciler, claims.lost(key, sent))
        wait_for(lambda: claims.settled == 4)
        assert sorted(claims.found.values()) == sorted(sandbox.books.bill(FLUX, sent).prediction_ids)
        assert len(claims.absent) == 1

    def test_what_somebody_has_claimed_is_passed_over(self, sandbox, api, reconciler, claims):
        sent = inputs("[[drop-after]]")
        for _ in range(2):
            lose(api, sent)
        theirs, ours = sandbox.books.bill(FLUX, sent).prediction_ids
        claims.owners[theirs] = "somebody"
        claims.look_for(reconciler, claims.lost("a", sent))
        wait_for(lambda: claims.settled == 1)
        assert claims.found == {"a": ours}

    def test_an_equal_one_that_may_not_claim_is_not_in_the_way(self, api, reconciler, claims):
        """Its generation has moved on, so the records refuses it whatever it claims."""
        sent = inputs("[[drop-after]]")
        lose(api, sent)
        claims.fenced.append("fenced")
        claims.look_for(reconciler, claims.lost("fenced", sent))
        claims.look_for(reconciler, claims.lost("good", sent))
        wait_for(lambda: claims.settled == 2)
        assert list(claims.found) == ["good"]
        assert claims.absent == ["fenced"]

    def test_another_model_or_another_input_is_another(self, sandbox, api, reconciler, claims):
        create(api, QWEN, inputs("a fox"), 600)
        create(api, FLUX, inputs("a fox", seed=2), 600)
        claims.look_for(reconciler, claims.lost("a", inputs("a fox")))
        wait_for(lambda: claims.settled == 1)
        assert claims.absent == ["a"]

    def test_what_the_list_shows_after_a_while_is_found(self, sandbox, api, reconciler, claims):
        sent = inputs("late")
        claims.look_for(reconciler, claims.lost("a", sent))
        wait_for(lambda: sandbox.books.reads_by_kind["list"] >= 1)
        made = create(api, FLUX, sent, 600)
        wait_for(lambda: claims.settled == 1)
        assert claims.found == {"a": made.id}

    def test_this_machine_s_clock_may_be_ahead_of_replicate_s(self, api, reconciler, claims, monkeypatch):
        monkeypatch.setattr(clock, "_OFFSET_SECONDS", clock._OFFSET_SECONDS - 3600)
        api.account()
        sent = inputs("a fox [[drop-after]]")
        lose(api, sent)
        claims.look_for(reconciler, claims.lost("a", sent, sent_at=time.monotonic()))
        wait_for(lambda: claims.settled == 1)
        assert list(claims.found) == ["a"]

    def test_one_sent_long_ago_is_looked_for_in_that_time(self, claims):
        """As after a whole fleet was down: the list is asked for the time of the POST, not for the last minutes."""
        empty = answer(200, '{"next": null, "results": []}')
        with OddServer(empty) as server, account(server.url) as api:
            with running(api, claims) as reconciler:
                claims.look_for(reconciler, claims.lost("a", inputs("p"), sent_at=time.monotonic() - 7200))
                wait_for(lambda: claims.settled == 1)
            query = parse_qs(urlsplit(server.requests[0].split()[1].decode()).query)
            age = datetime.now(UTC) - datetime.fromisoformat(query["created_after"][0])
            assert 7200 < age.total_seconds() < 7200 + 900

    def test_a_list_of_many_pages_is_turned_to_its_end(self, sandbox, api, reconciler, claims):
        sent = inputs("[[drop-after]] first of all")
        lose(api, sent)
        for number in range(230):
            create(api, QWEN, inputs(f"p{number}"), 600)
        claims.look_for(reconciler, claims.lost("a", sent))
        wait_for(lambda: claims.settled == 1)
        assert claims.found


class TestAbsent:
    @pytest.mark.parametrize("marker", ["502-before", "drop-before"])
    def test_only_after_the_settle_time_and_several_polls(self, sandbox, api, reconciler, claims, marker):
        sent = inputs(f"[[{marker}]]")
        lose(api, sent)
        began = time.monotonic()
        claims.look_for(reconciler, claims.lost("a", sent))
        wait_for(lambda: claims.settled == 1)
        assert claims.absent == ["a"]
        assert time.monotonic() - began >= SETTLE_SECONDS
        assert sandbox.books.reads_by_kind["list"] >= 3

    def test_not_as_long_as_the_list_cannot_be_read(self, sandbox, reconciler, claims):
        sandbox.settings.fault_rates = {"failed-reads": 1.0}
        began = time.monotonic()
        claims.look_for(reconciler, claims.lost("a", inputs("p")))
        wait_for(lambda: time.monotonic() - began > 2 * SETTLE_SECONDS)
        assert not claims.settled
        sandbox.settings.fault_rates = {}
        sandbox.books.reset()
        wait_for(lambda: claims.settled == 1)
        assert sandbox.books.reads_by_kind["list"] >= 3, "polls that failed do not count"

    def test_what_people_made_on_the_web_is_theirs(self):
        row = f'"model": "{FLUX}", "input": {{"prompt": "p"}}, "status": "succeeded"'
        theirs, ours = (f'{{"id": "{source}", "source": "{source}", {row}}}' for source in ("web", "api"))
        for body, found in ((f"{theirs}, {ours}", {"a": "api"}), (theirs, {})):
            fresh = Claims()
            page = answer(200, f'{{"next": null, "results": [{body}]}}')
            with OddServer(page) as server, account(server.url) as api, running(api, fresh) as reconciler:
                fresh.look_for(reconciler, fresh.lost("a", inputs("p")))
                wait_for(lambda fresh=fresh: fresh.settled == 1)  # type: ignore[misc]
            assert fresh.found == found

    def test_not_where_it_may_be_among_rows_that_are_erased(self, sandbox, api, reconciler, claims):
        sandbox.settings.erase_after_seconds = 0.0
        create(api, FLUX, inputs("any"), 600)
        wait_for(lambda: sandbox.books.in_flight == 0)
        began = time.monotonic()
        claims.look_for(reconciler, claims.lost("same", inputs("p"), FLUX))
        claims.look_for(reconciler, claims.lost("versioned", inputs("p"), f"{FLUX}:abc"))
        claims.look_for(reconciler, claims.lost("other", inputs("p"), QWEN))
        wait_for(lambda: time.monotonic() - began > 2.5 * SETTLE_SECONDS)
        assert claims.absent == ["other"], "no other model's rows are in its way"
        assert not claims.found
        claims.canceling.add("canceled")
        claims.look_for(reconciler, claims.lost("canceled", inputs("p"), FLUX))
        wait_for(lambda: "canceled" in claims.absent)
        assert "same" not in claims.absent


class TestThread:
    def test_it_stops_at_once_and_leaves_what_is_unsettled(self, api, claims):
        reconciler = Reconciler(api, claims.claim, claims.to_cancel, 3600)
        reconciler.start()
        claims.look_for(reconciler, claims.lost("a", inputs("p")))
        began = time.monotonic()
        reconciler.stop()
        assert time.monotonic() - began < 5
        assert not claims.settled

    def test_one_submitted_twice_is_settled_once(self, api, reconciler, claims):
        sent = inputs("[[drop-after]]")
        lose(api, sent)
        for _ in range(2):
            claims.look_for(reconciler, claims.lost("a", sent))
        wait_for(lambda: claims.settled == 1)

    def test_a_later_search_for_the_same_attempt_takes_the_place_of_one_that_may_not_claim(
        self, api, reconciler, claims
    ):
        """As after a double takeover: the first search was of a custody that is lost since."""
        sent = inputs("[[drop-after]]")
        lose(api, sent)
        earlier = claims.lost("a", sent)
        claims.fenced.append(earlier.record)
        claims.look_for(reconciler, earlier)
        claims.look_for(reconciler, claims.lost("a", sent))
        wait_for(lambda: claims.settled == 1)
        assert list(claims.found) == ["a"] and not claims.absent

    def test_it_reads_nothing_while_nothing_is_lost(self, sandbox, reconciler, claims):
        claims.look_for(reconciler, claims.lost("a", inputs("p")))
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
