"""The group of all commands: a table of names and help texts, each command imported when it runs."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from replibatch import __version__
from replibatch.cli.errors import explained
from replibatch.cli.guarded_streams import guarded


class Entry(NamedTuple):
    """A command of the table.

    Attributes:
        module: the module in `replibatch.cli.commands`.
        help: one line for `--help`, so that it imports no command.
    """

    module: str
    help: str


COMMANDS = {
    "demo": Entry("demo", "See it at work: no token, no server, no cost."),
    "init": Entry("init", "Set up: writes .env in the working directory."),
    "run": Entry("run", "Make every item of a list into a folder."),
    "submit": Entry("submit", "Enqueue every item of a list and return."),
    "watch": Entry("batches", "Follow a batch until it is over, or held."),
    "results": Entry("results", "Show the results of a batch, or bring its files here."),
    "show": Entry("show", "Show what made a file."),
    "pause": Entry("batches", "Start nothing new of a batch."),
    "resume": Entry("batches", "Go on with a batch that was paused or held, or with a stopped account."),
    "cancel": Entry("batches", "Cancel a batch: its waiting items and its running predictions."),
    "retry": Entry("batches", "Make again what failed in a batch."),
    "batches": Entry("batches", "List the batches, the newest first."),
    "settle": Entry("settle", "Say what became of a create that nothing proves."),
    "status": Entry("status", "Show the account: limits, work under way, spend."),
    "limits": Entry("limits", "Show or set the limits of the account."),
    "models": Entry("models", "Show the models: price, inputs, fallback."),
    "worker": Entry("worker", "Work on the queue until SIGTERM or Ctrl-C."),
    "serve": Entry("serve", "Serve Replicate's own API in front of the queue."),
    "keys": Entry("keys", "Add, list and remove the keys of `serve`."),
    "flower": Entry("flower", "Monitor the fleet in a browser: Flower, with a page of the account."),
    "doctor": Entry("doctor", "Check the set-up, and say how to fix it."),
    "sandbox": Entry("sandbox", "Serve a stand-in for Replicate, with faults to order."),
}  # in the order of `--help`


class Commands(click.Group):
    """Finds each command by `COMMANDS`, and turns errors into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's shape
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's shape
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"replibatch.cli.commands.{COMMANDS[cmd_name].module}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [name for name in COMMANDS if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=COMMANDS[name].help) for name in names), *options]

    def invoke(self, ctx: click.Context) -> Any:
        with guarded(), explained(), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return super().invoke(ctx)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Show a user's warning as one line; a programmer's warning is not for users."""
    if issubclass(category, UserWarning):
        click.echo(f"replibatch: {' '.join(str(message).split())}", err=True)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="replibatch")
def commands() -> None:
    """Generate images and videos on Replicate, by the thousand, within the account's limits.

    Nothing is paid for twice, whatever is interrupted. Start with `replibatch demo`: it needs no token.
    """
