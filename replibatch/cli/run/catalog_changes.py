"""What the user's own catalogue file changes of the built-in prices and chains, named before anything is spent."""

from __future__ import annotations

import click

from replibatch.producer.published_inputs import load_catalog
from replibatch.settings import Settings


def tell_changes(settings: Settings) -> None:
    """Name each change on stderr, a line each.

    Raises:
        SettingsError: the file is malformed.
    """
    for line in load_catalog(settings).changes:
        click.echo(line, err=True)
