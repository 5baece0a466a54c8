"""A stand-in for Replicate of each test's own, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from replibatch.sandbox import Sandbox, SandboxSettings
from tests.integration.sandbox_caller import Caller


@pytest.fixture
def call() -> Iterator[Caller]:
    """A client of a stand-in whose predictions take 20 ms."""
    with Sandbox(SandboxSettings(latency_seconds=0.02)) as sandbox, Caller(sandbox) as caller:
        yield caller
