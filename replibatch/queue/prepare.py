"""From what a caller asks to what travels: checked, routed, files carried, the output's name decided."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from replibatch.catalog import Catalog
from replibatch.outputs.naming import made_up_name, safe_key
from replibatch.outputs.storage import Storage, open_storage
from replibatch.requests import BatchRequest, BatchResult, OutputFile, RoutedRequest
from replibatch.routing import check_local_image, is_local, route
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
        inputs_root = settings.state_dir / "inputs" if embedded else None
        self._storage: Storage = open_storage(settings.storage_url, Path.cwd(), inputs_root=inputs_root)
        self._elsewhere: dict[str, Path] = {}  # key -> the absolute path its file was asked for at
        self._carried: dict[str, str] = {}
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
        routed = route(request, self._catalog)
        name = request.output_filepath
        if name is None:
            name = str(Path(folder) / made_up_name(index, request.prompt, generation_id, routed.extension))
        return RoutedRequest(
            request_id=str(request.request_id),
            prompt=request.prompt,
            asked_model=request.model_name,
            model=routed.model.name,
            inputs={
                key: self._carry(value) if key in routed.file_inputs else value
                for key, value in routed.inputs.items()
            },
            references=tuple(self._carry(reference) for reference in routed.references),
            output=self._key(name, generation_id),
            fallback=fallback,
            warnings=tuple(routed.warnings),
        )

    def destination(self, key: str) -> Path:
        """Where on this machine a file is in the end."""
        return self._elsewhere.get(key) or Path(key).absolute()

    def at_home(self, result: BatchResult) -> BatchResult:
        """The result with its files on this machine, fetched from the storage where that is another place."""
        if self._absolute or not result.files:
            return result
        return replace(result, files=tuple(self._fetch(file) for file in result.files))

    def _fetch(self, file: OutputFile) -> OutputFile:
        path = self.destination(file.path)
        self._storage.fetch(file.path, path)
        return replace(file, path=str(path))

    def _key(self, name: str, generation_id: str) -> str:
        if self._absolute:
            return str(Path(name).absolute())
        if not Path(name).is_absolute():
            return safe_key(name)
        key = f"{generation_id}{Path(name).suffix}"
        self._elsewhere[key] = Path(name)
        return key

    def _carry(self, value: Any) -> Any:
        """A local image becomes content in the storage, named by its hash; a URL stays."""
        if isinstance(value, list):
            return [self._carry(item) for item in value]
        if not is_local(value):
            return value
        with self._lock:
            if value not in self._carried:
                check_local_image(value)
                self._carried[value] = self._storage.store_input(Path(value))
            return self._carried[value]
