"""From a list to its items: each well-formed, routed, and with a key of its own."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from replibatch.catalog import Catalog
from replibatch.errors import RequestError, UnsupportedModel
from replibatch.lists.columns import Cells
from replibatch.lists.disk_map import DiskMap
from replibatch.lists.lines import Line, Mistake
from replibatch.lists.naming import (
    Naming,
    as_disks_see,
    default_name,
    file_names,
    fit,
    fixed_extension,
    named_by,
    with_axes,
)
from replibatch.lists.prompts import Prompts
from replibatch.lists.recipe import with_steps
from replibatch.lists.shapes import Shape, Shapes
from replibatch.lists.sweep import Combination, combinations
from replibatch.requests import BatchRequest
from replibatch.routing import Routed
from replibatch.routing.steps import RoutedStep
from replibatch.steps import StepRequest

KEY_BYTES = 16
_LEAVES = re.compile(r"[/\\]|[A-Za-z]:[/\\]|(.*[/\\])?\.\.([/\\].*)?$")


@dataclass(frozen=True, slots=True)
class Item:
    """One item to be made.

    Attributes:
        index: its place among the items, from 0.
        key: by which another run into the same folder knows it again.
        request: with the name of its file decided.
        routed: with the model that will take it.
        name: of its file, in the output folder.
        steps: those after the first, with the models that will take them.
        file: the list it is of, for people.
        number: of its line.
    """

    index: int
    key: bytes
    request: BatchRequest
    routed: Routed
    name: str
    file: str
    number: int
    steps: tuple[RoutedStep, ...] = ()

    @property
    def id(self) -> str:
        """The generation's: the same key is the same job."""
        return f"r{self.key.hex()}"

    @property
    def file_names(self) -> list[str]:
        """The names that its files may get in the output folder."""
        return file_names(self.name, self.steps[-1].routed if self.steps else self.routed)

    @staticmethod
    def key_of(generation_id: str) -> bytes:
        """The key of the item that a generation is of."""
        return bytes.fromhex(generation_id[1:])


@dataclass(frozen=True)
class Asked:
    """The items that the options ask for.

    Attributes:
        models: `-m`; for lines that name none.
        inputs: `-i`, by the names of inputs; paths relative to the working directory.
        vary: `--vary`: the values by input.
        samples: `--samples`.
        name: `--name`.
        prompts: how prompts are made.
        recipe: `--recipe`: the steps after the first, for lines without any of their own.
        recipe_folder: where relative paths of those start.
        fallback: whether another model may stand in.
    """

    models: Sequence[str] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    vary: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    samples: int = 1
    name: str | None = None
    prompts: Prompts = field(default_factory=Prompts)
    recipe: Sequence[Mapping[str, Any]] = ()
    recipe_folder: Path = field(default_factory=Path)
    fallback: bool = True


