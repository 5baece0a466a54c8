"""Requests: as callers make them, and as they travel. What comes back is in `results`, and has its names here too.

`BatchRequest` and `BatchResult` are what callers hold. A `RoutedRequest` is a request as it travels through
Redis: checked, routed to a model that can take it, its seed fixed. All are JSON, nothing else.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from os import PathLike, fspath
from typing import Any, Literal, Self

from replibatch.errors import RequestError
from replibatch.foreign_text import shown
from replibatch.request_checks import check_fields, check_input, check_options, check_price, is_text
from replibatch.results import (
    CHECKED_WHOLE_BYTES,
    Attempt,
    BatchResult,
    OutputFile,
    State,
    StepResult,
    known_fields,
    total_usd,
)
from replibatch.steps import StepRequest, check_step, placed
from replibatch.untrusted import arguments

__all__ = [
    "CHECKED_WHOLE_BYTES", "Attempt", "BatchRequest", "BatchResult", "OutputFile", "RoutedRequest", "State",
    "StepResult", "new_id", "total_usd",
]  # fmt: skip

OnOutage = Literal["hold", "fallback"]
ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o, u: ids are read aloud and retyped


def new_id(length: int = 12) -> str:
    """A random id of `length` characters, 5 bits each."""
    return "".join(ID_ALPHABET[byte & 31] for byte in secrets.token_bytes(length))


@dataclass
class BatchRequest:
    """One generation to make.

    Args:
        prompt: the text; empty, or None, for a model that needs none.
        model_name: `owner/name`, from the catalogue.
        output_filepath: the file to write; None lets replibatch name it.
        kwargs: the model's other inputs; reference images as paths or URLs.
        request_id: given, it is an idempotency key: the same id is the same job. Otherwise one is made.
        fields: the caller's own data, as JSON has it; comes back with the result, and is never sent to the model.
        tags: words it is counted under.
        webhook: an http(s) address that is called with the result, at least once; a worker calls it.
        priority: `high`, `normal` or `low`, among jobs that wait; None for `normal`, or `low` in a batch.
        max_retries: tries of one model on passing faults; None leaves it to the batch, or the workers' setting.
        max_price_usd: the most that one prediction may cost; reserved where the model's price is unknown.
        within: the folder that the file must be in; no link below leads out. None for any place.
        local_files: whether inputs may name files of this machine.

    Raises:
        RequestError: a field of the wrong type, or a text that is empty or not Unicode.
    """

    prompt: str
    model_name: str
    output_filepath: str | None = None
    kwargs: dict[str, Any] | None = None
    request_id: str | None = None
    fields: dict[str, Any] | None = None
    tags: Sequence[str] = ()
    webhook: str | None = None
    priority: str | None = None
    max_retries: int | None = None
    max_price_usd: float | None = None
    within: str | None = field(default=None, kw_only=True, repr=False)
    local_files: bool = field(default=True, kw_only=True, repr=False)
    idempotent: bool = field(init=False, repr=False, compare=False)
    steps: tuple[StepRequest, ...] = field(init=False, default=(), repr=False)

    def __post_init__(self) -> None:
        self.idempotent = self.request_id is not None
        if isinstance(self.output_filepath, PathLike):
            self.output_filepath = fspath(self.output_filepath)
        if self.prompt is None:
            self.prompt = ""  # callers may have no type checker
        if self.prompt != "" and not is_text(self.prompt):
            raise RequestError(f"prompt is {shown(self.prompt)}; allowed: a text that is not empty")
        if not is_text(self.model_name):
            allowed = "a model's name, as in 'qwen/qwen-image'"
            raise RequestError(f"model_name is {shown(self.model_name)}; allowed: {allowed}")
        check_price(self.max_price_usd)
        optional = {"output_filepath": self.output_filepath, "request_id": self.request_id}
        for name, text in optional.items():
            if text is not None and not is_text(text):
                raise RequestError(f"{name} is {shown(text)}; allowed: a text that is not empty, or None")
        given: Any = {} if self.kwargs is None else self.kwargs
        if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
            raise RequestError(f"kwargs is {shown(given)}; allowed: a dict of the model's inputs by name")
        for name, value in given.items():
            check_input(name, value)
        check_options(self.tags, self.webhook, self.priority, self.max_retries)
        self.tags = tuple(self.tags)
        if isinstance(self.within, PathLike):
            self.within = fspath(self.within)
        check_fields(self.fields)
        self.kwargs = dict(given)  # one dict may serve many requests, and change between them
        if self.request_id is None:
            self.request_id = new_id()

    def then(
        self,
        model_name: str,
        prompt: str | None = None,
        *,
        after: int | None = None,
        fallback: bool | None = None,
        max_price_usd: float | None = None,
        **inputs: Any,
    ) -> Self:
        """This request with one more step, which makes something of an output: `OUTPUT` stands for it.

        The request itself stays as it is.

        Args:
            model_name: the step's own model.
            prompt: its text; None for a model that needs none.
            after: the number of the step it goes on from; None for the last one. The request is step 1.
            fallback: whether another model may stand in; None for as the whole call says.
            max_price_usd: the most that one prediction for it may cost.
            **inputs: its other inputs, `OUTPUT` or `OUTPUT[0]` in at least one.

        Raises:
            RequestError: it is no step.
        """
        number = len(self.steps) + 2
        text = BatchRequest(placed(prompt) or "", model_name, max_price_usd=max_price_usd).prompt
        from_step = number - 1 if after is None else after
        step = StepRequest(model_name, text, placed(inputs), from_step, fallback, max_price_usd)
        check_step(step, number)
        longer = copy.copy(self)
        longer.kwargs = dict(self.kwargs or {})
        longer.steps = (*self.steps, step)
        if not self.idempotent:
            longer.request_id = new_id()  # another item than one of fewer steps
        return longer

    def known_as(self, request_id: str) -> Self:
        """This request under an id made of its own content: no key of a caller's, to hold other content against.

        Args:
            request_id: the id.
        """
        known = copy.copy(self)
        known.request_id, known.idempotent = request_id, False
        return known

    @classmethod
    def untrusted(
        cls,
        data: Mapping[str, Any],
        *,
        models: Collection[str],
        folder: str | PathLike[str] | None = None,
        namespace: str | None = None,
    ) -> Self:
        """A request of what a web user sent, such as a decoded JSON body.

        It names no file of this machine, no secret, no kept reference (`file:`); its output stays in the folder; its
        sizes are bounded.

        Args:
            data: `prompt`, `model_name`, `kwargs`, `output_filepath`, `request_id`; anything else is refused.
            models: the models that may be named.
            folder: where the file goes: no name in the request leads outside. None for a name that is made up.
            namespace: separates users, such as their id: the same `request_id` of two users is two jobs.

        Raises:
            RequestError: it is not what a web user may ask for; says what.
        """
        return cls(
            **arguments(data, models=models, folder=None if folder is None else fspath(folder), namespace=namespace)
        )


@dataclass(frozen=True)
class RoutedRequest:
    """A request as it travels: checked, routed, its seed fixed.

    Attributes:
        request_id: the caller's id for it.
        prompt: the text.
        asked_model: the model the caller named.
        model: the first model to try; another one than asked where routing had to switch.
        inputs: the model inputs besides prompt and reference images; JSON values only.
        references: reference images, each an `https:`/`data:` URL or `file:<sha256>.<extension>` in storage.
        output: where the file goes: an absolute path in embedded mode, a key under the storage in a fleet.
        fallback: whether another model may stand in.
        on_outage: where its model is out: `hold` waits for it, `fallback` goes on with the next.
        warnings: what routing changed or dropped, for people.
        max_retries: tries of one model on passing faults; None leaves it to the worker's setting.
        fields: the caller's own data, for the result.
        within: in embedded mode, the folder that no link leads out of; empty where the output may be anywhere.
        max_price_usd: the most that one prediction may cost; None for whatever its model costs.
        extension_is_free: whether the file's extension was made up, and follows what the model makes.
        tags: words it is counted under.
        webhook: called with the result; empty for none.
        webhook_start: called once its first prediction is created; empty for none.
        asked: what an idempotency key stands for, as `identity` tells it; empty without one.
        metadata: the metadata written into its files; None leaves it to the worker's setting.
        step: its number among the steps of its item, from 1.
        after: the step with the output it goes on from; 0 for the first.
        then: the steps still to come after it, in order.
        made: the steps that are made.
        paid: the attempts of those.
    """

    request_id: str
    prompt: str
    asked_model: str
    model: str
    inputs: dict[str, Any]
    references: tuple[str, ...]
    output: str
    fallback: bool = True
    on_outage: OnOutage = "hold"
    warnings: tuple[str, ...] = ()
    max_retries: int | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    max_price_usd: float | None = None
    extension_is_free: bool = False
    tags: tuple[str, ...] = ()
    webhook: str = ""
    webhook_start: str = ""
    asked: str = ""
    within: str = ""
    metadata: str | None = None
    step: int = 1
    after: int = 0
    then: tuple[RoutedRequest, ...] = ()
    made: tuple[StepResult, ...] = ()
    paid: tuple[Attempt, ...] = ()

    @property
    def steps(self) -> int:
        """How many steps its item has."""
        return len(self.made) + 1 + len(self.then)

    @property
    def first_models(self) -> set[str]:
        """The first model of this step, and of each after it."""
        return {self.model, *(each.model for each in self.then)}

    @property
    def item_prompt(self) -> str:
        """The prompt of its item: of the first step."""
        return self.made[0].prompt if self.made else self.prompt

    @property
    def item_model(self) -> str:
        """The model that its item asked for first."""
        return self.made[0].model_name if self.made else self.asked_model

    def following(self, made: StepResult, attempts: Iterable[Attempt]) -> RoutedRequest:
        """The step after this one, which has made `made` in these attempts."""
        following, *rest = self.then
        return replace(
            following,
            on_outage=self.on_outage,
            then=tuple(rest),
            made=(*self.made, made),
            paid=(*self.paid, *(replace(each, step=self.step) for each in attempts)),
        )

    def all_attempts(self, attempts: Iterable[Attempt]) -> tuple[Attempt, ...]:
        """The attempts of its item, with those of this step: each has the number of its step."""
        return (*self.paid, *(replace(each, step=self.step) for each in attempts))

    def unmade(self, state: State, error: str, attempts: tuple[Attempt, ...]) -> BatchResult:
        """Its result where nothing was made, or not all steps of it."""
        attempts = self.all_attempts(attempts)
        return BatchResult(
            request_id=self.request_id,
            prompt=self.item_prompt,
            model_name=self.item_model,
            model_used=None,
            success=False,
            error=error,
            attempts=attempts,
            cost_usd=total_usd(attempts),
            state=state,
            steps=self.made,
            fields=self.fields,
        )

    def to_json(self) -> dict[str, Any]:
        """A dict for JSON, without defaults."""
        data = {
            **vars(self),
            **{name: list(getattr(self, name)) for name in ("references", "warnings", "tags")},
            "then": [each.to_json() for each in self.then],
            "made": [asdict(each) for each in self.made],
            "paid": [asdict(each) for each in self.paid],
        }
        if self.step == 1:
            del data["step"], data["after"]
        return {
            key: value
            for key, value in data.items()
            if value not in ([], {}, None) and (key, value) not in (("fallback", True), ("on_outage", "hold"))
            if value or key not in ("extension_is_free", "within", "webhook", "webhook_start", "asked")
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The opposite of `to_json`."""
        values = {"inputs": {}, **data}
        values["references"] = tuple(data.get("references", ()))
        values["warnings"] = tuple(data.get("warnings", ()))
        values["tags"] = tuple(data.get("tags", ()))
        values["then"] = tuple(cls.from_json(each) for each in data.get("then", ()))
        values["made"] = tuple(StepResult.from_json(each) for each in data.get("made", ()))
        values["paid"] = tuple(Attempt(**known_fields(Attempt, each)) for each in data.get("paid", ()))
        return cls(**values)
