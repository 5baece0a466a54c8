"""What a batch tells of a generation whose record is gone: never nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from replibatch import BatchRequest, enqueue_batch
from replibatch.producer import Batch, open_producer
from replibatch.requests import BatchResult, State
from tests.support.catalogue import FLUX


@pytest.fixture
def batch(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """A batch of three that is over: the first failed, the others have no file to bring home."""
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", redis_url)
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "storage"))
    batch = enqueue_batch([BatchRequest(f"p {place}", FLUX, f"{place}.png") for place in range(3)])
    jobs = open_producer().jobs
    for place in range(3):
        state = State.SUCCEEDED if place else State.FAILED
        record = jobs.take(f"{batch.id}-{place}", 1)
        assert record is not None
        result = BatchResult(record.id, f"p {place}", FLUX, FLUX, place > 0, state=state)
        jobs.settle(record, state, result)
    return batch


def test_an_item_whose_record_is_gone_is_told_as_such(batch: Batch) -> None:
    assert open_producer().jobs.forget([f"{batch.id}-1"]) == 1
    results = batch.results(timeout=60)
    assert [result.success for result in results] == [False, False, True]
    assert results[1].request_id == f"{batch.id}-1" and "kept no more" in str(results[1].error)
    assert batch.retry_failed() == 1, "only what has its record can be made again"


def test_one_that_is_made_again_is_told_when_it_is_over(batch: Batch) -> None:
    producer = open_producer()
    (page,) = producer.batches.pages(batch.id)
    assert batch.retry_failed() == 1
    gone = next(item for item in page if item.index == 0)
    assert batch.gone(gone) is None
