"""A primary with a replica, and the sentinels that make the one the other's successor."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from redis.sentinel import MasterNotFoundError, Sentinel

from replibatch.embedded.server import find_server, free_port
from tests.support.waiting import until

NAME, PASSWORD, SENTINEL_PASSWORD = "mymaster", "pw", "sp"
DOWN_AFTER_MILLISECONDS = 1000
COUNT = 3


class Sentinels:
    """The servers, on loopback ports, each with its data in a folder of its own.

    Args:
        folder: where those folders are.
        user: the name and the ACL rules of whoever uses them; its password among the rules.

    Attributes:
        nodes: port and process of each Redis; the first one is the primary at first.
        sentinels: ports.
    """

    def __init__(self, folder: Path, user: tuple[str, Sequence[str]]) -> None:
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        self.sentinels = [free_port() for _ in range(COUNT)]
        self.nodes: dict[int, subprocess.Popen[bytes]] = {}
        name, rules = user
        self._common = f'save ""\nrequirepass {PASSWORD}\nmasterauth {PASSWORD}\nuser {name} {" ".join(rules)}\n'
        primary = self._start_node("")
        self._start_node(f"replicaof 127.0.0.1 {primary}\n")
        for port in self.sentinels:
            self._start_sentinel(port, primary)
        until(lambda: all(map(self._is_ready, self.sentinels)), what="the sentinels know all of it")

    def _start_node(self, more: str) -> int:
        port = free_port()
        self.nodes[port] = self._start(
            port,
            f"{self._common}{more}appendonly yes\nappendfsync always\nmaxmemory-policy noeviction\n"
            "repl-diskless-sync-delay 0\n",
        )
        return port

    def _start_sentinel(self, port: int, primary: int) -> None:
        self._start(
            port,
            f"requirepass {SENTINEL_PASSWORD}\nsentinel sentinel-pass {SENTINEL_PASSWORD}\n"
            f"sentinel monitor {NAME} 127.0.0.1 {primary} 2\nsentinel auth-pass {NAME} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MILLISECONDS}\n"
            f"sentinel failover-timeout {NAME} 10000\n",
            "--sentinel",
        )

    def _start(self, port: int, config: str, *options: str) -> subprocess.Popen[bytes]:
        folder = self._folder / str(port)
        folder.mkdir()
        path = folder / "redis.conf"
        path.write_text(f"bind 127.0.0.1\nport {port}\ndir {folder}\nlogfile {folder}/log\n{config}")
        server = find_server(folder)
        assert server is not None
        self._started.append(subprocess.Popen([server, path, *options], stdout=subprocess.DEVNULL))
        return self._started[-1]

    def _is_ready(self, port: int) -> bool:
        try:
            with Redis(port=port, password=SENTINEL_PASSWORD, decode_responses=True) as sentinel:
                state = sentinel.sentinel_master(NAME)
            others = int(state["num-other-sentinels"])
            return others == COUNT - 1 and int(state["num-slaves"]) == 1 and self._is_replicating()
        except RedisError:
            return False

    def _is_replicating(self) -> bool:
        with Redis(port=self.primary, password=PASSWORD) as redis:
            return bool(redis.info("replication").get("slave0", {}).get("state") == "online")

    @property
    def primary(self) -> int:
        """The port of the primary, as the sentinels see it."""
        sentinel = Sentinel(
            [("127.0.0.1", port) for port in self.sentinels], sentinel_kwargs={"password": SENTINEL_PASSWORD}
        )
        return int(sentinel.discover_master(NAME)[1])

    def url(self, user: str, password: str) -> str:
        """The address for `REPLIBATCH_REDIS_URL`."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"sentinel://{user}:{password}@{hosts}/{NAME}/0?sentinel_password={SENTINEL_PASSWORD}"

    def kill_primary(self) -> None:
        """As its machine would die; returns when another is the primary."""
        killed = self.primary
        self.nodes[killed].kill()
        self.nodes[killed].wait()

        def is_followed() -> bool:
            try:
                return self.primary != killed
            except MasterNotFoundError:
                return False

        until(is_followed, what="the replica is the primary")

    def stop(self) -> None:
        for process in reversed(self._started):  # sentinels first
            process.kill()
            process.wait()
