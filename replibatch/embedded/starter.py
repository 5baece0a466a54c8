"""Starts the embedded Redis under its keeper, in a folder of the user's own.

Files there: `users.lock` (shared by every process that uses the server), `keeper.lock` and `server.lock` (held for as
long as one lives), `address` (where it listens), `redis.conf`, `redis.log`, and the data.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from replibatch.embedded import locks, server
from replibatch.errors import SettingsError

KEEPER = Path(__file__).with_name("keeper.py")  # scripts: what they import is not for this process
SUBSTITUTE = Path(__file__).with_name("substitute.py")
ORPHAN_SECONDS = 5.0  # for a server to end after its keeper was killed
LARGEST_LOG_BYTES = 1_000_000


@dataclass(frozen=True)
class Address:
    """Where the server of a folder listens.

    Attributes:
        url: for redis-py, with the password where there is one.
        host: the machine it runs on.
        is_substitute: it is not a real Redis.
    """

    url: str
    host: str
    is_substitute: bool


def own_folder(state_dir: Path) -> Path:
    """The folder of the embedded server, made if missing; only its owner can enter it.

    Raises:
        SettingsError: it cannot be made, or another user owns it.
    """
    folder = state_dir.expanduser().resolve() / "embedded"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError(0, "another user owns it")
        if stat.S_IMODE(found.st_mode) != 0o700:
            folder.chmod(0o700)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(0, "it cannot be written")
    except OSError as error:
        raise SettingsError(
            f"REPLIBATCH_STATE_DIR is {str(state_dir)!r}: {folder}: {error.strerror}; allowed: a folder of your own"
        ) from None
    return folder


def read_address(folder: Path) -> Address | None:
    """What the last start wrote; None before the first."""
    try:
        return Address(**json.loads((folder / "address").read_text("utf-8")))
    except FileNotFoundError:
        return None


def start(folder: Path, keeper_lock: int) -> None:
    """Start a server and its keeper; both go on when this process ends.

    Args:
        folder: from `own_folder`.
        keeper_lock: the descriptor that holds `keeper.lock`. The keeper inherits it, so the lock is never free
            between the two; it is closed here.

    Raises:
        SettingsError: no server that could read the data there was found, or an old one does not end.
    """
    server_lock = None
    try:
        server_lock = _lock_server(folder)
        command, address = _prepare(folder)
        server.write_private(folder / "address", json.dumps(asdict(address)))
        with _log(folder).open("ab") as log:
            subprocess.run(  # noqa: S603 - the command is our own
                [
                    *(sys.executable, "-I", "-S", str(KEEPER)),
                    *(str(folder / "users.lock"), str(keeper_lock), str(server_lock)),
                    *command,
                ],
                pass_fds=[keeper_lock, server_lock],
                start_new_session=True,  # Ctrl-C in this terminal is not for them
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                umask=0o077,
                env={
                    name: value
                    for name, value in os.environ.items()
                    if not name.startswith(("REPLICATE_", "REPLIBATCH_"))
                },
                check=True,
            )
    finally:
        os.close(keeper_lock)
        if server_lock is not None:
            os.close(server_lock)


def last_words(log: Path, lines: int = 3) -> str:
    """The last lines of a log, on one line, to be quoted in an error."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            said = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        said = []
    return " | ".join([line.strip() for line in said if line.strip()][-lines:]) or "(nothing)"


def _prepare(folder: Path) -> tuple[list[str], Address]:
    """The command that starts the server of this folder, and where it will listen."""
    host = platform.node()
    binary = server.find_server(folder)
    if binary is None:
        port = server.free_port()
        command = [sys.executable, "-P", str(SUBSTITUTE), str(port)]
        return command, Address(f"redis://127.0.0.1:{port}/0", host, is_substitute=True)
    endpoint = server.choose_endpoint(folder)
    (folder / "redis.sock").unlink(missing_ok=True)  # an old one must not be taken for the new
    config = server.write_config(folder, endpoint)
    return [str(binary), str(config)], Address(endpoint.url, host, is_substitute=False)


def _lock_server(folder: Path) -> int:
    """Take `server.lock`; a server that outlived its keeper is ended first, for two must not write one file."""
    path = folder / "server.lock"
    for ending in (signal.SIGTERM, signal.SIGKILL):
        if (descriptor := locks.try_lock(path)) is not None:
            return descriptor
        with suppress(ValueError, ProcessLookupError, PermissionError):  # not written yet, or long gone
            os.kill(int(path.read_text("ascii")), ending)
        with suppress(TimeoutError):
            return locks.lock(path, timeout_seconds=ORPHAN_SECONDS)
    raise SettingsError(
        f"{folder}: an earlier Redis, process {path.read_text('ascii').strip()}, does not end; "
        "allowed: end it, or another REPLIBATCH_STATE_DIR"
    )


def _log(folder: Path) -> Path:
    log = folder / "redis.log"
    if log.exists() and log.stat().st_size > LARGEST_LOG_BYTES:
        log.replace(folder / "redis.log.1")
    log.touch(mode=0o600)
    return log
