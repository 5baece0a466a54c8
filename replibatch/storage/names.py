"""Names of output files: those asked for, checked; those made up, unique and in order."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import PurePath

from replibatch.errors import OutputPathError

PRIVATE_FOLDER = ".replibatch"  # ours, in every storage
IDENTITY = f"{PRIVATE_FOLDER}/storage-id"  # what tells it from any other
SLUG_CHARACTERS = 40
FOLDER_FILES = 10_000  # made-up names in one folder, at most
NAME_BYTES = 250  # the usual file systems take 255; several outputs add a number
KEY_BYTES = 1024  # the longest key that S3 takes

TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # as a name's end for its middle

_DRIVE = re.compile(r"[A-Za-z]:")
_ASCII_WORD = re.compile(r"[a-z0-9]+")


def safe_key(name: str) -> str:
    """The key of an output under the storage, as asked for.

    Args:
        name: a relative path with `/` between folders.

    Returns:
        The same without `.` and doubled slashes.

    Raises:
        OutputPathError: it would leave the storage, or no file system could hold it.
    """
    folders = [folder for folder in name.split("/") if folder not in ("", ".")]
    if not folders or name.endswith(("/", "/.")):
        raise _refused(name, "it names no file")
    if name.startswith("/") or _DRIVE.match(name):
        raise _refused(name, "it is absolute")
    if ".." in folders:
        raise _refused(name, "'..' could leave the output folder")
    if "\\" in name:
        raise _refused(name, "it has a backslash; write '/' between folders")
    if not name.isprintable() and any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise _refused(name, "it has control characters")
    if not name.isascii() and any(each in TURNING for each in name):
        raise _refused(name, "it has characters that turn the direction of text")
    if os.name == "nt" and (":" in name or any(each.endswith((".", " ")) for each in folders)):
        raise _refused(name, "Windows takes no ':', and no '.' or ' ' at the end of a name")
    if folders[0].casefold() == PRIVATE_FOLDER:
        raise _refused(name, f"{PRIVATE_FOLDER} is replibatch's own")
    key = "/".join(folders)
    if len(key.encode()) > KEY_BYTES or any(len(folder.encode()) > NAME_BYTES for folder in folders):
        raise _refused(name, f"it is too long; at most {NAME_BYTES} bytes a name, {KEY_BYTES} in all")
    return key


def refuse_settings(key: str) -> None:
    """Refuse a name that programs take for their settings, `.env` and `.git/…` first: a list names pictures.

    Args:
        key: as `safe_key` gives it.

    Raises:
        OutputPathError: a part of the name begins with a dot, or the name is one of replibatch's own settings files.
    """
    for name in key.split("/"):
        # As some file systems see it:
        visible = name if name.isascii() else "".join(each for each in name if unicodedata.category(each) != "Cf")
        seen = visible.strip()
        if seen.startswith(".") or seen.casefold() == "replibatch.toml":
            raise _refused(key, f"{name!r} could be a file of settings")


def _refused(name: str, reason: str) -> OutputPathError:
    shown = name if len(name) <= 120 else f"{name[:117]}..."
    return OutputPathError(f"the output {shown!r}: {reason}; allowed: a file's path inside the output folder")


def numbered(key: str, count: int) -> list[str]:
    """The keys of `count` outputs of one request: the key itself, or `name_1.ext`, `name_2.ext`, …"""
    if count == 1:
        return [key]
    path = PurePath(key)
    return [path.with_name(f"{path.stem}_{number}{path.suffix}").as_posix() for number in range(1, count + 1)]


def made_up_name(index: int, prompt: str, generation_id: str, extension: str) -> str:
    """A name for an output that was given none: unique by its id, in order, readable.

    Args:
        index: its place in its batch, from 0.
        prompt: what the middle of the name is taken from.
        generation_id: unique over all processes.
        extension: with or without its dot.

    Returns:
        Such as `0001-a-red-fox-in-snow-k3v9.jpg`; in a folder of its ten thousand from the ten thousandth on.
    """
    words = [f"{index + 1:04d}", slug(prompt), generation_id]
    name = "-".join(word for word in words if word) + "." + extension.lstrip(".")
    folder = shard(index)
    return f"{folder}/{name}" if folder else name


def shard(index: int) -> str:
    """The folder of a made-up name, so that no folder grows without bound: `""`, then `00010000`, `00020000`, …

    Args:
        index: the output's place in its batch, from 0.
    """
    first = (index + 1) // FOLDER_FILES * FOLDER_FILES
    return f"{first:08d}" if first else ""


def slug(text: str) -> str:
    """At most 40 characters of a text's words, in any script, with hyphens between: `a-red-fox-in-snow`."""
    normal = unicodedata.normalize("NFKC", text[: 8 * SLUG_CHARACTERS]).lower()
    if normal.isascii():
        words = _ASCII_WORD.findall(normal)
    else:
        words = "".join(character if _is_of_a_word(character) else " " for character in normal).split()
    whole = "-".join(words)
    if len(whole) <= SLUG_CHARACTERS:
        return whole
    cut, hyphen, _ = whole[: SLUG_CHARACTERS + 1].rpartition("-")
    # One long word, or a script without spaces: cut inside it, never between a letter and its marks.
    if not hyphen or len(cut) < SLUG_CHARACTERS // 2:
        end = SLUG_CHARACTERS
        while unicodedata.category(whole[end])[0] == "M":
            end -= 1
        cut = whole[:end]
    return cut.rstrip("-")


def _is_of_a_word(character: str) -> bool:
    """Letters and digits, and the marks that belong to them in many scripts."""
    return character.isalnum() or unicodedata.category(character)[0] == "M"
