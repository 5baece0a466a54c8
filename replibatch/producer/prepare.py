"""From what a caller asks to what travels: checked, routed, files carried, the output's name decided."""

from __future__ import annotations

from pathlib import Path

from replibatch import contents
from replibatch.catalog import Catalog
from replibatch.jobs.identity import identity
from replibatch.producer.files import REMEMBERED, Files, version_of
from replibatch.requests import BatchRequest, RoutedRequest
from replibatch.routing import Routed, route
from replibatch.routing.references import is_local
from replibatch.storage.names import made_up_name


class Preparer:
    """Prepares the requests of one process.

    Args:
        catalog: the models.
        files: the process's.
    """

    def __init__(self, catalog: Catalog, files: Files) -> None:
        self._catalog = catalog
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
        max_retries: int | None = None,
        folder: str = "",
    ) -> RoutedRequest:
        """Check and route one request.

        Args:
            request: what was asked.
            generation_id: its id.
            index: its place in its batch.
            routed: the same, where it was routed and its files were looked at before.
            fallback: whether another model may stand in.
            max_retries: tries of one model on passing faults; None leaves it to the workers' setting.
            folder: where a file with no name of its own goes.

        Raises:
            RequestError: it cannot be done as asked; nothing was spent.
        """
        routed = routed or self.check(request)
        if places := routed.places:
            routed = routed.with_files({place: self._files.carried(place) for place in places})
        name = request.output_filepath
        if name is None:
            extension = routed.model.extension(routed.inputs)
            name = made_up_name(index, request.prompt or "", generation_id, extension)
            name = str(Path(folder) / name) if folder else name
        return RoutedRequest(
            request_id=str(request.request_id),
            prompt=request.prompt or "",
            asked_model=request.model_name,
            model=routed.model.name,
            inputs=routed.inputs,
            references=tuple(routed.references),
            output=self._files.key(name, generation_id),
            fallback=fallback,
            warnings=tuple(routed.warnings),
            max_retries=max_retries if request.max_retries is None else request.max_retries,
            fields=request.fields or {},
            tags=tuple(request.tags),
            webhook=request.webhook or "",
            asked=identity(request) if request.idempotent else "",
            max_price_usd=request.max_price_usd,
            extension_is_free=routed.extension_is_free or request.output_filepath is None,
        )

    def check(self, request: BatchRequest) -> Routed:
        """Route one request and look at its files; each file is looked at once, unless it has changed.

        Raises:
            RequestError: it cannot be done as asked.
        """
        routed = route(request, self._catalog)
        versions = {version_of(place) for place in routed.places if is_local(place) or place.startswith("data:")}
        if not versions <= self._checked:
            routed.check_files()
            if len(self._checked) > REMEMBERED:
                self._checked.clear()
            self._checked |= versions
        return routed
