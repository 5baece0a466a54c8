"""Every key that a whole run leaves in Redis is in the table of keys, with its type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from redis import Redis

from replibatch import BatchRequest, enqueue
from replibatch.redisdb import keys
from replibatch.sandbox import Sandbox
from replibatch.settings import load
from tests.support.commands import replibatch


def test_every_key_of_a_run_is_in_the_table(
    fleet: str, sandbox: Sandbox, start_worker: Callable[..., Any], tmp_path: Path
) -> None:
    picture = tmp_path / "reference.png"
    Image.new("RGB", (8, 8), "red").save(picture)
    (tmp_path / "list.jsonl").write_text(
        '{"prompt": "a red fox"}\n{"prompt": "a [sensitive] fox"}\n'
        f'{{"prompt": "a blue fox", "model": "black-forest-labs/flux-kontext-max", "input_image": "{picture}"}}\n'
    )
    start_worker("--concurrency", "8")
    run = replibatch("run", "list.jsonl", "-m", "qwen/qwen-image", "-o", "out", "--max-cost", "3")
    assert run.returncode in (0, 1), run.stderr
    enqueue(BatchRequest("one more", "qwen/qwen-image"), link="app.task").result(30)
    prefix = load().key_prefix
    with Redis.from_url(fleet, decode_responses=True) as redis:
        found = {name: redis.type(name) for name in redis.scan_iter()}
    ours = {name: kind for name, kind in found.items() if name.startswith("rb:")}
    assert len(ours) > 20
    for name, kind in ours.items():
        entry = keys.key_of(name, prefix)
        assert entry is not None, f"{name} is in no table"
        assert entry.type == kind, f"{name} is a {kind}"
    foreign = [name for name in found.keys() - ours.keys() if not keys.FOREIGN.fullmatch(name)]
    assert not foreign
