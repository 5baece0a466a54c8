"""The storage all processes of an account share: the way to it, and whether it is one.

Outputs in two places would be lost to half of a fleet.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from replibatch.errors import SettingsError
from replibatch.settings import Settings
from replibatch.storage.names import IDENTITY
from replibatch.storage.storage import Storage, open_storage


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


def mark(storage: Storage, processes: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Give a storage its identity where it has none; what a worker tells the others about it.

    While workers live that have one, another would be in the way of theirs, should that only be missing.

    Args:
        storage: this process's.
        processes: what the live ones say of themselves.

    Raises:
        SettingsError: it cannot be written, or some worker has another.
    """
    storage.check_writable()
    refuse_another(storage, processes)
    return {"storage": storage.mark(secrets.token_hex(16)), "storage_at": storage.where}


def refuse_another(storage: Storage, processes: Mapping[str, Mapping[str, Any]]) -> None:
    """Go on only where every live worker has this very storage.

    Args:
        storage: this process's.
        processes: what the live ones say of themselves.

    Raises:
        SettingsError: one has another; says which, and where.
    """
    mine = storage.identity()
    for report in processes.values():
        if report.get("storage", mine) != mine:
            here = f"{storage.where!r} on {socket.gethostname()}"
            there = f"{report['storage_at']!r} on {report['host']}"
            raise SettingsError(
                f"the storage {here} is not the one a worker has, {there}: what one saves the other cannot read; "
                "allowed: REPLIBATCH_STORAGE_URL with one folder that all have mounted, or s3://bucket/prefix"
                + ("" if mine else f" (or was its {IDENTITY} deleted? the workers write it again within a minute)")
            )
