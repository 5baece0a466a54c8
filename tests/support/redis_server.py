"""A real Redis for tests."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from replibatch.embedded.server import choose_endpoint, find_server, write_config


class RedisServer:
    """A Redis of the tests' own, on a socket in `folder`.

    Args:
        folder: where it keeps its socket and data; short enough for a socket's path.
        durable: with AOF, as in production; otherwise a restart forgets everything.
        directives: of `redis.conf`, besides: another place to listen, for instance.
        within: what its command line begins with, where it does not run as it is.

    Attributes:
        url: its address, `unix://…`.
        process: the server's process at present.
    """

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = False,
        directives: Sequence[tuple[str, str]] = (),
        within: Sequence[str] = (),
    ) -> None:
        binary = find_server(folder)
        assert binary is not None, "no redis-server: install the project's requirements"
        endpoint = choose_endpoint(folder)
        self.url = endpoint.url
        endpoint = replace(endpoint, directives=(*endpoint.directives, *directives))
        self._command = [*within, str(binary), str(write_config(folder, endpoint, durable=durable))]
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        with Redis.from_url(self.url, retry=None) as redis:
            deadline = time.monotonic() + 10
            while True:
                try:
                    redis.ping()
                except RedisConnectionError:
                    assert process.poll() is None, "redis-server did not start"
                    assert time.monotonic() < deadline, "redis-server does not answer"
                    time.sleep(0.005)
                else:
                    return process

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Stop it as an operator would, and wait until it is gone."""
        self.process.terminate()
        self.process.wait(timeout=10)

    def restart(self) -> None:
        """Stop it if it runs, start it, and wait until it answers; with the data, if it is durable."""
        self.stop()
        self.process = self._start()
