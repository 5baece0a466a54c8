"""A prediction as Replicate's API tells it, in JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Self
from urllib.parse import quote

from replibatch.requests import Attempt, BatchResult, OutputFile, State
from replibatch.served.record import Served

Json = dict[str, Any]
ENDS = {State.SUCCEEDED: "succeeded", State.CANCELED: "canceled"}  # any other end is a failure
LOST_AFTER_SECONDS = 60.0  # a prediction without a generation was never enqueued, or is kept no more
FIELDS = ("state", "attempt", "result", "prediction", "attempts", "started", "model", "canceling")


@dataclass(frozen=True)
class Progress:
    """Where a prediction's generation is.

    Attributes:
        state: of the generation; empty where there is no record of it.
        result: its result, once it has one.
        model: the model at work.
        prediction_id: Replicate's id, once it was created there.
        attempts: those that are over.
        started: when the first attempt began, in Unix seconds; 0 before.
        ahead: why nothing moves, in words; empty where that is not known.
        completed: when it ended, in Unix seconds, as far as it is known; 0 before.
    """

    state: str = ""
    result: BatchResult | None = None
    model: str = ""
    prediction_id: str = ""
    attempts: tuple[Attempt, ...] = ()
    started: float = 0.0
    ahead: str = ""
    completed: float = 0.0

    @classmethod
    def parse(
        cls,
        values: list[str | None],
        read_result: Callable[[str], BatchResult],
        read_attempts: Callable[[str], tuple[Attempt, ...]],
        *,
        ahead: str = "",
        completed: float = 0.0,
    ) -> Self:
        """From the values of `FIELDS` in a generation's record."""
        fields = dict(zip(FIELDS, values, strict=True))
        return cls(
            state=fields["state"] or "",
            result=read_result(fields["result"]) if fields["result"] else None,
            model=fields["model"] or "",
            prediction_id=fields["prediction"] or "",
            attempts=read_attempts(fields["attempts"] or "[]"),
            started=int(fields["started"] or 0) / 1000,
            ahead=ahead,
            completed=completed,
        )

    def status(self, served: Served) -> str:
        """The status, in the API's words."""
        if self.result is not None:
            return ENDS.get(self.result.state, "failed")
        if self.state == State.CANCELED:
            return "canceled"
        if self.state:
            return "processing" if self.prediction_id else "starting"
        if served.ended:
            return served.ended
        return "failed" if self.is_gone(served) else "starting"

    @property
    def is_waiting(self) -> bool:
        """Whether Replicate does not have it yet."""
        return bool(self.state) and self.result is None and not self.prediction_id and self.state != State.CANCELED

    def is_gone(self, served: Served) -> bool:
        """Whether its records are kept no more."""
        return not self.state and bool(served.ended or time.time() - served.created > LOST_AFTER_SECONDS)


def view(served: Served, progress: Progress, base: str, read_text: Callable[[OutputFile], str]) -> Json:
    """The prediction.

    Args:
        served: what was asked.
        progress: where it is.
        base: the gateway's address, as the caller reached it.
        read_text: the content of a text output.
    """
    here = f"{base}/v1/predictions/{served.id}"
    status, removed, result = progress.status(served), progress.is_gone(served), progress.result
    completed = progress.completed or served.completed
    started = completed - result.duration if result and result.attempts else progress.started
    row: Json = {
        "id": served.id,
        "model": served.model,
        "version": served.version,
        "input": {} if removed else served.input,
        "logs": "" if removed else "".join(f"{line}\n" for line in log_lines(progress)),
        "output": output_of(served, result, base, read_text),
        "data_removed": removed,
        "error": _error(served, progress),
        "source": "api",
        "status": status,
        "created_at": iso(served.created),
        "started_at": iso(max(started, served.created)) if started else None,
        "completed_at": iso(max(completed, served.created)) if completed else None,
        "urls": {
            "get": here,
            "cancel": f"{here}/cancel",
            "stream": f"{base}/stream/{served.id}/{served.token}",
            "web": here,
        },
    }
    if result is not None:
        row["metrics"] = _metrics(served, result, completed)
    if served.deployment:
        row["deployment"] = served.deployment
    return row


def output_of(served: Served, result: BatchResult | None, base: str, read_text: Callable[[OutputFile], str]) -> Any:
    """The output in the form that the model's is: addresses of the gateway, or text. A placeholder is no output."""
    if result is None or not result.success:
        return None
    if served.shape in ("text", "array<text>") and result.files:
        texts = [read_text(file) for file in result.files]
        return texts if served.shape == "array<text>" else "".join(texts)
    addresses = [output_address(served, base, number, file) for number, file in enumerate(result.files)]
    if served.shape == "uri" and addresses:
        return addresses[0]
    return addresses[0] if not served.shape and len(addresses) == 1 else addresses


def output_address(served: Served, base: str, number: int, file: OutputFile) -> str:
    """Where the gateway serves one file of a result."""
    return f"{base}/outputs/{served.id}/{served.token}/{number}/{quote(PurePath(file.path).name)}"


def log_lines(progress: Progress) -> Iterator[str]:
    """What became of it so far, a line each: attempts, fallbacks, waits."""
    result = progress.result
    attempts = result.attempts if result else progress.attempts
    model = ""
    for number, attempt in enumerate(attempts, 1):
        if model and attempt.model != model:
            yield f"fallback: {attempt.model} stands in for {model}"
        model = attempt.model
        yield f"attempt {number}: {_told(attempt)}"
    if result is not None:
        yield from result.warnings
        if result.error:
            yield f"ended: {result.error}"
        return
    if progress.model and model and progress.model != model:
        yield f"fallback: {progress.model} stands in for {model}"
    if progress.prediction_id:
        yield f"attempt {len(attempts) + 1}: {progress.model} runs as prediction {progress.prediction_id}"
    elif progress.state:
        yield f"waiting: {progress.ahead or 'it is in the queue'}"


def _told(attempt: Attempt) -> str:
    words = f"{attempt.model} {attempt.outcome}"
    if attempt.prediction_id:
        words += f" as prediction {attempt.prediction_id}"
    words += f" after {attempt.seconds:.1f} s"
    why = ": ".join(each for each in (attempt.reason, attempt.message) if each)
    return f"{words} ({why})" if why and attempt.outcome != "succeeded" else words


def _error(served: Served, progress: Progress) -> str | None:
    if progress.result is not None:
        return None if progress.result.success else progress.result.error
    if progress.is_gone(served) and not served.ended:
        return "its records are kept no more; whether it succeeded is not known"
    return None


def _metrics(served: Served, result: BatchResult, completed: float) -> Json:
    last = result.attempts[-1].seconds if result.attempts else 0.0
    return {
        "predict_time": round(last, 3),
        "total_time": round(max(completed - served.created, result.duration), 3) if completed else result.duration,
        "attempts": len(result.attempts),
        "cost_usd": result.cost_usd,
        "model_used": result.model_used,
    }


def iso(at: float) -> str:
    """Unix seconds as the API writes them."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def body_of(row: Mapping[str, Any]) -> bytes:
    """A prediction as the bytes of an answer or a webhook."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
