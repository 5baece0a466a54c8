"""A prediction in the stand-in, and how the API shows it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from replibatch.catalog import Model
from replibatch.sandbox.clock import iso
from replibatch.sandbox.faults import Fault

if TYPE_CHECKING:
    from replibatch.sandbox.accounts import Account

OVER = frozenset({"succeeded", "failed", "canceled", "aborted"})
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id() -> str:
    """26 characters, as Replicate's ids have."""
    number = int.from_bytes(secrets.token_bytes(17))
    return "".join(_ID_ALPHABET[number >> 5 * place & 31] for place in range(26))


def version_of(model: Model) -> str:
    """The id of a model's version: the one its name ends with, or 64 hexadecimal digits of its own."""
    name, _, version = model.name.partition(":")
    return version or hashlib.sha256(name.encode()).hexdigest()


@dataclass(eq=False)
class Prediction:
    """One prediction.

    Attributes:
        model: as the catalogue has it.
        input: as it was sent.
        account: whose it is.
        created_at: Unix seconds, as are `deadline`, `started_at` and `completed_at`.
        expected_seconds: how long it takes if nothing stops it, `starting` included.
        starting_seconds: how much of that it is `starting`.
        version: what the API shows: `hidden` where it was created by the model's name alone.
        course: the fault that decides how it goes; None for a good one.
        deadline: from its `Cancel-After`.
        files: names of its output files, once it has succeeded.
        value: an output that is no file.
        task: runs it.
    """

    model: Model
    input: dict[str, Any]
    account: Account
    created_at: float
    expected_seconds: float
    starting_seconds: float = 0.0
    version: str = "hidden"
    course: Fault | None = None
    deadline: float | None = None
    id: str = field(default_factory=new_id)
    status: str = "starting"
    started_at: float | None = None
    completed_at: float | None = None
    files: tuple[str, ...] = ()
    value: Any = None
    error: str | None = None
    task: asyncio.Task[None] | None = None

    @property
    def model_name(self) -> str:
        """`owner/name`, without a version."""
        return self.model.name.partition(":")[0]

    @property
    def prompt(self) -> str:
        """The prompt, or nothing where the input has no text of that name."""
        prompt = self.input.get("prompt")
        return prompt if isinstance(prompt, str) else ""

    @property
    def is_over(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.status in OVER

    def ran_seconds(self) -> float:
        """How long it ran, `starting` not counted; 0 as long as it is not over."""
        if self.started_at is None or self.completed_at is None:
            return 0.0
        return self.completed_at - self.started_at

    def is_erased(self, at: float, erase_after_seconds: float) -> bool:
        """Whether its input and output are erased by then."""
        return self.completed_at is not None and at - self.completed_at >= erase_after_seconds

    def view(self, base_url: str, *, erased: bool) -> dict[str, Any]:
        """The prediction as the API's JSON.

        Args:
            base_url: the server as the client reached it; all URLs start with it.
            erased: without input and output.
        """
        here = f"{base_url}/v1/predictions/{self.id}"
        data = {
            "id": self.id,
            "model": self.model_name,
            "version": self.version,
            "input": None if erased else self.input,
            "logs": None if erased else "",
            "output": None if erased else self._output(base_url),
            "data_removed": erased,
            "error": self.error,
            "source": "api",
            "status": self.status,
            "created_at": iso(self.created_at),
            "started_at": iso(self.started_at),
            "completed_at": iso(self.completed_at),
            "urls": {"web": f"https://replicate.com/p/{self.id}", "get": here, "cancel": f"{here}/cancel"},
        }
        if self.deadline is not None:
            data["deadline"] = iso(self.deadline)
        if self.completed_at is not None:
            data["metrics"] = {
                "predict_time": round(self.ran_seconds(), 6),
                "total_time": round(self.completed_at - self.created_at, 6),
            }
        return data

    def _output(self, base_url: str) -> Any:
        if not self.files:
            return self.value
        urls = [f"{base_url}/output/{self.id}/{name}" for name in self.files]
        return urls if self.model.output == "array<uri>" or len(urls) > 1 else urls[0]
