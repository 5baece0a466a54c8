"""The producer of a fake account: it enqueues as the real one does, and does itself what a worker would do."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fakeredis import FakeRedis
from pydantic import SecretStr
from redis import Redis

from replibatch.catalog import Model
from replibatch.catalog.prices import at_most_usd
from replibatch.errors import AttemptFailure, QueueUnavailable
from replibatch.execution.decide import NextModel, decide
from replibatch.jobs import Message, Record, Settled
from replibatch.jobs.holds import BUDGET
from replibatch.jobs.webhooks import Webhook
from replibatch.money import to_micro, to_usd
from replibatch.outputs.placeholder import placeholder
from replibatch.producer.fleet import Fleet
from replibatch.producer.hub import Hub, Read
from replibatch.producer.listener import Listener
from replibatch.producer.prepare import Preparer
from replibatch.producer.producer import Producer
from replibatch.producer.unavailable import SAYS
from replibatch.redisdb import keys
from replibatch.redisdb.scripts import run_together
from replibatch.requests import Attempt, BatchRequest, BatchResult, OutputFile, RoutedRequest, State
from replibatch.settings import Settings
from replibatch.storage.storage import Storage
from replibatch.testing.books import Made
from replibatch.testing.samples import sample

if TYPE_CHECKING:
    from replibatch.testing.fake import Fake

T = TypeVar("T")

ADDRESS = "redis://fake"
LOOK_SECONDS = 0.002


class _NoFleet(Fleet):
    """The fake works itself, on a storage of its own."""

    def check_storage(self, storage: Storage) -> None:
        """It is its own."""

    def has_no_worker(self) -> bool:
        """It works itself."""
        return False


class FakeProducer(Producer):
    """Enqueues on the fake's Redis.

    Args:
        settings: the application's; where Redis and outputs are is the fake's business.
        fake: the account.
    """

    def __init__(self, settings: Settings, fake: Fake) -> None:
        self._fake = fake
        self._spent: dict[str, float] = {}
        own = {"redis_url": SecretStr(ADDRESS), "storage_url": str(fake.folder), "state_dir": fake.folder / "state"}
        super().__init__(settings.model_copy(update=own))
        self.fleet = _NoFleet(self.settings, self.limiter, token_given=False)
        self.files.home = fake.folder
        self.prepare = _Preparer(self.prepare, fake)
        self.listener = _NoListener()
        self._hub = _NoHub(self)

    def _connect(self) -> Redis:
        return cast("Redis", FakeRedis(server=self._fake.server, decode_responses=True))

    def present(self) -> None:
        """Announce nothing: a fake has no peers."""

    async def in_thread(self, call: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """At once: nothing blocks here."""
        return call(*arguments, **options)

    def raise_if_stopped(self) -> None:
        """As ordered."""
        if self._fake.stopped is not None:
            raise self._fake.stopped

    def status(self) -> dict[str, Any]:
        """As the real one, with what the books say."""
        books = self._fake.books
        return {**super().status(), "spent_usd": books.spent_usd, "total_requests": books.created}

    def record(self, generation_id: str, prepared: RoutedRequest, **options: Any) -> None:
        """As the real one, unless Redis is away."""
        if not self._fake.away:
            super().record(generation_id, prepared, **options)
            return
        accepted = self._fake.away.pop(0)
        if accepted:
            super().record(generation_id, prepared, **options)
        raise QueueUnavailable(f"Redis ({ADDRESS}) is not available: {SAYS[accepted]}", accepted, generation_id)

    def publish(self, messages: Sequence[Message]) -> None:
        """Make them, one after the other; what follows of their batches, too."""
        following = list(messages)
        while following:
            message = following.pop(0)
            if self._fake.waiting is not None:
                self._fake.waiting.append((self, message.id, message.attempt))
            elif settled := self._settled(message.id, message.attempt):
                following += settled.messages

    def make(self, generation_id: str, attempt: int) -> None:
        """Make one that was held."""
        if settled := self._settled(generation_id, attempt):
            self.publish(settled.messages)

    def cancel(self, generation_id: str) -> bool:
        """Cancel held work."""
        state, attempt, result = self.jobs.outcome(generation_id)
        if not state or result or not (record := self.jobs.take(generation_id, attempt)):
            return False
        self._after(record, State.CANCELED, record.request.unmade(State.CANCELED, "canceled", ()))
        return True

    def _settled(self, generation_id: str, attempt: int) -> Settled | None:
        record = self.jobs.take(generation_id, attempt)
        if record is None:
            return None
        if not self._is_affordable(record):
            run_together(self.redis, self.jobs.put_back_step(record, BUDGET))
            return None
        attempts, model = self._attempts(record)
        return self._after(record, *self._result(record, attempts, model))

    def _after(self, record: Record, state: State, result: BatchResult) -> Settled | None:
        settled = self.jobs.settle(record, state, result)
        for call in settled.calls if settled else ():
            link = call.link
            self._fake.links.append(
                {"task": link.task, "args": call.args, "kwargs": link.kwargs, "queue": link.queue}
            )
            self.jobs.called(call)
        owed = keys.WEBHOOKS.at(self.jobs.prefix)
        for packed, _ in cast("list[tuple[str, float]]", self.redis.zpopmin(owed, 100)):
            webhook = Webhook.parse(packed)
            self._fake.webhooks.append((webhook.url, {"job_id": webhook.job, **result.to_json()}))
        return settled

    def _attempts(self, record: Record) -> tuple[list[Attempt], Model]:
        """The attempts on one model after the other; the last attempt says how the request ended."""
        request, models = record.request, self.catalog.models
        order = self._fake.order_for(request.prompt, request.asked_model)
        model = models[record.model]
        attempts: list[Attempt] = []
        while True:
            failure = self._fake.failure(order) if order and (order.whole or not attempts) else None
            attempts.append(self._attempt(record, model, failure))
            if failure is None:
                return attempts, model
            following = decide(
                failure,
                attempts,
                model,
                models,
                references=len(request.references),
                fallback=request.fallback,
                max_retries=1,
            )
            if not isinstance(following, NextModel):
                return attempts, model
            model = models[following.model]

    def _attempt(self, record: Record, model: Model, failure: AttemptFailure | None) -> Attempt:
        cost_usd = 0.0 if failure else at_most_usd(model, record.request.inputs) or 0.0
        outcome = "failed" if failure else "succeeded"
        reason = failure.reason if failure else None
        made = Made(record.id, model.name, _inputs(record, model), reason or outcome, cost_usd)
        self._fake.books.predictions.append(made)
        self._spent[record.budget] = self._spent.get(record.budget, 0.0) + cost_usd
        prediction = secrets.token_hex(12)
        return Attempt(model.name, prediction, outcome, reason, str(failure) if failure else None, 0.0, cost_usd)

    def _result(self, record: Record, attempts: list[Attempt], model: Model) -> tuple[State, BatchResult]:
        request, success = record.request, attempts[-1].outcome == "succeeded"
        content = self._content(record, model) if success else placeholder(request.output)
        if not success and not (self.settings.placeholder and len(attempts) and model.kind == "image"):
            content = None
        files = (self._file(request.output, content),) if content is not None else ()
        state = State.SUCCEEDED if success else State.PLACEHOLDER if files else State.FAILED
        chain = ", ".join(f"{each.model} ({each.reason})" for each in attempts)
        return state, BatchResult(
            request_id=request.request_id,
            prompt=request.prompt,
            model_name=request.asked_model,
            model_used=model.name if success else None,
            success=success,
            files=files,
            error=None if success else f"every model failed: {chain}",
            attempts=tuple(attempts),
            warnings=request.warnings,
            cost_usd=round(sum(each.cost_usd or 0.0 for each in attempts), 6),
            placeholder=state == State.PLACEHOLDER,
            state=state,
            inputs=_inputs(record, model),
            fields=request.fields,
        )

    @staticmethod
    def _content(record: Record, model: Model) -> bytes:
        extension = Path(record.request.output).suffix.removeprefix(".")
        return sample(extension, record.request.prompt, model.name, record.id)

    def _file(self, key: str, content: bytes) -> OutputFile:
        path = self._fake.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        url = f"https://replicate.delivery/fake/{path.name}"
        return OutputFile(key, url, hashlib.sha256(content).hexdigest(), len(content))

    def _is_affordable(self, record: Record) -> bool:
        cap = self.redis.hget(keys.BUDGET.at(self.jobs.prefix, record.budget), "cap") if record.budget else None
        if cap is None:
            return True
        model = self.catalog.models[record.model]
        usd = at_most_usd(model, record.request.inputs) or 0.0
        return to_micro(self._spent.get(record.budget, 0.0) + usd) <= to_micro(to_usd(int(str(cap))))


def _inputs(record: Record, model: Model) -> dict[str, Any]:
    prompt = {model.prompt_name: record.request.prompt} if model.prompt_name else {}
    return {**prompt, **record.request.inputs}


class _Preparer(Preparer):
    """Notes what was asked for."""

    def __init__(self, real: Preparer, fake: Fake) -> None:
        self._real = real
        self._fake = fake

    def __call__(self, request: BatchRequest, *arguments: Any, **options: Any) -> RoutedRequest:
        prepared = self._real(request, *arguments, **options)
        self._fake.requests.append(request)
        return prepared

    def check(self, request: BatchRequest, *arguments: Any, **options: Any) -> Any:
        return self._real.check(request, *arguments, **options)


class _NoListener(Listener):
    """Waiting calls check again after a moment: another thread of the test may release held work."""

    def __init__(self) -> None:
        pass

    @contextmanager
    def waiting_for(self, name: str) -> Iterator[Event]:  # noqa: ARG002  # the real one's shape
        yield cast("Event", _Moment())

    def close(self) -> None:
        pass


class _Moment:
    def clear(self) -> None:
        pass

    def wait(self, timeout: float) -> None:
        Event().wait(min(timeout, LOOK_SECONDS))


class _NoHub(Hub):
    """The same for asyncio."""

    def __init__(self, producer: FakeProducer) -> None:
        self._producer = producer

    async def ask(self, read: Read) -> Any:
        return read(cast("Any", self._producer.redis))

    @contextmanager
    def waiting_for(self, name: str) -> Iterator[Callable[[], Awaitable[None]]]:  # noqa: ARG002  # the real one's shape
        async def moment() -> None:
            self._producer.raise_if_stopped()
            await asyncio.sleep(LOOK_SECONDS)

        yield moment

    def close(self) -> None:
        pass
