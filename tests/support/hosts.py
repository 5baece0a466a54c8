"""Several hosts on one machine: network namespaces plugged into one bridge, whose cables can be pulled.

Needs root and Debian's iproute2. All of it is inside the namespaces; nothing of the machine's own network is touched.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

ADDRESS = "10.77.0.{number}"
HUB = 1  # the number of the host that the bridge is on; whatever all the others use runs there
CLONE_NEWNET = 0x40000000


def why_no_namespaces() -> str:
    """Why this process cannot make network and mount namespaces; empty where it can."""
    if not shutil.which("ip"):
        return "no `ip` on PATH; on Debian: apt-get install iproute2"
    if os.geteuid() != 0:
        return "namespaces need root"
    probe = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False)
    return "this machine permits no namespaces (a container needs CAP_SYS_ADMIN)" if probe.returncode else ""


def require_namespaces() -> None:
    """Skip the test where namespaces cannot be made; fail it in CI, where they can."""
    if reason := why_no_namespaces():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


class Network:
    """A hub and hosts around it, until the `with` block ends.

    Args:
        hosts: how many, besides the hub. Their numbers begin after the hub's.

    Attributes:
        hub_address: where the hub is reached from every host.
        numbers: of the hosts.
    """

    hub_address = ADDRESS.format(number=HUB)

    def __init__(self, hosts: int) -> None:
        self.numbers = range(HUB + 1, HUB + 1 + hosts)
        self._prefix = f"replibatch-{os.getpid()}-"
        self._made: list[str] = []

    def __enter__(self) -> Self:
        try:
            hub = self._make(HUB)
            _ip("-n", hub, "link", "add", "bridge", "type", "bridge")
            _ip("-n", hub, "address", "add", f"{self.hub_address}/24", "dev", "bridge")
            _ip("-n", hub, "link", "set", "bridge", "up")
            for number in self.numbers:
                host, port = self._make(number), f"port{number}"
                _ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host)
                _ip("-n", hub, "link", "set", port, "master", "bridge", "up")
                _ip("-n", host, "address", "add", f"{ADDRESS.format(number=number)}/24", "dev", "eth0")
                _ip("-n", host, "link", "set", "eth0", "up")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def on(self, number: int) -> list[str]:
        """What a command line begins with to run on a host; the process is the command's own."""
        return ["ip", "netns", "exec", self._name(number)]

    def cut(self, number: int) -> None:
        """Pull a host's cable."""
        _ip("-n", self._name(HUB), "link", "set", f"port{number}", "down")

    def join(self, number: int) -> None:
        """Plug it in again."""
        _ip("-n", self._name(HUB), "link", "set", f"port{number}", "up")

    @contextmanager
    def at_hub(self) -> Iterator[None]:
        """Sockets and threads that this thread makes in the `with` block are the hub's."""
        with Path("/proc/thread-self/ns/net").open() as home, Path(f"/run/netns/{self._name(HUB)}").open() as hub:
            _enter(hub.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def _name(self, number: int) -> str:
        return f"{self._prefix}{number}"

    def _make(self, number: int) -> str:
        name = self._name(number)
        _ip("netns", "add", name)
        self._made.append(name)
        _ip("-n", name, "link", "set", "lo", "up")
        return name

    def _remove(self) -> None:
        for name in self._made:
            _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _enter(namespace: int) -> None:
    """Move this thread into a network namespace, by an open descriptor of it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
