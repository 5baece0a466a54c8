"""The reconciler against the stand-in: a create whose reply was lost is found, or surely was not made."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import fakeredis
import pytest

from replibatch.errors import MaybeCreated
from replibatch.execution.echoes import Echoes, Sent, fingerprint
from replibatch.execution.reconcile import Lost, Reconciler
from replibatch.jobs import Record
from replibatch.jobs.unknown import UnknownCreates
from replibatch.limits import Ticket
from replibatch.replicate_api import ReplicateAPI
from replibatch.sandbox import clock
from replibatch.sandbox.echoes import ECHOES
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
        self.elsewhere = 0
        self._lock = threading.Lock()

    def claim(self, record: Record, ticket: Ticket, prediction_id: str) -> str:
        with self._lock:
            if any(each is record or each == record.id for each in self.fenced):
                return "fenced"
            owner = self.owners.setdefault(prediction_id, ticket.attempt_key)
            return "ok" if owner == ticket.attempt_key else "twin"

    def claimed(self, predictions: Sequence[str]) -> dict[str, str]:
        return {each: self.owners[each] for each in predictions if each in self.owners}

    def to_cancel(self) -> set[str]:
        return self.canceling

    def unanswered_elsewhere(self, own: set[str], older_than_seconds: float) -> int:
        return self.elsewhere

    def lost(self, key: str, sent: dict[str, Any], model: str = FLUX, *, sent_at: float | None = None) -> Lost:
        at = time.monotonic() if sent_at is None else sent_at
        create = Sent(model, sent, fingerprint(model, sent))
        return Lost(lost_record(key, model, at), Ticket(f"{key}:1", 1, 0.0), create, at)

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
    with fakeredis.FakeRedis(decode_responses=True) as redis:
        claims.unknown = UnknownCreates(redis, "rb:test:")
        reconciler = Reconciler(api, claims, Echoes(redis, "rb:test:"), claims.unknown, settle_seconds)
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

    def test_another_prompt_or_another_seed_is_another(self, sandbox, api, reconciler, claims):
        create(api, FLUX, inputs("a wolf", seed=1), 600)
        create(api, FLUX, inputs("a fox", seed=2), 600)
        claims.look_for(reconciler, claims.lost("a", inputs("a fox", seed=1)))
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

    def test_not_where_it_may_be_among_rows_that_are_erased(self, sandbox, api, claims):
        sandbox.settings.erase_after_seconds = 0.0
        for _ in range(3):
            create(api, FLUX, inputs("any"), 600)
        wait_for(lambda: sandbox.books.in_flight == 0)
        with running(api, claims) as reconciler:
            claims.look_for(reconciler, claims.lost("same", inputs("p")))
            claims.look_for(reconciler, claims.lost("versioned", inputs("p"), f"{FLUX}:abc"))
            wait_for(lambda: {each.id for each in claims.unknown.all()} == {"same", "versioned"})
            assert not claims.settled
            claims.canceling.add("same")
            wait_for(lambda: claims.absent == ["same"])


class TestAccounting:
    """A create that no row is equal to: by the rows that are left."""

    @pytest.mark.parametrize("echo", ECHOES)
    def test_the_one_row_that_is_left_is_its(self, sandbox, api, reconciler, claims, echo):
        sandbox.settings.fault_rates = {echo: 1.0}
        theirs = create(api, FLUX, inputs("a wolf", seed=1), 600)
        claims.owners[theirs.id] = "somebody"
        sent = inputs("  a fox [[drop-after]]", seed=7, guidance=3.0, go_fast=True)
        lose(api, sent)
        claims.look_for(reconciler, claims.lost("a", sent))
        wait_for(lambda: claims.settled == 1)
        assert list(claims.found) == ["a"] and not claims.unknown.all()

    @pytest.mark.parametrize("echo", ECHOES)
    def test_it_is_absent_where_each_row_is_anothers(self, sandbox, api, reconciler, claims, echo):
        sandbox.settings.fault_rates = {echo: 1.0}
        theirs = create(api, FLUX, inputs("a fox", seed=1), 600)
        claims.owners[theirs.id] = "somebody"
        claims.look_for(reconciler, claims.lost("a", inputs("a fox", seed=2)))
        wait_for(lambda: claims.settled == 1)
        assert claims.absent == ["a"]

    def test_one_that_shows_its_prompt_is_taken_before_one_that_shows_nothing(self, sandbox, api, reconciler, claims):
        sandbox.settings.fault_rates = {"echo-no-input": 1.0}
        lose(api, inputs("a wolf [[drop-after]]"))
        sandbox.settings.fault_rates = {"echo-alias": 1.0}
        lose(api, inputs("a fox [[drop-after]]"))
        sandbox.settings.fault_rates = {}
        for name in ("wolf", "fox"):
            claims.look_for(reconciler, claims.lost(name, inputs(f"a {name} [[drop-after]]")))
        wait_for(lambda: claims.settled == 2)
        found = {
            name: sandbox.books.bill(FLUX, inputs(f"a {name} [[drop-after]]")).prediction_ids[0]
            for name in ("wolf", "fox")
        }
        assert claims.found == found

    def test_several_that_show_nothing_are_held_and_listed(self, sandbox, api, reconciler, claims):
        sandbox.settings.fault_rates = {"echo-no-input": 1.0}
        for name in ("wolf", "fox"):
            lose(api, inputs(f"a {name} [[drop-after]]"))
            claims.look_for(reconciler, claims.lost(name, inputs(f"a {name} [[drop-after]]")))
        wait_for(lambda: len(claims.unknown.all()) == 2)
        assert not claims.settled
        held = claims.unknown.all()[0]
        assert len(held.candidates) == 2 and held.to_settle.startswith(f"replibatch settle {held.id} --created")

    def test_a_person_settles_one_and_the_other_follows(self, sandbox, api, reconciler, claims):
        self.test_several_that_show_nothing_are_held_and_listed(sandbox, api, reconciler, claims)
        fox = sandbox.books.bill(FLUX, inputs("a fox [[drop-after]]")).prediction_ids[0]
        assert claims.unknown.settle("fox", fox)
        wait_for(lambda: claims.settled == 2)
        wolf = sandbox.books.bill(FLUX, inputs("a wolf [[drop-after]]")).prediction_ids[0]
        assert claims.found == {"fox": fox, "wolf": wolf}
        assert not claims.unknown.all() and not claims.unknown.verdicts()

    def test_a_person_says_that_it_was_not_created(self, sandbox, api, reconciler, claims):
        self.test_several_that_show_nothing_are_held_and_listed(sandbox, api, reconciler, claims)
        assert claims.unknown.settle("fox", None)
        wait_for(lambda: claims.absent == ["fox"])
        assert not claims.unknown.settle("nobody", None)

    def test_one_that_another_process_may_have_lost_is_held(self, sandbox, api, reconciler, claims):
        sandbox.settings.fault_rates = {"echo-no-input": 1.0}
        claims.elsewhere = 1
        lose(api, inputs("a fox [[drop-after]]"))
        claims.look_for(reconciler, claims.lost("a", inputs("a fox [[drop-after]]")))
        wait_for(lambda: len(claims.unknown.all()) == 1)
        claims.elsewhere = 0
        wait_for(lambda: list(claims.found) == ["a"])

    def test_a_server_without_a_list_proves_nothing(self, claims):
        gone = answer(404, '{"detail": "The requested resource could not be found.", "status": 404}')
        with OddServer(gone) as server, account(server.url) as api, running(api, claims) as reconciler:
            claims.look_for(reconciler, claims.lost("a", inputs("p")))
            wait_for(lambda: len(claims.unknown.all()) == 1)
            assert not claims.settled

    def test_a_server_that_ignores_the_bounds_is_not_read_to_its_beginning(self, sandbox, api, reconciler, claims):
        sandbox.settings.drop_filter_on_pages = sandbox.settings.endless_pages = True
        sandbox.settings.list_page_rows = 5
        for number in range(12):
            claims.owners[create(api, QWEN, inputs(f"p{number}"), 600).id] = "somebody"
        claims.look_for(reconciler, claims.lost("a", inputs("a fox")))
        wait_for(lambda: claims.settled == 1)
        assert claims.absent == ["a"] and sandbox.books.reads_by_kind["list"] < 40

    def test_what_its_own_attempt_has_claimed_already_is_its(self, sandbox, api, reconciler, claims):
        """By a process that lost custody just then: the claim stands, and its record does not know it."""
        made = create(api, FLUX, inputs("a wolf"), 600)
        claims.owners[made.id] = "a:1"
        claims.look_for(reconciler, claims.lost("a", inputs("a fox")))
        wait_for(lambda: claims.found == {"a": made.id})


class TestThread:
    def test_it_stops_at_once_and_leaves_what_is_unsettled(self, api, claims):
        with running(api, claims, 3600) as reconciler:
            claims.look_for(reconciler, claims.lost("a", inputs("p")))
            began = time.monotonic()
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
