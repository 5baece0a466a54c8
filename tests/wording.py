"""How the code speaks: phrases that make a riddle of a sentence, per 1,000 words of what it says to people.

    python -m tests.wording [--show] [PATH…]

PATHs are folders or files of Python and Lua, of this project or of any other, each measured on its own; by default
`replibatch` and `workers` together. The words counted are those of

- docstrings, and comments without their directives (`noqa`, `type:`), in Python;
- comments in Lua;
- messages: the literal parts of every string in a `raise`, in a call of a logger (`log.warning(…)`), of
  `warnings.warn`, `click.echo` and the like.

`--show` prints each place.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import PROJECT

DEFAULT = (PROJECT / "replibatch", PROJECT / "workers")

PHRASES = {
    "what is/has": re.compile(r"\bwhat\s+(?:is|has)\b", re.IGNORECASE),
    "of it/them": re.compile(r"\bof\s+(?:it|them)\b", re.IGNORECASE),
    "told": re.compile(r"\btold\b", re.IGNORECASE),
    "nobody/somebody": re.compile(r"\b(?:nobody|somebody)\b", re.IGNORECASE),
    "whose/whoever": re.compile(r"\b(?:whose|whoever)\b", re.IGNORECASE),
}
SPEAKING = {"critical", "debug", "echo", "error", "exception", "info", "print", "secho", "warn", "warning"}

_WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*")
_DIRECTIVE = re.compile(r"#\s*(?:noqa|type:|pragma|fmt:|ruff:|mypy:)[^#]*")
# A string is skipped whole, so that two dashes within it are none of a comment.
_LUA = re.compile(r"""--\[\[(.*?)\]\]|--([^\n]*)|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)


@dataclass(frozen=True)
class Text:
    """What one docstring, comment or message says.

    Attributes:
        place: file and line.
        words: the text.
    """

    place: str
    words: str


@dataclass
class Wording:
    """Words, and the phrases among them.

    Attributes:
        words: how many.
        found: how often each phrase of `PHRASES` stands in them.
        places: the texts that have one.
    """

    words: int = 0
    found: Counter[str] = field(default_factory=Counter)
    places: list[tuple[str, Text]] = field(default_factory=list)

    def add(self, text: Text) -> None:
        """Count one text."""
        self.words += len(_WORD.findall(text.words))
        for name, phrase in PHRASES.items():
            if count := len(phrase.findall(text.words)):
                self.found[name] += count
                self.places.append((name, text))

    def per_thousand(self, name: str | None = None) -> float:
        """How often a phrase, or with None any of them, stands in 1,000 words."""
        count = self.found.total() if name is None else self.found[name]
        return 1000 * count / self.words if self.words else 0.0


def measure(paths: Iterable[Path] = DEFAULT) -> Wording:
    """Count the phrases of all Python and Lua under these paths.

    Raises:
        FileNotFoundError: there is no such path.
    """
    wording = Wording()
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(path)
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.suffix in (".py", ".lua"):
                for text in texts(file):
                    wording.add(text)
    return wording


def texts(file: Path) -> Iterator[Text]:
    """All that a file says to people."""
    source = file.read_text(encoding="utf-8")
    found = _of_lua(source) if file.suffix == ".lua" else _of_python(source)
    return (Text(f"{file}:{line}", words) for line, words in found)


def _of_python(source: str) -> Iterator[tuple[int, str]]:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                if docstring := ast.get_docstring(node):
                    yield node.body[0].lineno, docstring
            case ast.Raise(exc=ast.Call() as call):
                yield from _message(call)
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in SPEAKING:
                yield from _message(node)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], _DIRECTIVE.sub("", token.string)


def _message(call: ast.Call) -> Iterator[tuple[int, str]]:
    for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
        constants = [part.value for part in ast.walk(argument) if isinstance(part, ast.Constant)]
        if parts := [value for value in constants if isinstance(value, str)]:
            yield argument.lineno, " ".join(parts)


def _of_lua(source: str) -> Iterator[tuple[int, str]]:
    for match in _LUA.finditer(source):
        if words := match[1] or match[2]:
            yield source.count("\n", 0, match.start()) + 1, words


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.wording", description="Phrases per 1,000 words of docstrings, comments and messages."
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="each is measured on its own")
    parser.add_argument("--show", action="store_true", help="print each place")
    asked = parser.parse_args()
    groups = {str(path): [path] for path in asked.paths} or {"replibatch, workers": list(DEFAULT)}
    heads = [*PHRASES, "all"]
    print(f"{'per 1,000 words':32} {'words':>7} " + " ".join(f"{head:>15}" for head in heads))
    for name, paths in groups.items():
        wording = measure(paths)
        figures = [wording.per_thousand(phrase) for phrase in PHRASES] + [wording.per_thousand()]
        print(f"{name[-32:]:32} {wording.words:7,} " + " ".join(f"{figure:15.2f}" for figure in figures))
        for phrase, text in wording.places if asked.show else ():
            print(f"  {text.place}: {phrase}: {' '.join(text.words.split())[:140]}")


if __name__ == "__main__":
    main()
