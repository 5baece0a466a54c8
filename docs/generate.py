"""Writes `settings.md`, `cli.md` and `api.md` from the code they describe: `python docs/generate.py`."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import click

import replibatch
from replibatch.cli.app import commands
from replibatch.sandbox import reference
from replibatch.settings import Settings

FOLDER = Path(__file__).parent
COLUMNS = 100
EXAMPLES: dict[str, str] = runpy.run_path(str(FOLDER / "examples_of_names.py"))["EXAMPLES"]

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

All that `from replibatch import …` has. Every call is described where it is defined; the page is made from there, and
every example runs in a test. The examples have the names they use imported, and `asyncio` and `time`.

How they work together in an application: [Applications](applications.md). Fixtures for its tests:
`replibatch.testing`, [there](applications.md#testing).

{names}"""
SANDBOX = """# The stand-in for Replicate

`replibatch sandbox` serves Replicate's HTTP API on this machine: pictures of its own, no token, no cost. `demo`,
`run --sandbox`, the tests and the benchmarks use it; from Python it is `replibatch.sandbox.Sandbox`.

<!-- until: REPLICATE_API_TOKEN -->
```sh
replibatch sandbox --latency 2 --fault 502-after=0.05 --set list_lag_seconds=3
```

It answers as the real API was recorded. A create's reply leaves out what is not there yet (`output`, `started_at`,
`completed_at`, `source`); times have nanoseconds there and microseconds in the list; answers above 500 bytes are
compressed and chunked; `ratelimit-remaining`, `ratelimit-reset` and `via` are there; a reply held by `Prefer: wait`
says `processing` and holds its files as data URIs; inputs that a schema marks as secret are never shown; a
community model runs by its version's id alone, and its name is a 404 in JSON.

## Books

`GET /books` (from Python: `sandbox.books`) tells what each input was billed, what is in flight and was at most, the
most creates in any window, and every answer by its status; `POST /books/reset` starts anew. `GET /books?summary=1`
leaves out what grows with the number of predictions.

## Faults

Four ways to order one, for each kind below:

| way | example |
|---|---|
| a mark in a prompt | `a fox [[interrupted:2]] [[failed@qwen/qwen-image]]`: twice only; on that model alone |
| a rate for all | `--fault 502-after=0.05`, `POST /faults` with `{"502-after": 0.05}` |
| a rate for one model | `--set 'model_faults={"qwen/qwen-image": {"stuck": 1}}'`, or `POST /settings` |
| a form of output, for a registered model | `"gives": "output-masks"` |

`--seed` makes rates strike the same way again. The number of `many`, `output-many`, `listed-late` and `stuck…` says
how many outputs or seconds, not how many times: `[[stuck:20]]` succeeds after 20 s after all, whatever was asked of
it.

| when | kinds |
|---|---|
{kinds}

One endpoint answers otherwise: {orders}. So `list-403-cdn` has the list answer with the CDN's page,
`create-404-balancer` a create with the load balancer's, `created-200-portal` one that has created its prediction,
`cancel-404-api` a cancel alone with the API's own 404, `account-hang` never. They are ordered as all others; marks
and models count where a prediction or a model is asked for.

## Models and deployments

`POST /models` registers models, in the place of those that had their names; `"missing": true` takes one away:

```json
{"acme/upscaler": {
  "official": false, "version": "…64 hexadecimal digits…", "required": ["image"],
  "inputs": {"image": {"type": "string", "format": "uri"}, "api_key": {"type": "string", "format": "password"}},
  "output": {"type": "string", "format": "uri"}, "gives": "output-webm",
  "price": {"usd": 0.01, "per": "gpu_second"}, "metrics": {"image_output_megapixels": 4.0}
}}
```

`per` is `image`, `call`, `second`, `gpu_second`, `megapixel` or `token`; what is billed follows the metrics that
the API shows. Deployments are a setting: `{"deployments": {"acme/prod": "black-forest-labs/flux-dev"}}`.

## Webhooks

They are delivered to this machine alone (`webhooks_anywhere` sends them further), signed as Replicate signs them
with the key of `GET /v1/webhooks/default/secret`; `completed` is tried for about a minute.

## Settings

All of them at the start (`--set NAME=JSON`, `--settings-file FILE`), from Python (`SandboxSettings(…)`), and while
it runs: `GET /settings`, `POST /settings` with those that change, all or none.

| setting | default | meaning |
|---|---|---|
{settings}
"""

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


def _example(name: str) -> str:
    """The example that the page shows besides the docstring."""
    if name not in EXAMPLES:
        return ""
    return f"\n<!-- elsewhere: tests/unit/test_api_examples.py -->\n```python\n{EXAMPLES[name]}```\n"


def api_page() -> str:
    """`api.md`, from the public names; `mkdocs` puts their docstrings there."""
    parts = []
    for kind in ("Functions", "Classes", "Errors"):
        names = sorted((name for name in replibatch.__all__ if _kind(name) == kind), key=str.lower)
        parts += [f"## {kind}\n", *(f"::: replibatch.{name}\n{_example(name)}" for name in names)]
    return API.format(names="\n".join(parts))


def sandbox_page() -> str:
    """`sandbox.md`, from the stand-in's settings and kinds of faults."""
    kinds = [f"| {words} | {', '.join(f'`{name}`' for name in names)} |" for words, names in reference.kinds()]
    settings = [f"| `{name}` | `{default}` | {words} |" for name, default, words in reference.settings()]
    page = SANDBOX.replace("{orders}", reference.orders()).replace("{kinds}", "\n".join(kinds))
    return page.replace("{settings}", "\n".join(settings))


PAGES = {"settings.md": settings_page, "cli.md": cli_page, "api.md": api_page, "sandbox.md": sandbox_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), "utf-8")
