"""A fake account: the real records and the real routing on a Redis within this process, and no worker.

Whatever is enqueued is over at once, as the test ordered it, with small files of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fakeredis import FakeServer

from replibatch.errors import AccountStopped, AttemptFailure, NoCredit, TokenRefused
from replibatch.producer.client import Client
from replibatch.producer.producer import making
from replibatch.requests import BatchRequest
from replibatch.testing.books import Books
from replibatch.testing.fake_producer import FakeProducer

NO_TOKEN_NEEDED = "r8_of_a_fake"  # noqa: S105  # it goes nowhere


def _reasons() -> dict[str, type[AttemptFailure]]:
    return {kind.reason: kind for kind in reversed(AttemptFailure.__subclasses__())}


@dataclass
class Order:
    """What a test wants to happen.

    Attributes:
        reason: why predictions fail.
        message: Replicate's words.
        whole: whether every model of the chain fails, not only the first.
        matches: which requests it is for.
        left: how many requests it is still for.
    """

    reason: str
    message: str
    whole: bool
    matches: Callable[[str, str], bool]
    left: int


class Fake:
    """One test's account. Usable as a context manager without pytest, too.

    Args:
        folder: where outputs go.

    Attributes:
        requests: every request of the application, in order, as it was written.
        books: every prediction that was made, and what it cost.
        links: the calls of linked Celery tasks that a worker would have sent: task, args, kwargs, queue.
        webhooks: the webhooks that a worker would have delivered: address and content.
        client: a client of this fake; the module's functions and all other clients use the fake, too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[BatchRequest] = []
        self.books = Books()
        self.links: list[dict[str, Any]] = []
        self.webhooks: list[tuple[str, dict[str, Any]]] = []
        self.server = FakeServer()
        self.away: list[bool | None] = []  # what the next calls say was accepted
        self.stopped: AccountStopped | None = None
        self.waiting: deque[tuple[FakeProducer, str, int]] | None = None
        self._orders: list[Order] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(making(self._producer))
        self.client = self._open.enter_context(Client(token=NO_TOKEN_NEEDED))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def will_fail(
        self, reason: str = "failed", *, message: str = "", prompt: str = "", model: str = "", times: int = 1
    ) -> None:
        """Have the next request fail on every model of its chain: it ends with the placeholder, or without a file.

        Args:
            reason: as in `BatchResult.attempts`: `sensitive`, `timeout`, `invalid_input`, `model_missing` …
            message: Replicate's words; empty for a typical message.
            prompt: only a request with this in its prompt.
            model: only a request of this model.
            times: for so many requests.

        Raises:
            ValueError: there is no such reason.
        """
        self._order(reason, message, prompt, model, times, whole=True)

    def will_fall_back(
        self, reason: str = "failed", *, message: str = "", prompt: str = "", model: str = "", times: int = 1
    ) -> None:
        """Have the first model of the next request fail, and the next one stand in; arguments as of `will_fail`."""
        self._order(reason, message, prompt, model, times, whole=False)

    def will_be_unavailable(self, accepted: bool | None = False, *, times: int = 1) -> None:
        """Have the next `enqueue` meet a Redis that is away: `QueueUnavailable`, with what became of the job."""
        self.away += [accepted] * times

    def account_stops(self, why: str = "no_credit") -> None:
        """Stop the account: `no_credit`, or `token_refused`. Enqueued work waits; waiting calls raise the error."""
        kinds: dict[str, AccountStopped] = {
            "no_credit": NoCredit("Insufficient credit"),
            "token_refused": TokenRefused("You did not pass a valid authentication token"),
        }
        if why not in kinds:
            raise ValueError(f"why is {why!r}; expected: {', '.join(kinds)}")
        self.stopped = kinds[why]
        self.hold()

    def hold(self) -> None:
        """Keep enqueued work in the queue, until `release`."""
        if self.waiting is None:
            self.waiting = deque()

    def release(self) -> None:
        """Make what was held, and all that comes."""
        held, self.waiting, self.stopped = self.waiting or (), None, None
        for producer, generation_id, attempt in held:
            producer.make(generation_id, attempt)

    def order_for(self, prompt: str, model: str) -> Order | None:
        """What a test wants of a request; used up by that."""
        for order in self._orders:
            if order.left and order.matches(prompt, model):
                order.left -= 1
                return order
        return None

    @staticmethod
    def failure(order: Order) -> AttemptFailure:
        """The failure that an order asks for."""
        return _reasons()[order.reason](order.message)

    def _order(self, reason: str, message: str, prompt: str, model: str, times: int, *, whole: bool) -> None:
        if reason not in _reasons():
            raise ValueError(f"reason is {reason!r}; expected: {', '.join(sorted(_reasons()))}")

        def matches(of_prompt: str, of_model: str) -> bool:
            return prompt in of_prompt and model in ("", of_model)

        words = message or f"ordered by the test: {reason}"
        self._orders.append(Order(reason, words, whole, matches, times))

    def _producer(self, settings: Any, *, token_given: bool) -> FakeProducer:  # noqa: ARG002  # the maker's shape
        return FakeProducer(settings, self)
