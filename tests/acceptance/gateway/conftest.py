"""A stand-in, a worker process and a gateway that all tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from replibatch.catalog.catalog import built_in_names
from replibatch.sandbox import Sandbox, SandboxSettings
from replibatch.sandbox.hosting import ModelSpec
from tests.acceptance.no_secrets.test_acl import users_of
from tests.support import PROJECT
from tests.support.catalogue import QWEN
from tests.support.gateways import RunningGateway, running
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

VERSION = "5c7d" * 16
MODELS = f"""
["deployment:ours/harbour"]
kind = "image"
typical_seconds = 0.2
price_usd = 0.01
inputs.prompt = "string"
["ours/writer"]
kind = "text"
output = "text"
version = "{VERSION}"
typical_seconds = 0.2
price_usd = 0.01
inputs.prompt = "string"
"""
SECRET = "whsec_" + "c2l4dGVlbiBieXRlcyBhbmQgbW9yZQ=="


@dataclass
class House:
    """All of it.

    Attributes:
        sandbox: the stand-in.
        redis: the server; the worker and the gateway have the rights there that the documentation gives them.
        gateway: in this process.
        key: of the tenant `ours`.
        other_key: of another tenant.
    """

    sandbox: Sandbox
    redis: RedisServer
    gateway: RunningGateway
    key: str
    other_key: str


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Up as long as the tests of this folder run."""
    folder = tmp_path_factory.mktemp("gateway")
    redis_server = RedisServer(folder)
    urls = users_of(redis_server)
    settings = SandboxSettings(
        latency_seconds=0.1,
        long_edge_pixels=64,
        deployments={"ours/harbour": QWEN},
        models={
            "ours/writer": ModelSpec(
                version=VERSION, official=False, inputs={"prompt": {"type": "string"}}, gives="text"
            )
        },
    )
    with Sandbox(settings, port=0) as sandbox, pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.startswith(("REPLICATE_", "REPLIBATCH_")):
                environment.delenv(name)
        environment.setenv("PYTHONPATH", str(PROJECT))
        variables = {
            "REPLICATE_BASE_URL": sandbox.url,
            "REPLICATE_API_TOKEN": "r8_of_the_tests",
            "REPLIBATCH_REDIS_URL": urls["worker"],
            "REPLIBATCH_STORAGE_URL": str(folder / "storage"),
            "REPLIBATCH_STATE_DIR": str(folder / "state"),
            "REPLIBATCH_WEBHOOK_SECRET": SECRET,
            "REPLIBATCH_WEBHOOK_PRIVATE": "true",
        }
        (folder / "storage").mkdir()
        catalog = folder / "quick.toml"
        catalog.write_text("".join(f'["{name}"]\ntypical_seconds = 0.2\n' for name in built_in_names()) + MODELS)
        worker = _worker(folder, variables)
        try:
            given = {
                "replicate_base_url": sandbox.url,
                "redis_url": urls["producer"],
                "storage_url": variables["REPLIBATCH_STORAGE_URL"],
                "state_dir": folder / "state",
                "catalog": catalog,
                "webhook_secret": SECRET,
                "webhook_private": True,
            }
            with running(**given) as gateway:
                until(lambda: gateway.producer.limiter.status().workers, what="the worker is ready")
                yield House(
                    sandbox, redis_server, gateway, gateway.tenants.add("ours"), gateway.tenants.add("others")
                )
        finally:
            worker.terminate()
            worker.wait(30)
            redis_server.stop()


def _worker(folder: Path, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    with (folder / "worker.log").open("wb") as log:
        command = [sys.executable, "-P", "-m", "replibatch", "worker", "--concurrency", "50"]
        return subprocess.Popen(
            command, cwd=folder, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
