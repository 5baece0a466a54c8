"""The options of `run` and `submit` for reading a list and for the items it makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from replibatch.lists import Asked, Options, Prompts, ReadOptions
from replibatch.lists.recipe import read_recipe
from replibatch.lists.sniff import Kind

Command = Callable[..., Any]

_OPTIONS = (
    click.option(
        "-m",
        "--model",
        "models",
        multiple=True,
        metavar="MODEL",
        help="For lines that name none; twice: each line by each.",
    ),
    click.option(
        "-i", "--input", "given", multiple=True, metavar="KEY=VALUE", help="A model input, for lines without it."
    ),
    click.option(
        "--vary", "varied", multiple=True, metavar="KEY=…", help="Every value of an input: KEY=a,b or KEY=1..4."
    ),
    click.option(
        "--samples",
        type=click.IntRange(1, 10_000),
        default=1,
        metavar="N",
        help="How many of each, with seeds of their own.",
    ),
    click.option(
        "--name",
        metavar="PATTERN",
        help="Names of files: {id}, {index}, {n}, {prompt}, {model}, {seed}, {ext}, any column.",
    ),
    click.option(
        "--map",
        "mapped",
        multiple=True,
        metavar="NAME=COLUMN",
        help="The column that is NAME; dotted for nested ones.",
    ),
    click.option("--ignore", "ignored", multiple=True, metavar="COLUMN", help="Leave a column out."),
    click.option("--strict", is_flag=True, help="Refuse columns that are not understood."),
    click.option("--prompt-template", "template", metavar="TEXT", help="As in 'A photo of {prompt}, {style}'."),
    click.option(
        "--recipe",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE.toml",
        help="Steps after the first, for lines without a 'then'.",
    ),
    click.option("--fill", is_flag=True, help="Put columns in the place of {column} in prompts."),
    click.option(
        "--expand", is_flag=True, help="Make each of {a|b} in prompts, and each line of name.txt for __name__."
    ),
    click.option("--as-is", "literal", is_flag=True, help="Send prompts as they are, whatever they look like."),
    click.option("--paragraphs", is_flag=True, help="Of a text: blank lines divide the prompts, not each new line."),
    click.option("--comments", metavar="PREFIX", help="Leave out lines that begin with PREFIX, as in '#'."),
    click.option("--encoding", metavar="NAME", help="Of a list that is not UTF-8, as in cp1252."),
    click.option(
        "--format",
        "kind",
        type=click.Choice([kind for kind in get_args(Kind) if kind != "markdown"]),
        help="Of a list, where its content does not show it.",
    ),
    click.option("--image-input", metavar="NAME", help="The input that takes the pictures of a folder."),
)
NAMES = frozenset(
    {"models", "given", "varied", "samples", "name", "mapped", "ignored", "strict", "template", "fill", "expand"}
    | {"recipe", "literal", "comments", "encoding", "kind", "image_input", "paragraphs"}
)


def list_options(command: Command) -> Command:
    """Add the options of a list."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def options_from(arguments: dict[str, Any], *, fallback: bool) -> Options:
    """The options of a list, taken out of a command's arguments.

    Args:
        arguments: by name; those of `list_options` are removed.
        fallback: whether another model may stand in.
    """
    own = {name: arguments.pop(name) for name in NAMES}
    return Options(
        read=ReadOptions(
            own["kind"],
            own["encoding"],
            own["comments"] or None,
            own["image_input"],
            literal=own["literal"],
            paragraphs=own["paragraphs"],
        ),
        asked=Asked(
            models=tuple(dict.fromkeys(own["models"])),
            samples=own["samples"],
            name=own["name"],
            recipe=read_recipe(own["recipe"]) if own["recipe"] else (),
            recipe_folder=(own["recipe"] or Path()).absolute().parent,
            prompts=Prompts(own["template"], own["fill"], own["expand"], own["literal"]),
            fallback=fallback,
        ),
        given=own["given"],
        varied=own["varied"],
        mapped=own["mapped"],
        ignored=own["ignored"],
        strict=own["strict"],
    )
