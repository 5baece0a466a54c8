"""This process as a user of the embedded Redis, from `attach` to its end."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

from redis import Redis
from redis.exceptions import BusyLoadingError, RedisError

from replibatch.embedded import locks
from replibatch.embedded.starter import Address, last_words, own_folder, read_address, start
from replibatch.errors import SettingsError
from replibatch.settings import Settings

READY_SECONDS = 15.0  # from nothing, or from a server that is being stopped, to one that answers
LOADING_SECONDS = 300.0  # the same while it reads its data
STARTS = 3  # a port may have been taken meanwhile; a server that cannot start ends after as many
WATCH_SECONDS = 0.25
POLL_SECONDS = 0.005

# Held through every change here. A fork waits for it: no child inherits it locked, or a file lock half handed over.
process_lock = threading.RLock()
_attachments: dict[Path, Attachment] = {}
_log = logging.getLogger(__name__)


class Attachment:
    """One folder's server in use by this process. A forked child shares the descriptor, so it is a user as well.

    Attributes:
        folder: of the server.
        address: where the server listens.
        users_lock: the descriptor that says so; a process that inherits it is a user until it ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._detached = threading.Event()
        self.users_lock = -1
        self._register()
        self._watch()

    def _register(self) -> None:
        """Share `users.lock`, so that the server stays, then make sure that there is one."""
        try:
            users_lock = locks.lock(self.folder / "users.lock", shared=True, timeout_seconds=READY_SECONDS)
        except TimeoutError:
            raise _unusable(self.folder, "the one before it is still being stopped") from None
        try:
            self.address = _running(self.folder)
        except BaseException:
            os.close(users_lock)
            raise
        self.close()
        self.users_lock = users_lock

    def _watch(self) -> None:
        self._watcher = threading.Thread(target=self._keep_alive, name="replibatch-redis-watch", daemon=True)
        self._watcher.start()

    def _keep_alive(self) -> None:
        while not self._detached.wait(WATCH_SECONDS):
            with process_lock:
                try:
                    self.revive()
                except (SettingsError, OSError, subprocess.SubprocessError) as error:
                    _log.warning("%s", error)

    def revive(self) -> None:
        """Start the server again if its keeper was killed; watch on in a forked child, where no thread came along."""
        if self._detached.is_set():
            return
        if (keeper_lock := locks.try_lock(self.folder / "keeper.lock")) is not None:
            os.close(keeper_lock)
            self._register()
        if not self._watcher.is_alive():
            self._watch()

    def close(self) -> None:
        if self.users_lock >= 0:
            os.close(self.users_lock)  # closed, not unlocked: children that inherited it stay users
            self.users_lock = -1

    def detach(self) -> None:
        self._detached.set()
        self.close()


def attachment(settings: Settings) -> Attachment:
    """As `attach`, with the descriptor that a child process inherits to be a user too."""
    if sys.platform == "win32":
        raise SettingsError("embedded mode needs Linux or macOS; on Windows set REPLIBATCH_REDIS_URL")
    with process_lock:
        folder = own_folder(settings.state_dir)
        here = _attachments.get(folder)
        try:
            if here is not None:
                here.revive()
                return here
            here = _attachments[folder] = Attachment(folder)
        except (OSError, subprocess.SubprocessError) as error:  # a full disk, a file system without locks
            raise _unusable(folder, str(error)) from None
        if here.address.is_substitute:
            warnings.warn(_substitute_warning(here.address), stacklevel=3)
        return here


def attach(settings: Settings) -> str:
    """Use the embedded Redis of `settings.state_dir`, started if it does not run; safe to repeat, from any thread.

    This process, and every child it forks, counts as a user until it ends, however it ends; the last one out stops
    the server. A server that dies meanwhile is started again with its data at the same address.

    Returns:
        An address for redis-py: `unix:///path?db=0`, or `redis://:password@127.0.0.1:port/0` where the path would be
        too long for a socket.

    Raises:
        SettingsError: the folder cannot be used, or the server does not start; quotes what it said.

    Warns:
        UserWarning: there is no Redis on this machine, and a substitute with fewer guarantees serves.
    """
    return attachment(settings).address.url


def detach() -> None:
    """Use no embedded Redis any more. The end of the process does the same."""
    with process_lock:
        while _attachments:
            _attachments.popitem()[1].detach()


def _running(folder: Path) -> Address:
    """The address of a server that answers, started here unless one runs."""
    starts = 0
    deadline = time.monotonic() + READY_SECONDS
    loading_deadline = time.monotonic() + LOADING_SECONDS
    while True:
        if (keeper_lock := locks.try_lock(folder / "keeper.lock")) is not None:
            if starts == STARTS:
                os.close(keeper_lock)
                raise _unusable(folder, "it does not start")
            starts += 1
            start(folder, keeper_lock)
        address = read_address(folder)
        try:
            if address is not None:
                with Redis.from_url(address.url, socket_timeout=5, retry=None) as redis:
                    redis.ping()
                return address
        except BusyLoadingError:
            deadline = loading_deadline
        except RedisError:
            pass  # not yet
        if time.monotonic() > deadline:
            elsewhere = address is not None and address.host != platform.node()
            raise _unusable(folder, f"it runs on {address.host}" if address and elsewhere else "no answer in time")
        time.sleep(POLL_SECONDS)


def _unusable(folder: Path, reason: str) -> SettingsError:
    log = folder / "redis.log"
    return SettingsError(
        f"the embedded Redis in {folder} cannot be used: {reason}; its last words in {log.name}: {last_words(log)}; "
        "allowed: fix that, or set REPLIBATCH_REDIS_URL or another REPLIBATCH_STATE_DIR"
    )


def _substitute_warning(address: Address) -> str:
    return (
        "no redis-server on PATH and none in a wheel: fakeredis stands in for it. It keeps nothing on the "
        "disk, so what is queued, what was paid for and the account's limits are forgotten when it ends; every "
        f"user of this machine can reach it at {address.url}. Install Redis, or set REPLIBATCH_REDIS_URL."
    )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=process_lock.acquire,
        after_in_parent=process_lock.release,
        after_in_child=process_lock.release,
    )
