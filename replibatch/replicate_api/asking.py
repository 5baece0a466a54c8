"""The API for a process that only reads: a command, or a producer that asks what a model publishes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from replibatch.errors import SettingsError
from replibatch.replicate_api.calls import ReplicateAPI
from replibatch.settings import Settings


@contextmanager
def asking(settings: Settings) -> Iterator[ReplicateAPI]:
    """The account's API, unable to create anything, as long as the block lasts.

    Raises:
        SettingsError: there is no token.
    """
    if settings.replicate_api_token is None:
        raise SettingsError("REPLICATE_API_TOKEN is not set; give it there, in .env, or run `replibatch init`")
    api = ReplicateAPI(
        settings.replicate_base_url,
        settings.replicate_api_token,
        await_read=lambda: None,
        settle_seconds=settings.settle_seconds,
    )
    try:
        yield api
    finally:
        api.close()
