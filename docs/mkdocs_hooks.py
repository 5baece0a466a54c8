"""On the site, a link to a file outside `docs/` leads to a page that shows the file; in a checkout, to the file."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

PROJECT = Path(__file__).parent.parent
SHOWN = "source/"  # where those pages are
LINK = re.compile(r"\]\((?!\w+:)([\w./-]+)(#[\w-]*)?\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages, and those that they link to in turn."""
    queue = [(f"docs/{file.src_uri}", file.content_string) for file in files.documentation_pages()]
    while queue:
        for path in _targets(*queue.pop()):
            uri = _page(path)
            if not path.startswith("docs/") and (PROJECT / path).is_file() and uri not in files.src_uris:
                text = (PROJECT / path).read_text(encoding="utf-8", errors="replace")  # samples have other encodings
                if path.endswith(".md"):
                    queue.append((path, text))
                else:
                    text = f"# {path}\n\n~~~~ {{.{path.rpartition('.')[2]}}}\n{text}~~~~\n"
                files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn each link to a file into one to its page; a link to a folder into its text."""
    uri = page.file.src_uri
    origin = uri.removeprefix(SHOWN) if uri.startswith(SHOWN) else f"docs/{uri}"

    def to_page(link: re.Match[str]) -> str:
        path = _resolved(origin, link[1])
        if (PROJECT / path).is_dir():
            return "]"
        return f"]({posixpath.relpath(_page(path), posixpath.dirname(uri) or '.')}{link[2] or ''})"

    return LINK.sub(to_page, markdown)


def _targets(origin: str, markdown: str) -> Iterator[str]:
    return (_resolved(origin, link) for link, _ in LINK.findall(markdown))


def _resolved(origin: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))


def _page(path: str) -> str:
    """The page, or picture, that a file of the project has on the site."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{SHOWN}{path}" if path.endswith(".md") else f"{SHOWN}{path}.md"
