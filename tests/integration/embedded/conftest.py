"""Users of an embedded Redis, and machines without any."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from replibatch.embedded.server import IN_WHEELS
from replibatch.settings import Settings, load
from tests.support.embedded_processes import User


@pytest.fixture
def user() -> Iterator[Callable[..., User]]:
    made: list[User] = []

    def make(then: str = "") -> User:
        made.append(User(then))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture
def settings() -> Settings:
    return load()


@pytest.fixture
def folder(settings: Settings) -> Path:
    return settings.state_dir / "embedded"


@pytest.fixture
def no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any Redis."""
    monkeypatch.setenv("PATH", "")
    for package, _ in IN_WHEELS:
        monkeypatch.setitem(sys.modules, package, None)
