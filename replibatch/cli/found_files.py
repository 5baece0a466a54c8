"""Which files of the working directory take part in a run: the directory may come from another person."""

from __future__ import annotations

import click

from replibatch.catalog import Catalog
from replibatch.catalog.catalog import USER_FILE
from replibatch.foreign_text import one_line
from replibatch.settings import ENV_FILE, Settings, taken_from_env_file


def name_found_files(settings: Settings) -> None:
    """Say on stderr which settings and models are from files that were found in the working directory."""
    if taken := taken_from_env_file():
        click.echo(f"Settings from {one_line(str(ENV_FILE.absolute()))}: {', '.join(taken)}", err=True)
    if settings.catalog is None and USER_FILE.is_file():
        click.echo(f"Models from {one_line(str(USER_FILE.absolute()))}", err=True)


def name_changes(catalog: Catalog) -> None:
    """Say on stderr what the user's own catalogue file changes of the built-in prices and chains, a line each."""
    for line in catalog.changes:
        click.echo(line, err=True)
