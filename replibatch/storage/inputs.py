"""Reference images as a storage keeps them: named by their content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from replibatch.file_formats import recognise


def write_input(path: Path, content: Iterable[bytes], extension: str) -> str:
    """Write a reference image to a new file; returns the name it is kept under.

    Args:
        path: the file.
        content: its bytes.
        extension: for unrecognised bytes.
    """
    digest = hashlib.sha256()
    with path.open("xb") as copy:
        for chunk in content:
            digest.update(chunk)
            copy.write(chunk)
    suffix = extension.lower().lstrip(".")
    found = recognise(path)
    if found and not (found.kind in ("text", "archive") and suffix):  # their bytes tell less than their names
        suffix = found.extensions[0]
    return f"{digest.hexdigest()}.{suffix if re.fullmatch(r'[a-z0-9]{1,8}', suffix) else 'bin'}"
