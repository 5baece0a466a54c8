"""The few steps that most tests of the records take."""

from __future__ import annotations

from replibatch.broker.publish import BULK
from replibatch.jobs import Batches, Jobs, Packer, PendingEntry, Record
from replibatch.requests import BatchResult, RoutedRequest, State

MODEL = "a/model"


def request(name: str) -> RoutedRequest:
    return RoutedRequest(name, f"prompt {name}", MODEL, MODEL, {}, (), f"{name}.png")


def lost_record(name: str, model: str, sent_at: float | None = None) -> Record:
    """A generation's whose create was sent at a moment, by default just now, and not answered."""
    return Record(
        id=name,
        state="running",
        fence=1,
        attempt=1,
        model=model,
        request=request(name),
        attempts=(),
        sent=None,
        sent_at=sent_at,
        prediction_id=None,
        paid_usd=0.0,
        created_at=None,
        started_at=sent_at,
        pause_seconds=0.0,
        batch="",
        budget="",
        index=0,
        catalog="{}",
        priority=BULK,
        canceling=False,
    )


def open_batch(batches: Batches, batch: str = "one", *, budget: str = "") -> None:
    batches.open(batch, max_concurrent=None, priority=BULK, about={"name": batch}, budget=budget)


def append_requests(batches: Batches, requests: dict[str, RoutedRequest], offset: int, batch: str) -> list[str]:
    """These, by their generations' ids; returns those that are to be published."""
    packer = Packer()
    entries = [
        packer.pack(PendingEntry(name, offset + index, each)) for index, (name, each) in enumerate(requests.items())
    ]
    return [message.id for message in batches.append(batch, offset, entries, packer.fresh(), {})]


def append(batches: Batches, count: int, offset: int = 0, batch: str = "one") -> list[str]:
    """So many, as `one-0`, `one-1` …; returns those that are to be published."""
    requests = {
        f"{batch}-{index}": RoutedRequest(
            f"asked {index}", f"p {index}", MODEL, MODEL, {"width": 7}, (), f"out/{index}.png"
        )
        for index in range(offset, offset + count)
    }
    return append_requests(batches, requests, offset, batch)


def closed_batch(batches: Batches, batch: str, *ids: str) -> list[str]:
    """A batch of these generations, and no more; returns those that are to be published."""
    open_batch(batches, batch)
    messages = append_requests(batches, {name: request(name) for name in ids}, 0, batch)
    batches.close(batch)
    return messages


def take(jobs: Jobs, name: str, attempt: int = 1) -> Record:
    record = jobs.take(name, attempt)
    assert record is not None
    return record


def settle(jobs: Jobs, name: str, state: State = State.SUCCEEDED) -> None:
    record = take(jobs, name)
    result = BatchResult(name, record.request.prompt, MODEL, MODEL, state == State.SUCCEEDED, state=state)
    jobs.settle(record, state, result)


def now_ms(jobs: Jobs) -> int:
    """Redis' time."""
    seconds, microseconds = jobs.redis.time()
    return seconds * 1000 + microseconds // 1000
