"""Locks between processes, on files: the kernel releases a lock when its last holder ends, however it ends.

A lock belongs to the *open file*: a process that inherits the descriptor holds it too. The files outlive the locks.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

if sys.platform != "win32":
    import fcntl

POLL_SECONDS = 0.01


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """The descriptor that holds the lock now, for `os.close`; None if another process holds it.

    Args:
        path: the file, made if it is not there.
        shared: others may hold it too, if they share it as well.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def lock(path: Path, *, timeout_seconds: float, shared: bool = False) -> int:
    """As `try_lock`, but wait for it.

    Raises:
        TimeoutError: another process still holds it.
    """
    deadline = time.monotonic() + timeout_seconds
    while (descriptor := try_lock(path, shared=shared)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(POLL_SECONDS)
    return descriptor
