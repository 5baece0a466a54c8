"""From what a caller asks to what travels: checked, routed, files carried, the output's name decided."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from replibatch import contents
from replibatch.catalog import Catalog
from replibatch.errors import ReferenceImageError
from replibatch.jobs.identity import identity
from replibatch.producer.caller import Caller
from replibatch.producer.files import REMEMBERED, Files, version_of
from replibatch.producer.local_files import ADDRESSES, refuse_local_files
from replibatch.request_checks import texts_in
from replibatch.requests import BatchRequest, OnOutage, RoutedRequest
from replibatch.routing import Routed, route
from replibatch.routing.references import KEPT, is_local
from replibatch.routing.steps import first_request, output_name, route_steps
from replibatch.storage.names import made_up_name


class Preparer:
    """Prepares the requests of one process.

    Args:
        catalog: the models.
        files: the process's.
        local_files: whether requests may name files of this machine.
        metadata: what workers write into the files; None leaves it to their own setting.
    """

    def __init__(
        self, catalog: Catalog, files: Files, metadata: str | None = None, *, local_files: bool = True
    ) -> None:
        self.metadata = metadata
        self._catalog = catalog
        self._local_files = local_files
        self._files = files
        self._checked: set[contents.Version | None] = set()

    def __call__(
        self,
        request: BatchRequest,
        generation_id: str,
        index: int,
        *,
        routed: Routed | None = None,
        fallback: bool = True,
        on_outage: OnOutage = "hold",
        max_retries: int | None = None,
        folder: str = "",
        caller: Caller | None = None,
    ) -> RoutedRequest:
        """Check and route one request.

        Args:
            request: what was asked.
            generation_id: its id.
            index: its place in its batch.
            routed: the same, where it was routed and its files were looked at before.
            fallback: whether another model may stand in.
            on_outage: `fallback`: one stands in as long as a model is out; `hold`: the item waits.
            max_retries: tries of one model on passing faults; None leaves it to the workers' setting.
            folder: where a file with no name of its own goes.
            caller: warned of inputs that are left out.

        Raises:
            RequestError: it cannot be done as asked; nothing was spent.
        """
        _refuse_references(request)
        routed = routed or self.check(request, fallback=fallback, caller=caller)
        following = route_steps(request, routed.model, self._catalog, fallback=fallback)
        name = request.output_filepath
        if name is None:
            last = following[-1].routed if following else routed
            name = made_up_name(index, request.prompt, generation_id, last.model.extension(last.inputs))
            name = str(Path(request.within or folder) / name) if request.within or folder else name
        is_free = routed.extension_is_free or request.output_filepath is None

        def step(number: int, asked: BatchRequest, routed: Routed, *, fallback: bool) -> RoutedRequest:
            if places := routed.places:
                routed = routed.with_files({place: self._files.carried(place) for place in places})
            own_name = output_name(name, number, request, routed)
            return RoutedRequest(
                request_id=str(request.request_id),
                prompt=asked.prompt,
                asked_model=asked.model_name,
                model=routed.model.name,
                inputs=routed.inputs,
                references=tuple(routed.references),
                output=self._files.key(own_name, generation_id, within=request.within),
                fallback=fallback,
                warnings=tuple(routed.warnings),
                max_retries=max_retries if request.max_retries is None else request.max_retries,
                fields=request.fields or {},
                tags=tuple(request.tags),
                webhook=request.webhook or "",
                asked=identity(request) if request.idempotent else "",
                max_price_usd=asked.max_price_usd,
                extension_is_free=routed.extension_is_free or is_free or own_name != name,
                within=self._files.within(request.within),
                metadata=self.metadata,
                step=number,
                after=request.steps[number - 2].after if number > 1 else 0,
            )

        then = tuple(step(each.number, each.request, each.routed, fallback=each.fallback) for each in following)
        return replace(step(1, request, routed, fallback=fallback), then=then, on_outage=on_outage)

    def check(self, request: BatchRequest, *, fallback: bool = True, caller: Caller | None = None) -> Routed:
        """Route one request and look at its files; each file is looked at once, unless it has changed.

        Raises:
            RequestError: it cannot be done as asked.
        """
        first = first_request(request)
        routed = route(self._allowed(first), self._catalog, fallback=fallback)
        following = route_steps(request, routed.model, self._catalog, fallback=fallback)
        if caller is not None:
            caller.warn(
                [
                    *routed.omitted,
                    *(f"step {each.number}: {said}" for each in following for said in each.routed.omitted),
                ]
            )
        for each in following:
            self._look_at(self._allowed(each.request), each.routed)
        self._look_at(first, routed)
        return routed

    def _allowed(self, request: BatchRequest) -> BatchRequest:
        """The request, where it may name the files that it names."""
        _refuse_references(request)
        if not (request.local_files and self._local_files):
            refuse_local_files(request, self._catalog)
        return request

    def _look_at(self, request: BatchRequest, routed: Routed) -> None:
        if routed.files and not (request.local_files and self._local_files):
            raise ReferenceImageError(f"an input names a file of this machine; expected: {ADDRESSES}")
        versions = {version_of(place) for place in routed.places if is_local(place) or place.startswith("data:")}
        if not versions <= self._checked:
            routed.check_files()
            if len(self._checked) > REMEMBERED:
                self._checked.clear()
            self._checked |= versions


def _refuse_references(request: BatchRequest) -> None:
    """What replibatch makes of a file is its own to make: as a text, it would be another caller's file.

    Raises:
        ReferenceImageError: an input is one.
    """
    for name, value in (("prompt", request.prompt), *(request.kwargs or {}).items()):
        if any(isinstance(text, str) and KEPT.fullmatch(text.strip()) for text in texts_in(value)):
            raise ReferenceImageError(f"{name} is a reference to a kept file; allowed: a path, {ADDRESSES}")
