"""`replibatch init`: asks for the settings people have, and writes them to `.env`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from replibatch.cli.env_file import EnvFile
from replibatch.cli.errors import MISUSED, Failure
from replibatch.errors import SettingsError
from replibatch.settings import check

TOKEN = "REPLICATE_API_TOKEN"  # noqa: S105  # the variable's name


@dataclass(frozen=True)
class Question:
    """A setting to ask for.

    Attributes:
        variable: its name.
        option: of the command line, without dashes.
        text: the question.
        unset: what holds while it is not set.
        secret: whether a value is never shown; `hidden` also while it is typed.
    """

    variable: str
    option: str
    text: str
    unset: str
    secret: bool = False
    hidden: bool = False


QUESTIONS = (
    Question(TOKEN, "token", "Your token, from replicate.com/account/api-tokens", "none", True, True),
    Question("REPLICATE_GLOBAL_MAX_CONCURRENT", "max_concurrent", "Predictions in flight, over every machine", "60"),
    Question("REPLICATE_REQUESTS_PER_MINUTE", "per_minute", "Predictions created a minute", "600"),
    Question("REPLIBATCH_BUDGET_USD", "budget", "Dollars a calendar month", "no limit"),
    Question("REPLIBATCH_REDIS_URL", "redis_url", "Redis of a fleet, as redis://host:6379/0", "its own", True),
    Question("REPLIBATCH_STORAGE_URL", "storage_url", "Where outputs land", "the working directory"),
)


@click.command()
@click.option("--token", metavar="TOKEN", help=f"Seen in the list of processes; {TOKEN} in the environment is not.")
@click.option("--max-concurrent", metavar="N", help="Predictions in flight for the account, over every machine.")
@click.option("--per-minute", metavar="N", help="Predictions created in a sliding minute.")
@click.option("--budget", metavar="USD", help="Nothing is started that could take a calendar month past it.")
@click.option("--redis-url", metavar="URL", help="The Redis of a fleet; without one everything is on this machine.")
@click.option("--storage-url", metavar="URL", help="Where outputs land: a folder or s3://bucket/prefix.")
@click.option("--non-interactive", is_flag=True, help="Ask nothing: the options, and the token of the environment.")
@click.option("--overwrite", is_flag=True, help="Replace what .env says without asking.")
def init(non_interactive: bool, overwrite: bool, **options: str | None) -> None:
    """Write your settings to .env in the working directory, readable by you alone.

    Asks for what no option gives; an empty answer leaves a setting as it is. Everything else in .env stays.
    """

    file = EnvFile(Path(".env"))
    if non_interactive and options["token"] is None:
        options["token"] = os.environ.get(TOKEN)
    given = {each.variable: value for each in QUESTIONS if (value := options[each.option]) is not None}
    check(given)
    if not non_interactive:
        if not sys.stdin.isatty():
            raise Failure("no terminal to ask on; expected: --non-interactive, with --token and the like", MISUSED)
        given |= _answers(file, [each for each in QUESTIONS if each.variable not in given])
    before = file.values()
    changes = {name: value.strip() for name, value in given.items() if value.strip() not in ("", before.get(name))}
    if not changes:
        click.echo(f"Nothing to change in {file.path}.")
        return
    _may_replace([name for name in changes if name in before], ask=not non_interactive, overwrite=overwrite)
    file.write(changes)
    click.echo(f"Wrote {', '.join(changes)} to {file.path}, readable by you alone. Keep it out of version control.")
    if TOKEN not in changes and TOKEN not in before:
        click.echo(f"{TOKEN} is not set: workers need it; `replibatch demo` and `run --sandbox` do not.")


def _answers(file: EnvFile, questions: list[Question]) -> dict[str, str]:
    """What people answer, each checked at once; those they pass over are left out."""
    click.echo(f"These go to {file.path}. An empty answer leaves a setting as it is.\n")
    before = file.values()
    answers = {each.variable: _answer(each, before) for each in questions}
    return {variable: answer for variable, answer in answers.items() if answer}


def _answer(question: Question, before: Mapping[str, str]) -> str:
    now = before.get(question.variable, "")
    shown = ("set, not shown" if question.secret else now) if now else question.unset
    while True:
        answer = str(
            click.prompt(f"{question.text} [{shown}]", default="", show_default=False, hide_input=question.hidden)
        ).strip()
        try:
            check({question.variable: answer})
        except SettingsError as error:
            click.echo(str(error))
        else:
            return answer


def _may_replace(names: list[str], *, ask: bool, overwrite: bool) -> None:
    """Have it confirmed that these are replaced.

    Raises:
        Failure: they may not be.
    """
    if not names or overwrite:
        return
    said = f".env sets {', '.join(names)} already"
    if not ask:
        raise Failure(f"{said}; --overwrite replaces what it says", MISUSED)
    if not click.confirm(f"{said}. Replace?"):
        raise Failure("nothing written")
