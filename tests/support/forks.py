"""`replibatch …` as processes of their own, forked from one that has imported the package already.

Most of what a command takes of the processor is its imports, and the tests run hundreds. Such a process has its own
environment, working directory, streams and signals, and runs `python -m replibatch` to the interpreter's own end.
What a fork cannot show, how a fresh interpreter finds its modules, is tested with fresh ones.

python -P -m tests.support.forks SOCKET    the process that forks, for as long as its standard input is open
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO

from tests.support import PROJECT

LARGEST_MESSAGE = 200_000
COMMANDS = "replibatch.cli.commands"
WORKERS = ("celery.apps.worker", "celery.backends.redis", "celery.bin.celery", "celery.concurrency.thread")
MORE = (*WORKERS, "kombu.transport.redis", "replibatch.execution.attempt", "replibatch.polling.watcher")
READS_SETTINGS = "replibatch.worker.app"  # as it is imported: each worker imports its own


class Forked:
    """A command's process; as `subprocess.Popen`, with less of it.

    Args:
        arguments: of `replibatch`.
        environment: all of it.
        streams: descriptors of its standard input, output and error.
        cwd: the working directory.
        apart: whether it has a session, and so a process group, of its own.

    Attributes:
        pid: the process's.
        returncode: its exit code, minus the signal that ended it, or None while it runs.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        streams: Sequence[int],
        cwd: str,
        *,
        apart: bool = False,
    ) -> None:
        self.args = ["replibatch", *arguments]
        self.returncode: int | None = None
        self._forker = _connect(_server())
        request = json.dumps([self.args, dict(environment), cwd, apart]).encode()
        socket.send_fds(self._forker, [request], list(streams))
        self.pid = int(self._forker.recv(100))

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        if self.returncode is None and select.select([self._forker], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not.
        """
        if self.returncode is None:
            if not select.select([self._forker], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self.returncode = int(self._forker.recv(100))
            self._forker.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Started(Forked):
    """A command that goes on, in a process group of its own; what it says is kept until it has ended.

    Args:
        arguments: of `replibatch`.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._said = [tempfile.TemporaryFile() for _ in ("out", "err")]  # noqa: SIM115 - `close` closes them
        with Path(os.devnull).open() as nothing:
            streams = [each.fileno() for each in (nothing, *self._said)]
            super().__init__(arguments, os.environ, streams, str(Path.cwd()), apart=True)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has said on standard output and error, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not.
        """
        self.wait(timeout)
        return _text(self._said[0]), _text(self._said[1])

    def errors_so_far(self) -> str:
        """What it has said on standard error."""
        return os.pread(self._said[1].fileno(), LARGEST_MESSAGE, 0).decode(errors="replace")

    def close(self) -> None:
        """Kill what is left of it."""
        self.kill()
        self.wait()
        for each in self._said:
            each.close()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def run(
    arguments: Sequence[str],
    *,
    timeout_seconds: float,
    input: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as `subprocess.run` does with `capture_output` and `text`.

    Raises:
        subprocess.TimeoutExpired: it has not ended in time, and was killed.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        read, write = os.pipe()
        os.set_blocking(write, False)
        assert os.write(write, input.encode()) == len(input.encode()), "more than a pipe holds"
        os.close(write)
        process = Forked(arguments, env or os.environ, [read, out.fileno(), err.fileno()], str(cwd or Path.cwd()))
        os.close(read)
        try:
            process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        return subprocess.CompletedProcess(process.args, process.wait(), _text(out), _text(err))


@functools.cache
def _server() -> str:
    """The socket of the process that forks: one for each process that runs tests, ended with it."""
    folder = tempfile.TemporaryDirectory(prefix="forks-")
    path = f"{folder.name}/socket"
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.support.forks", path], stdin=subprocess.PIPE, cwd=PROJECT
    )

    def stop() -> None:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        folder.cleanup()

    atexit.register(stop)
    while not Path(path).exists():
        assert process.poll() is None, "it does not start"
        time.sleep(0.01)
    return path


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_MESSAGE)
    connection.connect(path)
    return connection


def serve(path: str) -> None:
    """Fork a process for each that asks; return in those processes alone, each ready to run its command."""
    _import_everything()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path + ".new")
        listener.listen(100)
        Path(path + ".new").rename(path)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                sys.exit()
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _look_after(connection)
                return
            connection.close()
            _reap()


def _import_everything() -> None:
    for name in MORE:
        import_module(name)
    for module in pkgutil.iter_modules(import_module(COMMANDS).__path__):
        import_module(f"{COMMANDS}.{module.name}")
    assert READS_SETTINGS not in sys.modules
    gc.collect()
    gc.freeze()


def _reap() -> None:
    with_children = True
    while with_children:
        try:
            with_children = os.waitpid(-1, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return


def _look_after(connection: socket.socket) -> None:
    """Fork the command's process, where this returns; here, tell its id and its exit code, and end."""
    request, streams, _, _ = socket.recv_fds(connection, LARGEST_MESSAGE, 3)
    arguments, environment, folder, apart = json.loads(request)
    if pid := os.fork():
        for stream in streams:
            os.close(stream)
        connection.send(str(pid).encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        try:
            connection.send(str(code).encode())
        finally:
            os._exit(0)
    connection.close()
    if apart:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv[:] = arguments


if __name__ == "__main__":
    serve(sys.argv[1])
    runpy.run_module("replibatch", run_name="__main__", alter_sys=True)
