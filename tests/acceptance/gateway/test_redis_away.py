"""Redis goes and comes back: requests are refused in the API's words, and what was accepted is there."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.support.catalogue import QWEN
from tests.support.gateways import running
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

PATH = f"/v1/models/{QWEN}/predictions"


def test_nothing_is_accepted_without_redis_and_nothing_lost(durable_redis: RedisServer, tmp_path: Path) -> None:
    with running(redis_url=durable_redis.url, storage_url=str(tmp_path)) as gateway, gateway.client() as client:

        def create() -> httpx.Response:
            body = {"input": {"prompt": "a fox"}}
            return client.post(PATH, json=body, headers={"Idempotency-Key": "once"})

        created = create().json()["id"]
        durable_redis.kill()
        assert client.get("/readyz").status_code == 503 and client.get("/healthz").status_code == 200
        for answer in (create(), client.get(f"/v1/predictions/{created}")):
            assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
            assert "The queue cannot be reached" in answer.json()["detail"]
        durable_redis.restart()
        until(lambda: client.get("/readyz").status_code == 200, what="it is ready again")
        assert client.get(f"/v1/predictions/{created}").json()["status"] == "starting"
        assert create().json()["id"] == created
        assert [row["id"] for row in client.get("/v1/predictions").json()["results"]] == [created]
