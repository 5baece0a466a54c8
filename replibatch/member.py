"""What every process of an account has, producer or worker: a name, limits it was given, a way to the storage."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

from replibatch.money import to_micro
from replibatch.outputs.storage import Storage, open_storage
from replibatch.settings import Settings


def process_name() -> str:
    """A name no other process has or had: host, pid and a random part."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(3)}"


def storage_for(settings: Settings, *, embedded: bool) -> Storage:
    """Where outputs and reference images are; in embedded mode names may be absolute, and images are kept aside.

    Reference images are each account's own: no account's records tell whether another still needs one.
    """
    return open_storage(
        settings.storage_url,
        Path.cwd(),
        account=quote(settings.account_key, safe="@").replace("%", "="),
        scratch=settings.state_dir / "scratch",
        inputs_root=settings.state_dir / "inputs" if embedded else None,
        absolute_ok=embedded,
    )


def explicit_limits(settings: Settings) -> dict[str, Any]:
    """The limits somebody gave this process on purpose, as the gate takes them."""
    given = {
        "global_max_concurrent": ("max_concurrent", settings.global_max_concurrent),
        "requests_per_minute": ("per_window", settings.requests_per_minute),
        "budget_usd": ("budget", settings.budget_usd and to_micro(settings.budget_usd)),
    }
    return {name: value for field, (name, value) in given.items() if field in settings.model_fields_set}
