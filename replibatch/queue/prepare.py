"""From what a caller asks to what travels: checked, routed, files carried, the output's name decided."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from replibatch.catalog import Catalog
from replibatch.errors import OutputPathError
from replibatch.member import storage_for
from replibatch.outputs.naming import made_up_name, safe_key
from replibatch.requests import BatchRequest, BatchResult, OutputFile, RoutedRequest
from replibatch.routing import Routed, route
from replibatch.settings import Settings


class Preparer:
    """Prepares the requests of one process.

    Args:
        settings: where outputs land.
        catalog: the models.
        embedded: whether relative names are relative to this process's working directory.
    """

    def __init__(self, settings: Settings, catalog: Catalog, *, embedded: bool) -> None:
        self._catalog = catalog
        self._absolute = embedded and settings.storage_url is None
        self._storage = storage_for(settings, embedded=embedded)
        self._elsewhere: dict[
            str, Path
        ] = {}  # generation -> the folder outside the storage its files were asked for in
        self._checked: set[Version | None] = set()
        self._stored_as: dict[Version | None, str] = {}
        self._lock = threading.Lock()

    def __call__(
        self, request: BatchRequest, generation_id: str, index: int, *, fallback: bool = True, folder: str = ""
    ) -> RoutedRequest:
        """Check and route one request.

        Args:
            request: what was asked.
            generation_id: its id.
            index: its place in its batch.
            fallback: whether another model may stand in.
            folder: where a file with no name of its own goes.

        Raises:
            RequestError: it cannot be done as asked; nothing was spent.
        """
        routed = self.check(request)
        routed = routed.with_files({place: self._stored(place) for place in routed.files})
        name = request.output_filepath
        if name is None:
            extension = routed.model.extension(routed.inputs)
            name = str(Path(folder) / made_up_name(index, request.prompt, generation_id, extension))
        return RoutedRequest(
            request_id=str(request.request_id),
            prompt=request.prompt,
            asked_model=request.model_name,
            model=routed.model.name,
            inputs=routed.inputs,
            references=tuple(routed.references),
            output=self._key(name, generation_id),
            fallback=fallback,
            warnings=tuple(routed.warnings),
        )

    def check(self, request: BatchRequest) -> Routed:
        """Route one request and look at its files; each file is looked at once, unless it has changed.

        Raises:
            RequestError: it cannot be done as asked.
        """
        routed = route(request, self._catalog)
        if any(_version(place) not in self._checked for place in routed.files):
            routed.check_files()
            self._checked.update(_version(place) for place in routed.files)
        return routed

    def destination(self, key: str) -> Path:
        """Where on this machine a file is in the end."""
        folder, _, name = key.partition("/")
        asked = self._elsewhere.get(folder)
        return asked / name if asked else Path(key).absolute()

    def at_home(self, result: BatchResult, place_in: Callable[[str], Path] | None = None) -> BatchResult:
        """The result with its files on this machine, fetched from the storage where that is another place.

        Args:
            result: with its files as keys of the storage, or as absolute paths.
            place_in: where a file goes, by its key; None for the place it was asked for at.
        """
        if not result.files or (self._absolute and place_in is None):
            return result
        place_in = place_in or self.destination
        return replace(result, files=tuple(self._fetch(file, place_in(file.path)) for file in result.files))

    def _fetch(self, file: OutputFile, path: Path) -> OutputFile:
        self._storage.fetch(file.path, path)
        return replace(file, path=str(path))

    def _key(self, name: str, generation_id: str) -> str:
        path = Path(name)
        if self._absolute:
            _check_place(path.absolute())
            return str(path.absolute())
        if not path.is_absolute():
            return safe_key(name)
        _check_place(path)
        self._elsewhere[generation_id] = path.parent
        return f"{generation_id}/{path.name}"

    def _stored(self, place: str) -> str:
        """A local file as content in the storage, named by its hash; each is stored once a process."""
        version = _version(place)
        with self._lock:
            if version not in self._stored_as:
                self._stored_as[version] = self._storage.store_input(Path(place))
            return self._stored_as[version]


def _check_place(path: Path) -> None:
    """Look whether a file can be there, before it is paid for."""
    if path.is_dir():
        raise OutputPathError(f"the output {str(path)!r} is a folder; allowed: a file's path")
    nearest = next(parent for parent in path.parents if parent.exists())
    if not nearest.is_dir():
        raise OutputPathError(
            f"the output {str(path)!r}: {str(nearest)!r} is a file; allowed: a path through folders"
        )


Version = tuple[str, int, int]


def _version(place: str) -> Version | None:
    """What tells a file from a later one of the same name; None where there is none."""
    try:
        found = Path(place).stat()
    except OSError:
        return None
    return place, found.st_mtime_ns, found.st_size
