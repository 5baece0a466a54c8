"""A primary, its replica and real sentinels, for tests of failovers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from replibatch.embedded.server import free_port
from tests.support.waiting import until

NAME = "queue"
DOWN_AFTER_MS = 2000


class Sentinels:
    """Two servers that replicate, and three sentinels that watch them.

    Args:
        folder: where they keep their files.
    """

    def __init__(self, folder: Path) -> None:
        self.ports = [free_port() for _ in range(2)]
        self._folder = folder
        self.servers = {port: self._server(port) for port in self.ports}
        self.client(self.ports[1]).replicaof("127.0.0.1", self.ports[0])
        until(lambda: self.client(self.ports[0]).info("replication")["connected_slaves"] == 1, what="it replicates")
        self._sentinel_ports = [free_port() for _ in range(3)]
        self._sentinels = [self._sentinel(port) for port in self._sentinel_ports]
        until(lambda: all(self._knows(port) for port in self._sentinel_ports), what="the sentinels know each other")

    @property
    def url(self) -> str:
        """The address of the fleet's Redis."""
        return f"sentinel://{','.join(f'127.0.0.1:{port}' for port in self._sentinel_ports)}/{NAME}/0"

    def primary(self) -> int:
        """The port of the primary, as a sentinel has it."""
        for port in self._sentinel_ports:
            try:
                return int(self.client(port).execute_command("SENTINEL", "get-master-addr-by-name", NAME)[1])
            except RedisError:
                continue
        raise AssertionError("no sentinel answers")

    def fail_over(self) -> None:
        """As an operator orders it; returns once the other one is the primary."""
        before = self.primary()
        until(self._order, what="the order is taken", seconds=30)
        until(lambda: self.primary() != before, what="the other one is the primary", seconds=30)

    def _order(self) -> bool:
        try:
            self.client(self._sentinel_ports[0]).execute_command("SENTINEL", "FAILOVER", NAME)
        except RedisError:  # one is under way, or the replica is not ready
            time.sleep(0.5)
            return False
        return True

    def kill_primary(self) -> int:
        """`kill -9`; returns its port once the other one is the primary."""
        before = self.primary()
        self.servers[before].kill()
        self.servers[before].wait()
        until(lambda: self.primary() != before, what="the other one is the primary", seconds=30)
        return before

    def part(self, seconds: float) -> None:
        """The primary stands still, as if cut off, and comes back as it was."""
        before = self.primary()
        self.servers[before].send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.servers[before].send_signal(signal.SIGCONT)
        until(lambda: self.primary() != before, what="the other one is the primary", seconds=30)

    def restart(self, port: int) -> None:
        """Start a server that was killed; the sentinels make it a replica."""
        self.servers[port] = self._server(port)

    def healthy(self) -> bool:
        """Whether the primary has its replica."""
        try:
            return bool(self.client(self.primary()).info("replication")["connected_slaves"] == 1)
        except RedisError:
            return False

    def stop(self) -> None:
        """End all of them."""
        for process in (*self._sentinels, *self.servers.values()):
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def client(self, port: int) -> Redis:
        """A client of one of them."""
        return Redis(port=port, decode_responses=True, socket_timeout=2)

    def _server(self, port: int) -> subprocess.Popen[bytes]:
        folder = self._folder / str(port)
        folder.mkdir(exist_ok=True)
        binary = shutil.which("redis-server") or ""
        command = [
            binary, "--port", str(port), "--dir", str(folder), "--appendonly", "yes", "--appendfsync", "always",
            "--save", "", "--repl-diskless-sync-delay", "0", "--bind", "127.0.0.1",
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(lambda: self._answers(port), what="a server answers")
        return process

    def _sentinel(self, port: int) -> subprocess.Popen[bytes]:
        config = self._folder / f"sentinel-{port}.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {self._folder}\n"
            f"sentinel monitor {NAME} 127.0.0.1 {self.ports[0]} 2\n"
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\nsentinel failover-timeout {NAME} 10000\n"
        )
        binary = shutil.which("redis-sentinel") or "/usr/bin/redis-sentinel"
        process = subprocess.Popen([binary, str(config)], stdout=subprocess.DEVNULL, env={**os.environ})
        until(lambda: self._answers(port), what="a sentinel answers")
        return process

    def _answers(self, port: int) -> bool:
        try:
            return bool(self.client(port).ping())
        except RedisError:
            return False

    def _knows(self, port: int) -> bool:
        master = self.client(port).execute_command("SENTINEL", "MASTER", NAME)
        fields = master if isinstance(master, dict) else dict(zip(master[::2], master[1::2], strict=True))
        return int(fields["num-other-sentinels"]) == 2 and int(fields["num-slaves"]) == 1
