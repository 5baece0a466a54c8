"""Keeps one Redis running while any process uses it, and starts it again if it dies.

A script of its own, on the standard library alone: it starts in 20 ms and needs no package to be found.

Usage: keeper.py USERS_LOCK KEEPER_DESCRIPTOR SERVER_DESCRIPTOR COMMAND…

Every process that uses the server shares the lock on the file USERS_LOCK. The keeper waits to hold it alone; then
no user is left. The two descriptors are locks that it inherits from the process that starts it: the first says that a
keeper lives, the second, which the server inherits in turn, that a server does.
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

STOP_SECONDS = 10.0  # then a server that does not stop is killed; what it acknowledged is on the disk
SETTLED_SECONDS = 2.0  # a server that ran for this long did start
LONGEST_PAUSE_SECONDS = 2.0
PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """In the server's process, before it is the server: have the kernel stop it when the keeper dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Server:
    """The server's process, and the next one when it died.

    Args:
        command: what starts it, in the foreground.
        descriptor: the lock it inherits; the file says which process it is.
    """

    def __init__(self, command: Sequence[str], descriptor: int) -> None:
        self._command = command
        self._descriptor = descriptor
        self._stopping = threading.Event()
        self._turn = threading.Lock()  # between starting it and stopping it
        self._process = self._start()
        self._thread = threading.Thread(target=self._keep_running)
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603 - the command is our own
            self._command,
            pass_fds=[self._descriptor],
            preexec_fn=end_with_parent,  # noqa: PLW1509 - the other thread is asleep in flock
        )
        os.pwrite(self._descriptor, f"{process.pid:<10}".encode(), 0)
        return process

    def _keep_running(self) -> None:
        settled, pause_seconds = False, 0.0
        while True:
            started = time.monotonic()
            code = self._process.wait()
            if time.monotonic() - started > SETTLED_SECONDS:
                settled, pause_seconds = True, 0.0
            elif code > 0 and not settled:
                os._exit(1)  # it cannot start, and has said why; the processes that wait find the locks free
            if self._stopping.wait(pause_seconds):
                return
            pause_seconds = min(2 * pause_seconds + 0.1, LONGEST_PAUSE_SECONDS)
            with self._turn:
                if self._stopping.is_set():
                    return
                self._process = self._start()

    def stop(self) -> None:
        with self._turn:
            self._stopping.set()
            self._process.terminate()
        self._thread.join(STOP_SECONDS)
        self._process.kill()
        self._thread.join()


def main() -> None:
    users_lock, keeper_descriptor, server_descriptor, *command = sys.argv[1:]
    if os.fork():
        os._exit(0)  # the process that starts us has nothing to wait for, and no child to bury
    users = os.open(users_lock, os.O_RDWR | os.O_CREAT, 0o600)
    server = Server(command, int(server_descriptor))
    fcntl.flock(users, fcntl.LOCK_EX)
    server.stop()
    # A newcomer waits for `users`, which goes last: it finds the others free.
    os.close(int(server_descriptor))
    os.close(int(keeper_descriptor))


if __name__ == "__main__":
    main()
