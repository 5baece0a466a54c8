"""Generation records and custody: a generation is always in exactly one place.

In a batch's pending list, in the Celery queue, in the custody of one process (publishing or running), or done.
Every write to a record is fenced: who has lost custody changes nothing. `lua/jobs.lua` describes the keys.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from redis import Redis

from replibatch.errors import IdempotencyConflict
from replibatch.jobs.counts import counted
from replibatch.jobs.holds import PAUSED
from replibatch.jobs.identity import differences
from replibatch.jobs.links import Call, Link
from replibatch.jobs.packing import compact, pack_result, read_request, read_result
from replibatch.jobs.recollection import Recollection, as_known
from replibatch.jobs.record import Message, Notice, Record, Settled, is_id
from replibatch.jobs.webhooks import owed_start, owed_webhook
from replibatch.money import to_micro
from replibatch.redisdb import keys
from replibatch.redisdb.scripts import Script, Step
from replibatch.requests import Attempt, BatchResult, RoutedRequest, State, new_id
from replibatch.settings import Settings

_NAMES = (
    "enqueue", "published", "take", "intend", "created", "advance", "next_step", "requeue", "settle", "put_back",
    "give_back", "take_over", "mine", "ask_to_cancel", "forget", "lost", "owed", "recall",
)  # fmt: skip
_SCRIPTS = {name: Script("replibatch.jobs", "jobs", name) for name in _NAMES}

TAKE_OVER_AT_ONCE = 200
RECALLED_AT_ONCE = 50


class Jobs:
    """The records of one account, as one process sees them.

    Args:
        redis: a client of the fleet's Redis.
        settings: the account, and how long results are kept.
        process: this process's unique name.
    """

    def __init__(self, redis: Redis, settings: Settings, process: str) -> None:
        self.redis = redis
        self.process = process
        self.prefix = settings.key_prefix
        self.keep_ms = int(settings.keep_seconds * 1000)
        self.capacity = settings.global_max_concurrent
        self._recollection = Recollection()

    def enqueue(
        self,
        generation_id: str,
        request: RoutedRequest,
        catalog: dict[str, Any],
        *,
        priority: int,
        link: Link | None = None,
        again: bool = False,
        budget: str = "",
    ) -> Message | None:
        """Record a single job, in this process's publishing custody; its message. None where the id is known already.

        Args:
            generation_id: its id.
            request: what to make.
            catalog: the models of its chain, by name.
            priority: of its messages.
            link: the application's task that is called with the result.
            again: whether a job of that id that ended without success is made again.
            budget: the name of a budget that it draws on beside the account's; empty for none.

        Raises:
            IdempotencyConflict: the id stands for another request.
        """
        recorded, *about = self._call(
            "enqueue",
            id=generation_id,
            model=request.model,
            priority=priority,
            request=compact(request.to_json()),
            catalog=compact(catalog),
            link=link.packed() if link else "",
            asked=request.asked,
            again=again,
            budget=budget,
        )
        if recorded < 0:
            raise IdempotencyConflict(request.request_id, differences(about[0], request.asked))
        return Message(generation_id, about[0], about[1], priority) if recorded else None

    def published(self, ids: Iterable[str]) -> None:
        """Note that the messages of these generations are in the queue."""
        self._call("published", ids=list(ids))

    def take(self, generation_id: str, attempt: int, notice: Notice | None = None) -> Record | None:
        """Take custody for a task that starts; None, and no notice, where it must step aside."""
        flat = self._call("take", notice, id=generation_id, attempt=attempt, taker=new_id())
        record = _readable(generation_id, flat) if flat else None
        if record and self._recollection.knows_more(record):
            self.recall()  # an older copy has just taken over, and its queue has what is made, or over, already
            return None
        if record:
            self._recollection.hold(record)
        return record

    def intend(self, record: Record, sent: str) -> str:
        """Note what a create will be recognised by: `ok`; otherwise `lost`, `canceled` or `paused`: send nothing.

        Args:
            record: the generation's.
            sent: the fingerprint of the inputs as they will be sent.
        """
        answer = str(self._call("intend", **self._custody(record), sent=sent, paused=PAUSED))
        if answer == "ok":
            self._recollection.note(record, sent=sent)
        return answer

    def created_step(self, record: Record, prediction_id: str) -> Step:
        """Claim a prediction for the record's attempt. The script answers `ok`, `twin`, `fenced` or `gone`."""
        step = self._step(
            "created",
            **self._custody(record),
            attempt=record.attempt,
            attempt_key=record.attempt_key,
            prediction=prediction_id,
            webhook=owed_start(record),
        )
        return replace(step, before=lambda _: self._recollection.note(record, prediction_id=prediction_id))

    def advance(self, record: Record, model: str, attempts: Iterable[Attempt], pause_seconds: float) -> bool:
        """Make the record's next attempt, on `model`, ready to publish; False if it is no longer this process's."""
        self._recollection.let_go(record.id)
        return bool(
            self._call(
                "advance",
                **self._custody(record),
                attempt=record.attempt + 1,
                model=model,
                attempts=compact([attempt.__dict__ for attempt in attempts]),
                pause_ms=int(pause_seconds * 1000),
            )
        )

    def next_step(self, record: Record, request: RoutedRequest) -> bool:
        """Make the record's next step ready to publish; False if it is no longer this process's.

        Args:
            record: the record of the item with the finished step.
            request: the next step, with the steps made and attempts paid before it.
        """
        self._recollection.let_go(record.id)
        return bool(
            self._call(
                "next_step",
                **self._custody(record),
                attempt=record.attempt + 1,
                model=request.model,
                request=compact(request.to_json()),
            )
        )

    def requeue(self, record: Record, *, paid_usd: float = 0.0) -> Message | None:
        """Put a generation no thread works on back to the queue's head; None if it is no longer ours.

        Args:
            record: the generation's.
            paid_usd: what its prediction has cost; 0 before that has ended.
        """
        self._recollection.let_go(record.id)
        answer = self._call("requeue", **self._custody(record), paid=to_micro(paid_usd))
        return Message(*answer) if answer else None

    def settle(
        self, record: Record, state: State, result: BatchResult, notice: Notice | None = None
    ) -> Settled | None:
        """Write the one result; None, and no notice, if the record is no longer this process's."""
        step = self._step(
            "settle",
            notice,
            **self._custody(record),
            state=state.value,
            result=pack_result(result),
            cost=to_micro(result.known_cost_usd),
            capacity=self.capacity,
            counts=counted(result, record.counted),
            asked=record.request.asked,
            webhook=owed_webhook(record),
        )
        settled, messages, calls = step.run(self.redis)
        if not settled:
            self._recollection.let_go(record.id)
            return None
        self._recollection.end(record, step, succeeded=state == State.SUCCEEDED)
        return Settled([Message(*message) for message in messages], [Call.parse(call) for call in calls])

    def put_back_step(self, record: Record, held: str) -> Step:
        """Return a batch's generation to its pending list, and hold the batch for the reason given."""
        step = self._step("put_back", **self._custody(record), held=held)
        return replace(step, before=lambda _: self._recollection.let_go(record.id))

    def give_back(self) -> int:
        """Leave everything this process answers for to the others; returns how many generations that is."""
        return int(self._call("give_back"))

    def take_over(self, dead: str) -> list[Record]:
        """Take over from a dead process; from `""`, what processes that ended in order left."""
        rows = self._call("take_over", dead=dead, most=TAKE_OVER_AT_ONCE)
        records = [record for row in rows if (record := _readable(row[0], row[1:]))]
        for record in records:
            self._recollection.hold(record)
        return records

    def recall(self) -> int:
        """Tell the records how far this process's generations are, after a failover to an older copy.

        Returns:
            How many generations they knew less of.
        """
        count, known = 0, self._recollection.all()
        for first in range(0, len(known), RECALLED_AT_ONCE):
            part = known[first : first + RECALLED_AT_ONCE]
            restored = self._call("recall", records=[as_known(record) for record, _ in part])
            for (_, step), is_restored in zip(part, restored, strict=True):
                count += is_restored
                if is_restored and step:
                    step.run(self.redis)  # its messages are published by the next round of a worker
        return count

    def lost(self, lists: Mapping[int, str], grace_seconds: float) -> list[Message]:
        """What the queue has lost, now in this process's publishing custody, as messages for the queue's head.

        Args:
            lists: the queue's Redis lists by priority.
            grace_seconds: how long publishing a message, or starting its task, may take.
        """
        rows = self._call("lost", lists=lists, grace_ms=int(grace_seconds * 1000), most=TAKE_OVER_AT_ONCE)
        return [Message(*row) for row in rows]

    def owed(self, grace_seconds: float) -> list[Call]:
        """Unpublished calls of applications' own tasks, for this process to publish.

        Args:
            grace_seconds: how long publishing one may take.
        """
        rows = self._call("owed", grace_ms=int(grace_seconds * 1000), most=TAKE_OVER_AT_ONCE)
        return [Call.parse(row) for row in rows]

    def called(self, call: Call) -> None:
        """Note that it has been published."""
        with self.redis.pipeline(transaction=False) as pipeline:
            pipeline.zrem(keys.CALLS.at(self.prefix), call.owed)
            pipeline.hset(keys.LINKED.at(self.prefix), call.link.queue, int(time.time() * 1000))
            pipeline.execute()

    def linked_queues(self) -> dict[str, tuple[int, float]]:
        """The applications' queues that tasks were called in: how many messages wait there now, and for how long it
        has been since the last call, in seconds."""
        found = cast("dict[str, str]", self.redis.hgetall(keys.LINKED.at(self.prefix)))
        with self.redis.pipeline(transaction=False) as pipeline:
            for queue in found:
                pipeline.llen(queue)
            lengths = pipeline.execute()
        return {
            queue: (length, time.time() - int(at) / 1000)
            for (queue, at), length in zip(found.items(), lengths, strict=True)
        }

    def claimed(self, predictions: Sequence[str]) -> dict[str, str]:
        """The attempts that predictions belong to, by the prediction's id; those of no attempt are left out."""
        if not predictions:
            return {}
        holders = self.redis.mget([keys.PREDICTION.at(self.prefix, each) for each in predictions])
        pairs = zip(predictions, cast("list[str | None]", holders), strict=True)
        return {each: holder for each, holder in pairs if holder}

    def oldest_asked(self) -> float:
        """When the oldest single job without a result was asked for, in Unix seconds; infinity if there is none."""
        oldest = cast("list[tuple[str, float]]", self.redis.zrange(keys.ASKED.at(self.prefix), 0, 0, withscores=True))
        return oldest[0][1] / 1000 if oldest else math.inf

    def ask_to_cancel(self, generation_id: str) -> None:
        """Ask for a generation to be canceled; ignored once it is over."""
        self._call("ask_to_cancel", id=generation_id)

    def custody(self) -> set[str]:
        """The generations this process answers for."""
        return cast("set[str]", self.redis.smembers(keys.CUSTODY.at(self.prefix, self.process)))

    def record(self, generation_id: str) -> Record | None:
        """A record of this process's custody as it is now; None if another process has it, or it is over."""
        flat = self._call("mine", id=generation_id)
        return _readable(generation_id, flat) if flat else None

    def to_cancel(self) -> set[str]:
        """The generations in this process's custody that are to be canceled."""
        return cast(
            "set[str]",
            self.redis.sinter([keys.CUSTODY.at(self.prefix, self.process), keys.CANCELING.at(self.prefix)]),
        )

    def other_holders(self) -> set[str]:
        """The other processes that may answer for something; `""` stands for those that left in order."""
        return cast("set[str]", self.redis.smembers(keys.HOLDERS.at(self.prefix))) - {self.process}

    def outcome(self, generation_id: str) -> tuple[str, int, BatchResult | None]:
        """A generation's state (empty for an unknown id), attempt number, and result if it has one."""
        if not is_id(generation_id):
            return "", 0, None
        return parse_outcome(self.outcome_read(generation_id)(self.redis))

    def outcome_read(self, generation_id: str) -> Callable[[Any], Any]:
        """The command that reads it, for a pipeline."""
        key = keys.GENERATION.at(self.prefix, generation_id)
        return lambda redis: redis.hmget(key, ["state", "attempt", "result"])

    def succeeded(self, ids: Sequence[str]) -> dict[str, BatchResult]:
        """The results of those generations that succeeded, by id."""
        with self.redis.pipeline(transaction=False) as pipeline:
            for generation_id in ids:
                pipeline.hmget(keys.GENERATION.at(self.prefix, generation_id), ["state", "result"])
            rows = zip(ids, pipeline.execute(), strict=True)
        return {
            generation_id: read_result(result) for generation_id, (state, result) in rows if state == State.SUCCEEDED
        }

    def forget(self, ids: Sequence[str]) -> int:
        """Forget those generations that have their result: the same id is a new job then. Returns how many."""
        return int(self._call("forget", ids=list(ids)))

    def asked(self, ids: Sequence[str]) -> list[str]:
        """What each of these ids stands for by now; empty where it is not known, or was made up."""
        with self.redis.pipeline(transaction=False) as pipeline:
            for generation_id in ids:
                pipeline.hmget(keys.GENERATION.at(self.prefix, generation_id), ["asked", "request"])
            rows = pipeline.execute()
        return [asked or (json.loads(request).get("asked", "") if request else "") for asked, request in rows]

    def request_of(self, generation_id: str) -> tuple[RoutedRequest, bool] | None:
        """The request of a job that ended without success, and whether a batch has it; None where there is none."""
        key = keys.GENERATION.at(self.prefix, generation_id)
        names = ["request", "result", "state", "batch", "followers"]
        request, result, state, batch, followers = cast("list[str | None]", self.redis.hmget(key, names))
        if not request or not result or state == State.SUCCEEDED:
            return None
        return read_request(generation_id, request), bool(batch or followers)

    def _custody(self, record: Record) -> dict[str, Any]:
        return {"id": record.id, "fence": record.fence}

    def _step(self, name: str, notice: Notice | None = None, **call: Any) -> Step:
        text = compact({"process": self.process, "keep_ms": self.keep_ms, **call})
        return Step(_SCRIPTS[name], [self.prefix], (text, *(notice or ())))

    def _call(self, name: str, notice: Notice | None = None, **call: Any) -> Any:
        return self._step(name, notice, **call).run(self.redis)


def parse_outcome(values: Sequence[str | None]) -> tuple[str, int, BatchResult | None]:
    """An outcome, by the answer to `outcome_read`."""
    state, attempt, result = values
    return state or "", int(attempt or 0), read_result(result) if result else None


def _readable(generation_id: str, flat: list[str]) -> Record | None:
    """A record; None for one that cannot be read, which must not keep the process from handling others."""
    try:
        return Record.parse(generation_id, flat)
    except Exception:  # noqa: BLE001  # logged below, with its traceback
        import structlog  # noqa: PLC0415  # a producer has no use for it

        structlog.get_logger(__name__).exception("its record cannot be read", generation=generation_id)
        return None
