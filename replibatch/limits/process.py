"""What every process of an account tells the others, producer or worker: its name, the limits it was given."""

from __future__ import annotations

import os
import secrets
import socket
from typing import Any

from replibatch.money import to_micro
from replibatch.settings import Settings


def process_name() -> str:
    """A name no other process has or had: host, pid and a random part."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(3)}"


def is_running(name: str) -> bool:
    """Whether a process of this machine and user runs, by its name; True for one of another machine."""
    host, pid, _ = name.rsplit("/", 2)
    if host != socket.gethostname() or os.name == "nt":
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def explicit_limits(settings: Settings) -> dict[str, Any]:
    """The limits this process was given explicitly, in the limiter's units."""
    given = {
        "global_max_concurrent": ("max_concurrent", settings.global_max_concurrent),
        "requests_per_minute": ("per_window", settings.requests_per_minute),
        "budget_usd": ("budget", settings.budget_usd and to_micro(settings.budget_usd)),
    }
    return {name: value for field, (name, value) in given.items() if field in settings.model_fields_set}
