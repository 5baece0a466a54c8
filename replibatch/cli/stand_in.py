"""Commands that work with the stand-in for Replicate in this very process: they cost nothing and need no token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import SecretStr

from replibatch import embedded
from replibatch.cli.account import opened
from replibatch.producer import Producer
from replibatch.sandbox import Sandbox, SandboxSettings
from replibatch.settings import Settings

TOKEN = SecretStr("sandbox")  # it takes any


@contextmanager
def stand_in(settings: Settings, behaviour: SandboxSettings) -> Iterator[tuple[Producer, Sandbox]]:
    """A producer in embedded mode with its account at a stand-in, while the `with` block lasts.

    Args:
        settings: all others hold as they are.
        behaviour: of the stand-in.
    """
    with Sandbox(behaviour) as sandbox:
        try:
            yield opened(settings_for(settings, sandbox.url)), sandbox
        finally:
            embedded.shutdown()  # the stand-in still answers the worker's last requests


def settings_for(settings: Settings, url: str) -> Settings:
    """The same settings for a stand-in at `url`, with a state folder of its own."""
    changed = {
        "replicate_base_url": url,
        "replicate_api_token": TOKEN,
        "redis_url": None,
        "state_dir": settings.state_dir / "sandbox",  # apart from what real money was spent on
    }
    return settings.model_copy(update=changed)
