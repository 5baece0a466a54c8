"""`docker-compose.yml` without Docker: its services as processes of this machine, as the file says.

What a container would add is played as far as that goes: a root file system nothing can be written to, a writable
`/tmp` and volume, an environment that holds what the file names and nothing else.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from replibatch.embedded.server import find_server
from tests.support import PROJECT
from tests.support.hosts import why_no_namespaces

VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\})")


class MissingVariable(LookupError):
    """A variable the file insists on is not set; the message is the file's own."""


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """Put variables into every text of a document, as Compose does: `${A}`, `${A:-default}`, `${A:?why}`, `$$`."""

    def put(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "$"
        found = variables.get(match["name"], "")
        if not found and match["kind"] == "?":
            raise MissingVariable(f"{match['name']}: {match['rest']}")
        return found or (match["rest"] if match["kind"] == "-" else "")

    if isinstance(value, str):
        return VARIABLE.sub(put, value)
    if isinstance(value, dict):
        return {key: interpolate(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [interpolate(each, variables) for each in value]
    return value


def read(variables: Mapping[str, str]) -> dict[str, Any]:
    """The services of the project's file, with variables put in."""
    document = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    services: dict[str, Any] = interpolate(document, variables)["services"]
    return services


def seconds(duration: str) -> float:
    """A duration as Compose writes it: `1m30s`, `10s`."""
    match = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", duration)
    assert match, duration
    return 60.0 * int(match[1] or 0) + int(match[2] or 0)


@dataclass
class Stack:
    """The file's services on this machine.

    Attributes:
        folder: for volumes and logs.
        variables: what `.env` holds.
        redis_port: where Redis listens, instead of on a network of containers.
        flower_port: the same of Flower.
    """

    folder: Path
    variables: Mapping[str, str]
    redis_port: int
    flower_port: int

    def __post_init__(self) -> None:
        self.services = read(self.variables)
        self.outputs = self.folder / "outputs"
        self.outputs.mkdir()

    def start(self, service: str, number: int = 1) -> subprocess.Popen[bytes]:
        """Start a container's process; its output goes to `<service>-<number>.log`."""
        settings = self.services[service]
        temporary = self.folder / f"{service}-{number}-tmp"
        temporary.mkdir()
        if service == "redis":
            command = self._redis_command(settings["command"])
        else:
            replibatch = str(Path(sys.executable).with_name("replibatch"))  # the image's entry point
            writable = [temporary] if service == "flower" else [temporary, self.outputs]
            command = [*_read_only(*writable), replibatch, *settings["command"]]
        with self.log(service, number).open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=self.outputs,
                env=self._environment(settings, temporary),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def log(self, service: str, number: int = 1) -> Path:
        """What a container said."""
        return self.folder / f"{service}-{number}.log"

    def redis_url(self) -> str:
        """The address of Redis for a producer on this machine."""
        return self._here(self.services["worker"]["environment"]["REPLIBATCH_REDIS_URL"])

    def _redis_command(self, command: list[str]) -> list[str]:
        data = self.folder / "redis-data"
        data.mkdir()
        binary = find_server(data)
        assert binary is not None and command[0] == "redis-server"
        here = ["--port", str(self.redis_port), "--bind", "127.0.0.1", "--dir", str(data)]
        return [str(binary), *command[1:], *here]

    def _environment(self, settings: dict[str, Any], temporary: Path) -> dict[str, str]:
        environment = dict(self.variables) if "env_file" in settings else {}
        environment |= {name: str(value) for name, value in settings.get("environment", {}).items()}
        environment = {name: self._here(value) for name, value in environment.items()}
        return environment | {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(temporary),
            "HOME": str(temporary),
            "FLOWER_PORT": str(self.flower_port),
        }

    def _here(self, value: str) -> str:
        """An address inside the network of containers, or a place inside one, as it is on this machine."""
        value = value.replace("@redis:6379/", f"@127.0.0.1:{self.redis_port}/")
        return str(self.outputs) if value == "/outputs" else value


def _read_only(*writable: Path) -> list[str]:
    """What a command line begins with to find every file system read-only but some folders; needs root."""
    if why_no_namespaces():
        return []
    binds = " && ".join(f'mount --bind "{folder}" "{folder}"' for folder in writable)
    script = f'{binds} && mount -o remount,bind,ro / && exec "$@"'
    unshare = shutil.which("unshare")
    assert unshare
    return [unshare, "--mount", "sh", "-ec", script, "sh"]
