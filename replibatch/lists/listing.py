"""A list of prompts, from its files to its items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from replibatch.catalog import Catalog
from replibatch.errors import RequestError
from replibatch.lists.columns import Cells, Columns, Wanted
from replibatch.lists.inputs import Inputs
from replibatch.lists.items import Asked, Item, Maker
from replibatch.lists.lines import Line, Mistake, Unreadable
from replibatch.lists.read import ListFile, ReadOptions
from replibatch.lists.source import check_encoding, sources
from replibatch.lists.sweep import pairs_of, values_of
from replibatch.lists.understanding import Understood
from replibatch.lists.words import OWN
from replibatch.routing.near import plain

MOST_COLUMNS = 1000  # different keys of all lines together
MOST_MODELS = 1000


@dataclass(frozen=True)
class Options:
    """The options of a list, as they were typed.

    Attributes:
        read: how it is read.
        asked: which items it makes; its `inputs` and `vary` come from `given` and `varied`.
        given: `-i KEY=VALUE`.
        varied: `--vary KEY=…`.
        mapped: `--map NAME=COLUMN`.
        ignored: `--ignore COLUMN`.
        strict: `--strict`.
    """

    read: ReadOptions = field(default_factory=ReadOptions)
    asked: Asked = field(default_factory=Asked)
    given: Sequence[str] = ()
    varied: Sequence[str] = ()
    mapped: Sequence[str] = ()
    ignored: Sequence[str] = ()
    strict: bool = False


@contextmanager
def opened(files: Sequence[str], options: Options, catalog: Catalog) -> Iterator[Listing]:
    """A list, readable more than once as long as the `with` block lasts.

    Args:
        files: paths, folders too; `-` is standard input.
        options: how it is read, and which items it makes.
        catalog: the models.

    Raises:
        RequestError: a file is not there, or an option is malformed.
    """
    check_encoding(options.read.encoding)
    for model in options.asked.models:
        catalog.get(model)
    with sources(files) as found, ExitStack() as stack:
        readable: list[ListFile] = []
        failed: list[Mistake] = []
        for source in found:
            try:
                file = ListFile(source, options.read)
            except Unreadable as error:
                failed.append(Mistake(source.name, error.number, str(error)))
            else:
                stack.callback(file.close)
                readable.append(file)
        yield Listing(readable, failed, options, catalog)


class Listing:
    """A list that was opened. Take it from `opened`.

    Attributes:
        understood: what each file was taken for; how many lines it has is known after a pass.
    """

    def __init__(self, files: list[ListFile], failed: list[Mistake], options: Options, catalog: Catalog) -> None:
        self._files = files
        self._failed = failed
        self._catalog = catalog
        mapped = _mapped(options)
        scans = [_scan(file, mapped.get("model"), options.ignored) for file in files]
        models = [*options.asked.models, *sorted(set().union(*(scan.models for scan in scans)))]
        known = {name: catalog.models[name] for name in models if name in catalog.models}
        self._inputs = Inputs(known.values(), catalog)
        mapped = {
            target if target in OWN else self._named("--map", target, f"{target}={column}"): column
            for target, column in mapped.items()
        }
        self._asked = self._with_inputs(options)
        if options.read.image_input:
            self._inputs.option("--image-input", options.read.image_input, given=options.read.image_input)
        self.understood: list[Understood] = []
        for file, scan in zip(files, scans, strict=True):
            columns, notes = None, [file.note]
            if file.has_columns:
                wanted = _wanted(options, mapped, scan.names, alone=len(files) == 1)
                columns = Columns(scan.names, wanted, self._inputs, file.source.folder, file.beside)
                notes += columns.notes
            self.understood.append(
                Understood(
                    file.source.name,
                    file.written,
                    file.encoding,
                    columns,
                    forms=file.forms,
                    note="; ".join(note for note in notes if note) or None,
                )
            )

    def items(self, salt: str, place: Callable[[str], str]) -> Iterator[Item | Mistake]:
        """The items in order, as a stream, and the mistakes among them.

        Args:
            salt: tells the items of one output folder from those of another.
            place: what a request asks for so that its file ends up under a name.
        """
        yield from self._failed
        maker = Maker(self._asked, self._catalog, salt, place)
        try:
            for file, understood in zip(self._files, self.understood, strict=True):
                understood.lines = 0
                for each in _understood_lines(file, understood.columns):
                    if isinstance(each, Mistake):
                        yield each
                    else:
                        understood.lines += 1
                        yield from maker.items(*each, file.source.folder)
        finally:
            maker.close()

    def _with_inputs(self, options: Options) -> Asked:
        inputs: dict[str, Any] = {}
        for key, value, text in pairs_of("-i", options.given, "key=value, as in -i aspect_ratio=16:9"):
            name = self._named("-i", key, text)
            if name in inputs:
                earlier = inputs[name]
                inputs[name] = [*(earlier if isinstance(earlier, list) else [earlier]), value]
            else:
                inputs[name] = value
        vary: dict[str, list[Any]] = {}
        for key, value, text in pairs_of("--vary", options.varied, "KEY=a,b or KEY=1..4"):
            if plain(key) == "model":
                raise RequestError(f"--vary {text!r}; expected: -m for each model")
            name = self._named("--vary", key, text)
            if name in inputs or name in vary:
                raise RequestError(f"--vary {text!r}: {name!r} is given already; expected: once")
            vary[name] = values_of(value, text)
        return replace(options.asked, inputs=inputs, vary=vary)

    def _named(self, option: str, key: str, text: str) -> str:
        return self._inputs.option(option, key, given=text)


@dataclass
class _Scan:
    """The columns of a file, and the models that its lines name."""

    names: list[str]
    models: set[str]


def _scan(file: ListFile, model_column: str | None, ignored: Iterable[str]) -> _Scan:
    """Read a file once for its columns: what one means depends on the models of all lines."""
    names: dict[str, None] = {}
    models: set[str] = set()
    if file.has_columns:
        skipped = {plain(name) for name in ignored}
        column = plain(model_column or "model")
        for each in file.lines():
            if not isinstance(each, Line):
                continue
            for name, value in each.fields.items():
                if name not in names and len(names) < MOST_COLUMNS:
                    names[name] = None
                if isinstance(value, str) and plain(name) == column and column not in skipped:
                    models.add(value) if len(models) < MOST_MODELS else None
    file.settle()
    return _Scan(list(names), models)


def _understood_lines(file: ListFile, columns: Columns | None) -> Iterator[Mistake | tuple[Line, Cells]]:
    if columns is not None and columns.mistakes:
        unread = [] if columns.roles else [each for each in file.lines() if isinstance(each, Mistake)]
        yield from unread or (Mistake(file.source.name, 0, mistake) for mistake in columns.mistakes)
        return
    for line in file.lines():
        if isinstance(line, Mistake):
            yield line
        elif columns is None:
            yield line, Cells(prompt=line.fields["prompt"])
        else:
            try:
                cells = columns.cells(line)
            except RequestError as error:
                yield Mistake(line.file, line.number, str(error))
            else:
                yield line, cells


def _mapped(options: Options) -> dict[str, str]:
    """`--map`, by own word or input."""
    mapped: dict[str, str] = {}
    for target, column, text in pairs_of("--map", options.mapped, "NAME=COLUMN, as in --map prompt=description"):
        if not column.strip():
            raise RequestError(f"--map {text!r}; expected: NAME=COLUMN")
        name = plain(target) if plain(target) in OWN else target
        if name in mapped:
            raise RequestError(f"--map {text!r}: {name!r} is mapped already; expected: once")
        mapped[name] = column.strip()
    return mapped


def _wanted(options: Options, mapped: dict[str, str], names: Iterable[str], *, alone: bool) -> Wanted:
    """The options that name columns of this file: of several files, each needs to have only some."""
    there = {plain(name) for name in names}

    def has(column: str) -> bool:
        return alone or plain(column) in there or plain(column.partition(".")[0]) in there

    return Wanted(
        {target: column for target, column in mapped.items() if has(column)},
        tuple(column for column in options.ignored if has(column)),
        options.strict,
        options.asked.prompts.placeholders,
    )
