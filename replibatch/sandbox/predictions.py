"""A prediction in the stand-in."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from replibatch.sandbox.faults import STUCK, Fault
from replibatch.sandbox.forms import file_refs
from replibatch.sandbox.hosting import Hosted

if TYPE_CHECKING:
    from replibatch.sandbox.accounts import Account

OVER = frozenset({"succeeded", "failed", "canceled", "aborted"})
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id() -> str:
    """26 characters, as Replicate's ids have."""
    number = int.from_bytes(secrets.token_bytes(17))
    return "".join(_ID_ALPHABET[number >> 5 * place & 31] for place in range(26))


@dataclass(frozen=True)
class Webhook:
    """Whom to tell, and of what: `start`, `output`, `logs`, `completed`."""

    url: str
    events: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """What a create asked for.

    Attributes:
        model: what runs.
        input: as it was sent; checked already.
        version: what the API will show: `hidden` where it was created by the model's name alone.
        deadline: from its `Cancel-After`, in Unix seconds.
        deployment: `owner/name` of the deployment it was created through.
        webhook: whom to tell.
    """

    model: Hosted
    input: dict[str, Any]
    version: str = "hidden"
    deadline: float | None = None
    deployment: str | None = None
    webhook: Webhook | None = None

    @property
    def prompt(self) -> str:
        """The prompt, or nothing where the input has no text of that name."""
        prompt = self.input.get("prompt")
        return prompt if isinstance(prompt, str) else ""


@dataclass(frozen=True)
class Told:
    """A request's values as the rows show them: model, version and input, each None where they leave it out."""

    model: str | None
    version: str | None
    input: Mapping[str, Any] | None


@dataclass(eq=False)
class Prediction:
    """One prediction.

    Attributes:
        request: the create's request.
        told: the request's values as the prediction's rows show them.
        plain: those values as rows without a fault would show them.
        account: the account that created it.
        created_at: Unix seconds, as are `started_at` and `completed_at`.
        expected_seconds: how long it takes if nothing stops it, `starting` included.
        starting_seconds: how much of that it is `starting`.
        course: the fault that decides how it goes; None for a good one.
        row: the fault that makes its rows unreadable.
        listed_from: when the list begins to show it.
        value: its output, once it has succeeded.
        metrics: the metrics that the API shows.
        task: runs it.
    """

    request: Request
    told: Told
    plain: Told
    account: Account
    created_at: float
    expected_seconds: float
    starting_seconds: float = 0.0
    course: Fault | None = None
    row: Fault | None = None
    listed_from: float = 0.0
    id: str = field(default_factory=new_id)
    status: str = "starting"
    started_at: float | None = None
    completed_at: float | None = None
    value: Any = None
    error: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None

    @property
    def model(self) -> Hosted:
        """What runs."""
        return self.request.model

    @property
    def model_name(self) -> str:
        """`owner/name`, without a version."""
        return self.request.model.name

    @property
    def input(self) -> dict[str, Any]:
        """As it was sent."""
        return self.request.input

    @property
    def prompt(self) -> str:
        """The prompt, or nothing where the input has no text of that name."""
        return self.request.prompt

    @property
    def is_over(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.status in OVER

    @property
    def stuck(self) -> str | None:
        """How it answers a cancel, where it is stuck: a kind of `faults.STUCK`."""
        return self.course.kind if self.course and self.course.kind in STUCK and not self.is_over else None

    def has_file(self, name: str) -> bool:
        """Whether a file of that name is part of its output."""
        return any(ref.name == name for ref in file_refs(self.value))

    def ran_seconds(self) -> float:
        """How long it ran, `starting` not counted; 0 as long as it is not over."""
        if self.started_at is None or self.completed_at is None:
            return 0.0
        return self.completed_at - self.started_at

    def is_erased(self, at: float, erase_after_seconds: float) -> bool:
        """Whether its input and output are erased by then."""
        return self.completed_at is not None and at - self.completed_at >= erase_after_seconds
