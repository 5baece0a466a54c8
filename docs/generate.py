"""Writes `settings.md`, `cli.md` and `api.md` from the code they describe: `python docs/generate.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import replibatch
from replibatch.cli.app import commands
from replibatch.settings import Settings

FOLDER = Path(__file__).parent
COLUMNS = 100

SETTINGS = """# Settings

Environment, or `.env` in the working directory; an argument of a call wins over both, and they are read when the
call is made. An empty value is an unset one; unknown names in `.env` are ignored. A bad value is one line that names
the variable, what was found (never a secret) and what is allowed, before anything is spent.

`replibatch init` asks for those that people have and writes them to `.env`, readable by its owner alone.

| variable | default | allowed | meaning |
|---|---|---|---|
{rows}

Which limit holds: what `replibatch limits set` stored in Redis, until it is cleared; otherwise the lowest that a live
process was given explicitly; otherwise the default. `replibatch status` names the source.

The window, the lease and the settle time are for advanced use: a lease must outlast a stop of a healthy process (a
laptop's sleep, a busy machine), and the settle time the longest that a create whose connection broke can still take
effect.
"""

CLI = """# Command line

What `--help` says, command by command. Where a machine would read, there is `--json`; piped, output is plain lines.

| exit code | meaning |
|---|---|
| 0 | all went well |
| 1 | some items did not succeed, the account is stopped, or `doctor` found something wrong |
| 2 | a mistake, found before anything was spent |
| 130 | paused by Ctrl-C |

Shell completion: `eval "$(_REPLIBATCH_COMPLETE=bash_source replibatch)"`, or `zsh_source`, or `fish_source`.

{commands}"""

API = """# Python API

All that `from replibatch import …` has. Every call is described where it is defined; the page is made from there.

{names}"""

DEFAULTS = {
    "REPLICATE_API_TOKEN": "none",
    "REPLICATE_BASE_URL": "Replicate's",
    "REPLIBATCH_STATE_DIR": "the platform's user state dir",
    "REPLIBATCH_CATALOG": "`replibatch.toml` in the working directory, if there",
    "REPLIBATCH_STORAGE_URL": "the working directory",
}


def _allowed(metadata: list[Any], kind: Any) -> str:
    bounds = {name: getattr(each, name) for each in metadata for name in ("ge", "le") if hasattr(each, name)}
    if not bounds:
        return "true, false" if kind is bool else ""
    return f"{bounds['ge']:,} to {round(bounds['le']):,}"


def settings_page() -> str:
    """`settings.md`, from the settings class."""
    rows = []
    for field in Settings.model_fields.values():
        default = "unset" if field.default is None else str(field.default).lower().removesuffix(".0")
        shown = DEFAULTS.get(str(field.alias), default)
        allowed = _allowed(field.metadata, field.annotation)
        rows.append(f"| `{field.alias}` | {shown} | {allowed} | {field.description} |")
    return SETTINGS.format(rows="\n".join(rows))


def _help(command: click.Command, path: str, parent: click.Context | None) -> list[str]:
    name = path.rpartition(" ")[2]
    context = click.Context(command, parent, name, terminal_width=COLUMNS, **command.context_settings)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    parts = [f"## {path}\n\n```text\n{text}\n```\n"]
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            if child := command.get_command(context, each):
                parts += _help(child, f"{path} {each}", context)
    return parts


def cli_page() -> str:
    """`cli.md`, from `--help`."""
    return CLI.format(commands="\n".join(_help(commands, "replibatch", None)))


def _kind(name: str) -> str:
    value = getattr(replibatch, name)
    if not isinstance(value, type):
        return "Functions"
    return "Errors" if issubclass(value, BaseException) else "Classes"


def api_page() -> str:
    """`api.md`, from the public names; `mkdocs` puts their docstrings there."""
    parts = []
    for kind in ("Functions", "Classes", "Errors"):
        names = sorted((name for name in replibatch.__all__ if _kind(name) == kind), key=str.lower)
        parts += [f"## {kind}\n", *(f"::: replibatch.{name}\n" for name in names)]
    return API.format(names="\n".join(parts))


PAGES = {"settings.md": settings_page, "cli.md": cli_page, "api.md": api_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), "utf-8")
