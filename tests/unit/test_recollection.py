"""What a worker remembers: a record of an older copy is told from an id that begins anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replibatch.jobs.packing import compact
from replibatch.jobs.recollection import Recollection
from replibatch.jobs.record import Record
from replibatch.redisdb.scripts import Script, Step
from replibatch.requests import RoutedRequest

MODEL = "qwen/qwen-image"
REQUEST = RoutedRequest("order-77", "hello 1", MODEL, MODEL, {}, (), "card.webp", asked='{"prompt":"\\"hello 1\\""}')
BEGAN_MS = 1_800_000_000_000
FIELDS = {
    "now": str(BEGAN_MS),
    "state": "running",
    "fence": str(BEGAN_MS + 1),
    "attempt": "1",
    "model": MODEL,
    "request": compact(REQUEST.to_json()),
}
QUEUED = Record.parse("k77", [text for field in FIELDS.items() for text in field])
MADE = replace(QUEUED, sent="a create", prediction_id="p1")


@pytest.fixture
def recollection() -> Recollection:
    """Of a process that has made the job, and settled it."""
    recollection = Recollection()
    recollection.hold(MADE)
    recollection.end(MADE, Step(Script("replibatch.jobs", "jobs", "settle"), (), ()), succeeded=True)
    return recollection


def test_the_record_of_an_older_copy_is_known(recollection: Recollection) -> None:
    assert recollection.knows_more(QUEUED)
    assert recollection.knows_more(replace(QUEUED, fence=QUEUED.fence + 3)), "taken by others since"


def test_another_request_under_the_same_id_is_made_however_soon(recollection: Recollection) -> None:
    other = replace(REQUEST, prompt="hello 2", asked='{"prompt":"\\"hello 2\\""}')
    assert not recollection.knows_more(replace(QUEUED, request=other, fence=QUEUED.fence + 5))


def test_the_same_request_made_again_is_no_older_copy(recollection: Recollection) -> None:
    assert not recollection.knows_more(replace(QUEUED, fence=QUEUED.fence + 40))
