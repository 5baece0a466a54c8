"""The group of all commands, loaded one by one, and what becomes of their errors."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

import click

from replibatch import __version__
from replibatch.cli.errors import explained

_MODULES = {
    "demo": "demo",
    "init": "init",
    "run": "run",
    "submit": "submit",
    "watch": "batches",
    "results": "results",
    "pause": "batches",
    "resume": "batches",
    "cancel": "batches",
    "retry": "batches",
    "batches": "batches",
    "status": "status",
    "limits": "limits",
    "models": "models",
    "worker": "worker",
    "flower": "flower",
    "doctor": "doctor",
    "sandbox": "sandbox",
}  # in the order of `--help`


class Commands(click.Group):
    """Finds each command in the module that `_MODULES` names, and turns what goes wrong into a line and a code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's shape
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's shape
        if cmd_name not in _MODULES:
            return None
        command: click.Command = getattr(import_module(f"replibatch.cli.commands.{_MODULES[cmd_name]}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        with explained(), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return super().invoke(ctx)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """A warning for people is one line; one for programmers is not theirs."""
    if issubclass(category, UserWarning):
        click.echo(f"replibatch: {' '.join(str(message).split())}", err=True)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="replibatch")
def commands() -> None:
    """Generate images and videos on Replicate, by the thousand, within the account's limits.

    Nothing is paid for twice, whatever is interrupted. Start with `replibatch demo`: it needs no token.
    """
