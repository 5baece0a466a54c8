"""The hand-over from one step of an item to the next.

A step is an attempt like any other, with its own slot, reservation and custody. Where one is made and another is to
come, the record goes on to that one in the script that ends the first, as it does to another attempt: so each is
made once, even if a process dies in between. What was made is in the record; an output travels as the address that
Replicate gave it while that is served and the model takes it, otherwise through the storage.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from replibatch.broker.publish import HEAD
from replibatch.catalog import Model
from replibatch.errors import RequestError
from replibatch.execution.outcomes import Next, Outcome, SteppedAside
from replibatch.jobs import Message, Record
from replibatch.requests import Attempt, OutputFile, RoutedRequest, State, StepResult
from replibatch.routing import inputs_for
from replibatch.steps import Output, leaves, output_of, outputs_in, replaced

if TYPE_CHECKING:
    from replibatch.execution.attempt import Work
    from replibatch.execution.context import WorkerContext
    from replibatch.execution.pricing import Quote
    from replibatch.replicate_api import Prediction

SERVED_SECONDS = 2700.0  # Replicate erases outputs an hour after the end; a prediction may wait for its start
LARGEST_TEXT_BYTES = 200_000  # of an output that is a prompt
TEXTS = (".txt", ".md", ".json")


def hand_over(work: Work, ended: Prediction, files: tuple[OutputFile, ...]) -> Outcome:
    """The step is made: go on to the next."""
    record, request = work.record, work.record.request
    following = request.following(_made(work, files, _ended_at(ended)), work.attempts(None))
    if not work.context.jobs.next_step(record, following):
        return SteppedAside()
    work.log.info("step made", step=request.step, of=request.steps)
    why = f"step {request.step} of {request.steps} is made"
    return Next(Message(record.id, record.attempt + 1, following.model, HEAD), why)


def whole_usd(context: WorkerContext, record: Record, models: Mapping[str, Model], quote: Quote) -> float | None:
    """The most that a step and those after it can cost, each on its first model; None where that is not known."""
    total = quote.reserved_usd
    for step in record.request.then:
        inputs, _ = inputs_for(models[step.model], step)
        usd = context.prices.quote(models[step.model], inputs, step.max_price_usd).reserved_usd
        total = None if total is None or usd is None else total + usd
    return total


def all_of_item(
    work: Work, state: State, files: tuple[OutputFile, ...], attempts: Sequence[Attempt]
) -> tuple[tuple[Attempt, ...], tuple[StepResult, ...], tuple[OutputFile, ...]]:
    """The attempts, the steps made and the files of a whole item that ends with this step.

    The files are those of the steps that no other goes on from.
    """
    request = work.record.request
    if request.steps == 1:
        return tuple(attempts), (), files
    made = request.made
    if state == State.SUCCEEDED:
        made = (*made, _made(work, files, time.time()))
        last = leaves([step.after for step in made[1:]])
        files = tuple(file for step in made if step.step in last for file in step.files)
    return request.all_attempts(attempts), made, files


def named(request: RoutedRequest, error: str) -> str:
    """Why an item is no success, with the step that is not."""
    return error if request.steps == 1 else f"step {request.step} of {request.steps}: {error}"


def with_outputs(work: Work, *, as_addresses: bool) -> dict[str, Any]:
    """A step's inputs with the files that the step before made.

    Args:
        work: the attempt.
        as_addresses: whether its model takes addresses.

    Raises:
        RequestError: there is no such file.
    """
    request = work.record.request
    if not any(outputs_in(work.inputs)):
        return work.inputs
    source = next(step for step in request.made if step.step == request.after)
    text_names = {name for name, value in work.inputs.items() if output_of(value) and _takes_text(work.model, name)}

    def files_of(output: Output) -> list[str]:
        return [_place(work, source, file, as_addresses=as_addresses) for file in _chosen(source, output)]

    def text_of(output: Output) -> list[str]:
        return [_text(work, source, file) for file in _chosen(source, output)]

    return {name: replaced(value, text_of if name in text_names else files_of) for name, value in work.inputs.items()}


def _takes_text(model: Model, name: str) -> bool:
    spec = model.input(name)
    return name == model.prompt_name or (spec is not None and not spec.is_file)


def _chosen(source: StepResult, output: Output) -> list[OutputFile]:
    index = output.index or 0
    if index >= len(source.files):
        raise RequestError(
            f"OUTPUT[{index}] is not there: step {source.step} made {len(source.files)} files; expected: one of those"
        )
    return list(source.files) if output.index is None else [source.files[index]]


def _place(work: Work, source: StepResult, file: OutputFile, *, as_addresses: bool) -> str:
    """Where Replicate finds a file: its own address, or a reference in the storage, to be uploaded."""
    is_served = time.time() - source.made_at < SERVED_SECONDS
    if file.url and as_addresses and is_served and file.url.startswith(("https://", "http://")):
        return file.url
    storage = work.context.storage
    try:
        return storage.keep_input(storage.chunks(file.path), PurePosixPath(file.path).suffix)
    except FileNotFoundError:
        raise RequestError(f"{file.path}, which step {source.step} made, is no longer there") from None


def _text(work: Work, source: StepResult, file: OutputFile) -> str:
    """A file's text; the place of one that is no text."""
    if PurePosixPath(file.path).suffix.lower() not in TEXTS:
        raise RequestError(f"step {source.step} made {PurePosixPath(file.path).name}; expected: a text")
    text = b""
    for chunk in work.context.storage.chunks(file.path):
        text += chunk
        if len(text) > LARGEST_TEXT_BYTES:
            raise RequestError(f"step {source.step} made a text past {LARGEST_TEXT_BYTES:,} bytes; expected: less")
    return text.decode(errors="replace").strip()


def _made(work: Work, files: tuple[OutputFile, ...], made_at: float) -> StepResult:
    request: RoutedRequest = work.record.request
    return StepResult(
        step=request.step,
        after=request.after,
        prompt=request.prompt,
        model_name=request.asked_model,
        model_used=work.model.name,
        files=files,
        inputs=work.inputs,
        made_at=round(made_at, 3),
    )


def _ended_at(ended: Prediction) -> float:
    return min(ended.completed_at.timestamp() if ended.completed_at else time.time(), time.time())
