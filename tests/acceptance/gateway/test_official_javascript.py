"""Replicate's own JavaScript client, unchanged, in front of the gateway.

It is looked for in `node_modules` of the project: `npm install --no-save replicate@1.4.0`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from tests.acceptance.gateway.conftest import House
from tests.support import PROJECT
from tests.support.catalogue import KONTEXT, QWEN
from tests.support.receiver import receiving
from tests.support.waiting import until

NODE = shutil.which("node")
CLIENT = PROJECT / "node_modules" / "replicate" / "package.json"


@pytest.mark.skipif(NODE is None or not CLIENT.is_file(), reason="no node here, or no replicate in node_modules")
def test_what_it_can_do_of_replicate_it_can_do_of_the_gateway(house: House) -> None:
    key = house.gateway.tenants.add("javascript")
    with receiving() as receiver, house.gateway.client(key) as client:
        body = {"input": {"prompt": "a called fox"}, "webhook": receiver.url}
        client.post(f"/v1/models/{QWEN}/predictions", json=body).raise_for_status()
        until(lambda: receiver.taken, what="the webhook is called")
    headers, content = receiver.taken[0]
    hook = {
        "id": headers["webhook-id"],
        "timestamp": headers["webhook-timestamp"],
        "signature": headers["webhook-signature"],
        "body": content.decode(),
    }
    done = subprocess.run(
        [str(NODE), str(PROJECT / "tests/acceptance/gateway/official.mjs"), house.gateway.url, key, QWEN, KONTEXT],
        env={**os.environ, "REPLICATE_CLIENT": str(CLIENT), "HOOK": json.dumps(hook)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    url, size = told.pop("run")
    assert url.startswith(house.gateway.url) and size > 0 and told.pop("edited") > 0
    assert told.pop("models") >= 8 and told.pop("pages") >= 2
    assert told == {
        "created": "starting",
        "waited": ["succeeded", "string"],
        "got": "succeeded",
        "listed": True,
        "file": [70, "a test", True],
        "deleted": True,
        "model": "qwen-image",
        "account": "javascript",
        "canceled": "canceled",
        "events": ["output", "done"],
        "refused": 422,
        "webhook": [True, False],
    }
