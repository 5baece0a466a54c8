"""A folder as a list: a text a prompt, or a picture an item, with the text of the same name."""

from __future__ import annotations

import os
from pathlib import Path

from replibatch.file_formats import STILLS, extension_of
from replibatch.lists.lines import Line, Mistake, Read, Unreadable
from replibatch.lists.sniff import EXTENSIONS

LARGEST_TEXT_BYTES = 1 << 20
HIDDEN = "."


def folder_lines(folder: Path, file: str, *, image_input: str | None, encoding: str | None) -> Read:
    """The texts of a folder, or its pictures, in the order of their names. Subfolders are left out.

    Args:
        folder: where they are.
        file: its name, for people.
        image_input: the input that takes a picture; None for a folder of texts.
        encoding: of the texts; None for UTF-8.

    Raises:
        Unreadable: it holds neither, or pictures that nothing says what to do with.
    """
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and entry.name[0] != HIDDEN)
    texts = {Path(name).stem: name for name in names if name.lower().endswith(".txt")}
    pictures = [name for name in names if extension_of(name) in STILLS]
    if pictures and image_input is None:
        what = f"{len(pictures)} pictures, the first of them {pictures[0]}"
        raise Unreadable(f"the folder holds {what}; expected: --image-input NAME, the input that takes them")
    if image_input is not None and not pictures:
        raise Unreadable("the folder holds no picture; expected: some for --image-input")
    if not texts and not pictures:
        lists = [name for name in names if Path(name).suffix.lower() in EXTENSIONS]
        hint = f"; to read the list in it: {folder / lists[0]}" if lists else ""
        raise Unreadable(f"the folder holds no .txt and no picture; expected: some{hint}")
    stems = [Path(name).stem for name in pictures] if pictures else list(texts)
    for stem in sorted({stem for stem in stems if stems.count(stem) > 1} if len(stems) < 10_000 else ()):
        yield Mistake(file, 0, f"two pictures are named {stem!r}; expected: a name of its own each")
    for number, (stem, name) in enumerate(zip(stems, pictures or texts.values(), strict=True), 1):
        fields = {"id": stem}
        if pictures:
            fields[str(image_input)] = name
        if stem in texts:
            text = _text(folder / texts[stem], file, number, encoding)
            if isinstance(text, Mistake):
                yield text
                continue
            if text:
                fields["prompt"] = text
            elif not pictures:
                yield Mistake(file, number, f"{texts[stem]} is empty; expected: a prompt")
                continue
        yield Line(file, number, fields, stem)


def left_out(folder: Path, *, image_input: str | None) -> str | None:
    """Which files of a folder are no items, for people; None where all are.

    Args:
        folder: where they are.
        image_input: the input that takes a picture; None for a folder of texts.
    """
    kinds = {".txt"} if image_input is None else {".txt", *(f".{each}" for each in STILLS)}
    names = sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_file() and entry.name[0] != HIDDEN and f".{extension_of(entry.name)}" not in kinds
    )
    if not names:
        return None
    return f"{names[0]} is left out" if len(names) == 1 else f"{len(names)} files are left out, {names[0]} first"


def _text(path: Path, file: str, number: int, encoding: str | None) -> str | Mistake:
    try:
        raw = path.read_bytes()
    except OSError as error:
        return Mistake(file, number, f"{path.name} cannot be read ({error.strerror})")
    if len(raw) > LARGEST_TEXT_BYTES or b"\0" in raw:
        return Mistake(file, number, f"{path.name} is no prompt: expected: a text of at most 1 MiB")
    try:
        return raw.decode(encoding or "utf-8-sig").strip()
    except UnicodeDecodeError:
        return Mistake(file, number, f"{path.name} is not UTF-8; expected: --encoding, as in cp1252")
