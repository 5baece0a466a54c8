"""`replibatch flower` as a process of the fleet."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.support.waiting import until

LOGIN = ("operator", "correct horse")


class FlowerServer:
    """One that runs.

    Args:
        folder: for its log.
        environment: its variables.
        by: another module and its arguments that run it.
        without_password: whether anybody may read it.

    Attributes:
        url: where.
        log: the file for what it says.
        client: logged in, where a password is asked for.
    """

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        by: Sequence[str] = ("replibatch", "flower"),
        *,
        without_password: bool = False,
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / f"flower-{port}.log"
        password = {} if without_password else {"FLOWER_BASIC_AUTH": ":".join(LOGIN)}
        own = {"FLOWER_PORT": str(port), **password, **environment}
        with self.log.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", *by],
                stdout=said,
                stderr=said,
                env={**os.environ, **own},
            )
        self.client = httpx.Client(base_url=self.url, auth=LOGIN, timeout=30)
        until(lambda: self._process.poll() is not None or self._answers(), what="Flower answers")
        assert self._process.poll() is None, self.log.read_text()

    def _answers(self) -> bool:
        try:
            return self.client.get("/healthcheck").status_code == 200
        except httpx.TransportError:
            return False

    def figures(self) -> Any:
        """What the page is told at this moment."""
        return self.client.get("/replibatch/fleet.json").json()

    def without_login(self, **headers: str) -> httpx.Client:
        """A client without the login."""
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def close(self) -> None:
        self.client.close()
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise


def basic(login: str) -> str:
    """An `Authorization` header."""
    return "Basic " + base64.b64encode(login.encode()).decode()
