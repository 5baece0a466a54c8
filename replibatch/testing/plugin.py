"""The fixtures, found by pytest by their entry point. Nothing is loaded before a test asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from replibatch.testing.fake import Fake
    from replibatch.testing.stand_in import StandIn


@pytest.fixture
def replibatch_fake(tmp_path: Path) -> Iterator[Fake]:
    """An account with results that the test orders: in this process, no server, no network, no waiting."""
    from replibatch.testing.fake import Fake  # noqa: PLC0415  # for the tests that use it

    with Fake(tmp_path / "replibatch-outputs") as fake:
        yield fake


@pytest.fixture(scope="session")
def _replibatch_stand_in() -> Iterator[StandIn]:
    from replibatch.testing.stand_in import StandIn  # noqa: PLC0415  # for the tests that use it

    with StandIn() as stand_in:
        yield stand_in


@pytest.fixture
def replibatch_sandbox(_replibatch_stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The whole queue on the stand-in for Replicate: Redis and worker are shared by the session, and empty."""
    for name, value in _replibatch_stand_in.environment.items():
        monkeypatch.setenv(name, value)
    _replibatch_stand_in.reset()
    yield _replibatch_stand_in
    _replibatch_stand_in.settle_down()