class Maker:
    """Makes items of lines, in one pass over a list.

    Args:
        asked: of the list.
        catalog: the models.
        salt: tells the items of one output folder from those of another.
        place: what a request asks for so that its file ends up under a name; raises where no file can be.
    """

    def __init__(self, asked: Asked, catalog: Catalog, salt: str, place: Callable[[str], str]) -> None:
        self._asked = asked
        self._shapes = Shapes(catalog, fallback=asked.fallback)
        self._defaults = self._shapes.located(asked.inputs, Path.cwd())
        self._vary = {
            name: [self._shapes.located({name: value}, Path.cwd())[name] for value in values]
            for name, values in asked.vary.items()
        }
        self._salt = salt.encode()
        self._place = place
        self._indexes = itertools.count()
        self._seen = DiskMap()
        self._names = DiskMap()
        self._lines = DiskMap()

    def close(self) -> None:
        """Leave nothing behind."""
        for each in (self._seen, self._names, self._lines):
            each.close()

    def items(self, line: Line, cells: Cells, folder: Path) -> Iterator[Item | Mistake]:
        """The items of a line: every combination of its prompts, models and varied inputs, and the samples of each.

        Args:
            line: where it is.
            cells: it, understood.
            folder: where relative paths of the list start.
        """
        try:
            prompts = self._asked.prompts.of(cells.prompt, line.fields, folder)
            models = [cells.model] if cells.model else self._asked.models
            if not models:
                raise RequestError("no model; expected: -m, or a column 'model'")
            self._check_line(cells, line)
            if "\0" in "".join(prompts):
                raise RequestError("the prompt has a NUL character; expected: text")
            given = {**self._defaults, **self._shapes.located(cells.inputs, folder)}
        except RequestError as error:
            yield Mistake(line.file, line.number, str(error))
            return
        for variant, prompt in enumerate(prompts, 1):
            for each in combinations(models, self._vary, self._asked.samples):
                try:
                    yield self._item(line, cells, prompt, variant if len(prompts) > 1 else 0, each, given, folder)
                except UnsupportedModel as error:
                    hint = "; for -m in its place: --ignore model" if cells.model else ""
                    yield Mistake(line.file, line.number, f"{error}{hint}")
                except RequestError as error:
                    reason = _in_list_words(str(error))
                    if line.name is None and cells.prompt is None and "prompt is missing" in reason:
                        reason = f"{reason}; expected: write one, or delete the row"
                    if line.name is not None:  # of a folder, where a number tells nothing
                        reason = f"{line.name!r}: {reason}"
                        if cells.prompt is None and "prompt is missing" in reason:
                            reason += f"; expected: {f'{line.name}.txt'!r} with it, or --prompt-template"
                    yield Mistake(line.file, line.number, reason)

    def _check_line(self, cells: Cells, line: Line) -> None:
        if cells.model and len(self._asked.models) > 1:
            raise RequestError(
                f"the line names its model, and -m is given {len(self._asked.models)} times; "
                "expected: only one, as with --ignore model"
            )
        if both := [name for name in self._vary if name in cells.inputs]:
            raise RequestError(f"{both[0]!r} is a column of the list and of --vary; expected: only one")
        if cells.id is not None:
            self._check_first("id", cells.id, self._lines, line)
        if cells.output is not None:
            _check_output(cells.output)

    def _item(
        self,
        line: Line,
        cells: Cells,
        prompt: str,
        variant: int,
        each: Combination,
        given: Mapping[str, Any],
        folder: Path,
    ) -> Item:
        inputs = {**given, **each.varied} if each.varied else given
        extension = self._extension(cells)
        asked = self._with_steps(BatchRequest(prompt, each.model, kwargs=dict(inputs)), cells, folder)
        own_extension = "" if asked.steps else extension  # the file's name is that of the last step
        shape = self._shapes.of(each.model, inputs, own_extension, has_prompt=bool(prompt))
        steps = self._shapes.steps_of(asked, shape, extension)
        if each.sample == 2 and not shape.seed_is_ours and shape.routed.model.seed_param:
            raise RequestError("--samples with a fixed seed makes the same picture again; expected: --vary seed=1..4")
        same = self._identity(shape, prompt, cells.id, each.sample, asked.steps)
        key = hashlib.sha256(self._salt + same).digest()[:KEY_BYTES]
        index = next(self._indexes)
        axes = self._axes(each, variant)
        last = steps[-1].routed if steps else shape.routed
        made_extension = last.model.extension(last.inputs) if steps else shape.extension
        naming = Naming(index, prompt, same.hex(), made_extension, _short(each.model), cells.id, each.sample, axes)
        name = self._given_name(line, cells, naming, inputs)
        if name is None:
            name = default_name(naming)  # which has a part of the key
        else:
            for file_name in file_names(name, last):
                self._check_first("output", as_disks_see(file_name), self._names, line)
        is_free = not extension and (cells.output is None or self._asked.name is not None)
        request_id = "-".join([cells.id, *axes]) if cells.id else f"r{key.hex()}"
        request = BatchRequest(
            prompt, each.model, self._place(name), dict(inputs), fields=cells.carried or None
        ).known_as(request_id)
        request.steps = asked.steps
        routed = shape.for_item(extension_is_free=is_free)
        return Item(index, key, request, routed, name, line.file, line.number, tuple(steps))

    def _with_steps(self, request: BatchRequest, cells: Cells, folder: Path) -> BatchRequest:
        if cells.then and self._asked.recipe:
            raise RequestError("the line has steps of its own (then), and --recipe is given; expected: only one")
        if cells.then:
            return with_steps(request, cells.then, folder)
        return with_steps(request, self._asked.recipe, self._asked.recipe_folder)

    def _identity(
        self, shape: Shape, prompt: str, own_id: str | None, sample: int, steps: Sequence[StepRequest]
    ) -> bytes:
        """A hash of everything sent, the id and the sample number; equal items are counted apart."""
        parts = b"\0".join((shape.digest, (own_id or "").encode(), b"%d" % sample, prompt.encode()))
        if steps:
            parts += b"\0" + json.dumps([asdict(step) for step in steps], sort_keys=True, default=str).encode()
        same = hashlib.sha256(parts).digest()[:KEY_BYTES]
        count = self._seen.count(same)
        return same if count == 1 else hashlib.sha256(same + count.to_bytes(8, "big")).digest()[:KEY_BYTES]

    def _extension(self, cells: Cells) -> str:
        """The extension of the file's name, as far as it is fixed before the item is routed."""
        if self._asked.name is not None:
            return fixed_extension(self._asked.name)
        return PurePosixPath(cells.output).suffix.removeprefix(".") if cells.output else ""

    def _axes(self, each: Combination, variant: int) -> tuple[str, ...]:
        if not (variant or each.varied or self._asked.samples > 1 or len(self._asked.models) > 1):
            return ()
        axes = [fit(_short(each.model))] if len(self._asked.models) > 1 else []
        axes += [f"{fit(name)}-{fit(str(value))}" for name, value in each.varied.items()]
        axes += [f"v{variant}"] if variant else []
        axes += [str(each.sample)] if self._asked.samples > 1 else []
        return tuple(axes)

    def _given_name(self, line: Line, cells: Cells, naming: Naming, inputs: Mapping[str, Any]) -> str | None:
        """The name that the list or an option gives; None for none."""
        if self._asked.name is not None:
            values = {**line.fields, **cells.carried, **inputs}
            return named_by(self._asked.name, replace(naming, values=values))
        if cells.output is not None:
            return with_axes(cells.output, naming.axes)
        if line.name is not None:
            return with_axes(f"{fit(line.name)}.{naming.extension}", naming.axes)
        return None

    def _check_first(self, what: str, value: str, seen: DiskMap, line: Line) -> None:
        """Refuse an id or a name that an earlier line has."""
        key = hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()[:KEY_BYTES]
        if (earlier := seen.get(key)) is not None:
            hint = "; expected: each once"
            if what == "output" and self._asked.name:
                hint = "; expected: a --name that tells items apart"
            elif what == "id":
                hint += ", or --ignore for the column that has it"
            raise RequestError(f"{what} {value!r} is that of line {earlier} already{hint}")
        seen[key] = line.number


def _short(model: str) -> str:
    return model.rpartition("/")[2]


def _check_output(output: str) -> None:
    """Refuse a name that leaves the output folder, on any platform, or that is no file's."""
    if _LEAVES.match(output) or "\0" in output:
        raise RequestError(f"output is {output!r}; expected: a name within the output folder")
    if re.split(r"[/\\]", output)[-1] in ("", "."):
        raise RequestError(f"output is {output!r}; expected: a file's name, not a folder's")


def _in_list_words(reason: str) -> str:
    return reason.replace("model_name is", "model is").replace("request_id is", "id is")
