"""A stand-in for Replicate of each test's own, and clients of it; a record."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from redis import Redis

from replibatch.jobs import Batches, Jobs
from replibatch.replicate_api import ReplicateAPI
from replibatch.sandbox import Sandbox, SandboxSettings
from replibatch.settings import load
from tests.support.account import TOKEN, account
from tests.support.sandbox_caller import Caller


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


@pytest.fixture
def jobs(redis_url: str) -> Iterator[Jobs]:
    """One process's, of an account that can make use of four generations at once."""
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        jobs = Jobs(redis, load(), "this/1/process")
        jobs.capacity = 4
        yield jobs


@pytest.fixture
def batches(jobs: Jobs) -> Batches:
    """Its batches."""
    return Batches(jobs)
