"""A request with the model that takes it, and the files that go along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from replibatch.catalog import Model
from replibatch.routing.files import takes_files
from replibatch.routing.references import check_file, check_image, is_address, is_local

PICTURE_WORDS = ("image", "mask", "frame")  # a file input named so takes pictures


@dataclass(frozen=True)
class Routed:
    """A request with the model that takes it.

    Attributes:
        model: the first to try.
        inputs: what it is given besides prompt and reference images; checked.
        references: the reference images: absolute paths, URLs and data URIs.
        warnings: the changes and omissions, for people.
        omitted: the warnings that name an input the model does not have.
        extension_is_free: whether the extension of the request's output was made up.
    """

    model: Model
    inputs: dict[str, Any]
    references: list[str]
    warnings: list[str]
    omitted: tuple[str, ...] = ()
    extension_is_free: bool = False

    @property
    def places(self) -> list[str]:
        """Where its files are, each once: reference images, and those in the model's other file inputs."""
        others = (place for name in self._file_inputs() for place in as_list(self.inputs[name]))
        return list(dict.fromkeys([*self.references, *others]))

    @property
    def files(self) -> list[str]:
        """Those of its files that are on this machine."""
        return [place for place in self.places if is_local(place)]

    def check_files(self) -> None:
        """Check every file that is here, on the disk or in a data URI.

        Raises:
            ReferenceImageError: one is missing, empty, too large, or no image where an image is wanted.
        """
        for place in self.references:
            check_image(place)
        for name in self._file_inputs():
            check = check_image if any(word in name for word in PICTURE_WORDS) else check_file
            for place in as_list(self.inputs[name]):
                check(place)

    def with_files(self, stored: Mapping[str, str]) -> Routed:
        """The same with files replaced by what they are stored as (`file:<sha256>.<extension>`)."""

        def moved(value: Any) -> Any:
            return [stored.get(each, each) for each in value] if isinstance(value, list) else stored.get(value, value)

        inputs = {**self.inputs, **{name: moved(self.inputs[name]) for name in self._file_inputs()}}
        return replace(self, inputs=inputs, references=moved(self.references))

    def _file_inputs(self) -> list[str]:
        return [name for name in self.inputs if self._takes_files(name)]

    def _takes_files(self, name: str) -> bool:
        spec = self.model.inputs.get(name)
        if spec is None and self.model.inputs_known:
            return False
        places = as_list(self.inputs[name])
        return takes_files(name, spec) and bool(places) and all(_is_place(place) for place in places)


def as_list(value: Any) -> list[str]:
    """The files of an input that takes one, or several."""
    return value if isinstance(value, list) else [value]


def _is_place(value: Any) -> bool:
    """Whether routing has made this of a file: any other value of such an input stays as it is."""
    return isinstance(value, str) and (is_address(value) or is_local(value))
