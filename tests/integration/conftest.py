"""A stand-in for Replicate of each test's own, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from replibatch.replicate_api import ReplicateAPI
from replibatch.sandbox import Sandbox, SandboxSettings
from tests.integration.account import TOKEN, account
from tests.integration.sandbox_caller import Caller


@pytest.fixture
def call() -> Iterator[Caller]:
    """A client of a stand-in whose predictions take 20 ms."""
    with Sandbox(SandboxSettings(latency_seconds=0.02)) as sandbox, Caller(sandbox) as caller:
        yield caller


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A stand-in whose predictions take 50 ms and that lets in our token alone."""
    settings = SandboxSettings(latency_seconds=0.05, accepted_tokens=frozenset({SecretStr(TOKEN)}))
    with Sandbox(settings) as running:
        yield running


@pytest.fixture
def api(sandbox: Sandbox) -> Iterator[ReplicateAPI]:
    """The project's own client of it."""
    with account(sandbox.url) as opened:
        yield opened
