"""The worker that a process of embedded mode brings along: a child that ends when its parent does."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from replibatch.embedded.attachment import Attachment, attachment, process_lock
from replibatch.embedded.starter import last_words
from replibatch.errors import ReplibatchError, SettingsError
from replibatch.settings import Settings

PARENT_DESCRIPTOR = "REPLIBATCH_PARENT_FD"  # set in the child alone: the pipe that ends with its parent
DEFAULT_CONCURRENCY = 100
EX_USAGE = 2  # of a worker that found a setting that cannot be used
STOP_SECONDS = 10.0  # to hand over running predictions
ORPHAN_STOP_SECONDS = 30.0  # the same with no parent to wait for it
LOGS_KEPT = 20

_started: set[EmbeddedWorker] = set()
_workers: dict[Settings, EmbeddedWorker] = {}  # the ones that `ensure_worker` hands out
_starts = itertools.count(1)


def worker_command(concurrency: int) -> list[str]:
    """The command line of the worker. `-P`: nothing in the working directory can stand in for our packages."""
    return [
        *(sys.executable, "-P", "-m", "replibatch", "worker"),
        *("--concurrency", str(concurrency), "--quiet"),
    ]


class EmbeddedWorker:
    """A worker process, running from the moment this is made.

    It has a session of its own, so Ctrl-C reaches the parent alone, which decides; and it is a user of the embedded
    Redis, which therefore outlives it, whatever becomes of the parent.

    Args:
        settings: what the child sees, argument for argument.
        here: the embedded Redis in use.
        command: what to run.
        log: the file for everything it says.
    """

    def __init__(self, settings: Settings, here: Attachment, command: Sequence[str], log: Path) -> None:
        self.log = log
        self._stopped = False
        with log.open("ab") as said:
            self._process = subprocess.Popen(  # noqa: S603 - the command is our own
                command,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                env=_environment(settings, here.address.url),
                pass_fds=[here.users_lock],
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def check(self) -> None:
        """Do nothing while it runs, or was stopped.

        Raises:
            SettingsError: it found a setting that cannot be used.
            ReplibatchError: it died; quotes its last words.
        """
        if not self._stopped and (code := self._process.poll()) is not None:
            words = last_words(self.log)
            if code == EX_USAGE:
                raise SettingsError(words.rpartition("replibatch: ")[2])
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise ReplibatchError(f"the embedded worker ended ({how}); its last words in {self.log}: {words}")

    def ask_to_stop(self) -> None:
        """SIGTERM: it starts nothing more and hands over running predictions."""
        self._stopped = self._stopped or self.alive()
        self._process.terminate()

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Ask it to stop, wait, and kill it if it does not. Safe to repeat."""
        self.ask_to_stop()
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._let_go()

    def disown(self) -> None:
        """In a forked child: it is the parent's, and the parent's end of the pipe must be the only one."""
        self._process.returncode = 0
        self._let_go()

    def _let_go(self) -> None:
        _started.discard(self)
        if self._process.stdin is not None:
            self._process.stdin.close()


def start_worker(
    settings: Settings, concurrency: int = DEFAULT_CONCURRENCY, *, command: Sequence[str] | None = None
) -> EmbeddedWorker:
    """Start a worker on the embedded Redis of `settings`; it ends when this process ends, however it ends.

    Args:
        settings: what it sees. The token is in its environment alone.
        concurrency: generations it works on at a time.
        command: another command line than `worker_command`'s.

    Raises:
        SettingsError: as `attach`.
    """
    here = attachment(settings)
    with process_lock:
        worker = EmbeddedWorker(settings, here, command or worker_command(concurrency), _new_log(here.folder))
        _started.add(worker)
        return worker


def ensure_worker(settings: Settings, concurrency: int = DEFAULT_CONCURRENCY) -> EmbeddedWorker:
    """The worker of this process for these settings: the one that runs, or a new one if there is none or it died.

    The concurrency is that of the first call. Safe from any thread; a forked child gets a worker of its own.

    Raises:
        SettingsError: as `attach`.
    """
    with process_lock:
        worker = _workers.get(settings)
        if worker is not None and worker.alive():
            return worker
        if worker is not None:
            worker.stop()
        worker = _workers[settings] = start_worker(settings, concurrency)
        return worker


def stop_workers(timeout_seconds: float = STOP_SECONDS) -> None:
    """Stop every worker that this process started, all at once."""
    with process_lock:
        workers = list(_started)
        _workers.clear()
    for worker in workers:
        worker.ask_to_stop()
    for worker in workers:
        worker.stop(timeout_seconds)


def watch_parent() -> None:
    """The worker's half: SIGTERM for this process when the one that started it is gone. Without one, nothing."""
    descriptor = os.environ.get(PARENT_DESCRIPTOR)
    if descriptor is not None:
        threading.Thread(
            target=_end_with_parent, args=(int(descriptor),), name="replibatch-parent-watch", daemon=True
        ).start()


def _end_with_parent(descriptor: int) -> None:
    with suppress(OSError):
        while os.read(descriptor, 64):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_STOP_SECONDS)
    os._exit(1)  # no parent is left to kill a worker that cannot stop, and it would keep Redis running


def _environment(settings: Settings, redis_url: str) -> dict[str, str]:
    """This process's environment, with the settings as they are here.

    Only what was given is passed on: a default must not look to the fleet like a limit set on purpose.
    """
    fields = {name: str(field.alias) for name, field in Settings.model_fields.items()}
    environment = {name: value for name, value in os.environ.items() if name not in fields.values()}
    for name in settings.model_fields_set & fields.keys():
        value = getattr(settings, name)
        if value is not None:
            environment[fields[name]] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    environment["REPLIBATCH_STATE_DIR"] = str(settings.state_dir)
    environment["REPLIBATCH_REDIS_URL"] = redis_url
    environment[PARENT_DESCRIPTOR] = "0"
    return environment


def _new_log(folder: Path) -> Path:
    """A log for the next start; the oldest ones go."""
    for old in sorted(folder.glob("worker-*.log"))[:-LOGS_KEPT]:
        old.unlink(missing_ok=True)
    log = folder / f"worker-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}-{next(_starts)}.log"
    log.touch(mode=0o600)
    return log


def _forked() -> None:
    _workers.clear()
    for worker in list(_started):
        worker.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
