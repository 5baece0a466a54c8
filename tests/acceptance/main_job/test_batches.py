"""Batches of any size, on the stand-in's books: shared fairly, resumed, held to a budget, watched from elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

import replibatch as api
from replibatch.sandbox import Sandbox
from tests.support.commands import MODEL, Start, images, replibatch, results, write_lines, write_prompts
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("quick_models")
RUN = ("run", "prompts.txt", "-m", MODEL, "-o", "out")


def waiting(redis: Redis, batch: str) -> int:
    return sum(int(redis.llen(key)) for key in redis.scan_iter(f"rb:*:batch:{batch}:pending"))


def test_twenty_prompts_share_the_account_with_ten_thousand(
    fleet: str, sandbox: Sandbox, start_worker: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "20")
    monkeypatch.setenv("REPLICATE_REQUESTS_PER_MINUTE", "100000")
    sandbox.settings.creates_per_window = 100_000
    sandbox.settings.latency_seconds = 0.5
    sandbox.settings.long_edge_pixels = 16
    write_prompts(
        10_000, "many.txt", "a long night train crossing a viaduct under the milky way, seen from the valley"
    )
    write_prompts(20)
    with Redis.from_url(fleet, decode_responses=True) as redis:
        before = redis.info("memory")["used_memory"]
        batch = replibatch("submit", "many.txt", "-m", MODEL, "-o", "many", timeout_seconds=300).stdout.strip()
        each = (redis.info("memory")["used_memory"] - before) / waiting(redis, batch)
        assert each <= 350  # the queue is counted in, too
        start_worker()
        until(lambda: sandbox.books.in_flight == 20, what="the long list has the whole account")
        began = time.monotonic()
        done = replibatch(*RUN, "--json")
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout.splitlines()[-1])["summary"]
        assert summary["succeeded"] == 20
        assert summary["seconds"] <= 12, (summary, time.monotonic() - began)
        assert waiting(redis, batch) > 7_500
    assert sandbox.books.peak_in_flight <= 20
    assert replibatch("cancel", batch).returncode == 0


def test_a_single_job_does_not_wait_behind_a_batch(
    fleet: str, sandbox: Sandbox, start_worker: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "4")
    sandbox.settings.latency_seconds = 1.0
    start_worker()
    batch = api.enqueue_batch(api.BatchRequest(f"bulk {number}", MODEL) for number in range(200))
    until(lambda: sandbox.books.in_flight == 4, what="the batch is at work")
    assert api.enqueue(api.BatchRequest("urgent", MODEL)).result(timeout=60).success
    assert batch.progress().finished < 30
    batch.cancel()


def test_results_are_written_while_the_list_is_still_being_queued(
    fleet: str, sandbox: Sandbox, start_worker: Callable, start: Start
) -> None:
    sandbox.settings.latency_seconds = 0.1
    start_worker()
    write_prompts(50_000)
    process = start(*RUN, "--max-concurrent", "4")
    until(lambda: Path("out/results.jsonl").exists() and results(), 120, "the first result is written")
    with Redis.from_url(fleet, decode_responses=True) as redis:
        (batch,) = redis.zrange(f"{_prefix(redis)}batches", 0, -1)
        assert int(redis.hget(f"{_prefix(redis)}batch:{batch}", "total") or 0) < 50_000
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "Paused" in said, said


def test_ctrl_c_kill_9_and_an_edited_list_cost_nothing_twice(
    fleet: str, sandbox: Sandbox, start_worker: Callable, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The submitting process is interrupted, then killed, while a fleet goes on working."""
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "4")
    sandbox.settings.latency_seconds = 0.5
    start_worker()
    path = write_prompts(30)
    process = start(*RUN)
    until(lambda: len(sandbox.books.create_times) >= 6, what="it is in the midst of it")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    paused_at = len(sandbox.books.create_times)
    assert paused_at < 30 and sandbox.books.in_flight == 0

    process = start(*RUN)
    until(lambda: len(sandbox.books.create_times) >= paused_at + 6, what="it goes on")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = replibatch(*RUN)
    assert done.returncode == 0, done.stderr
    assert len(sandbox.books.create_times) == 30 and sandbox.books.paid_twice() == []
    assert len(images()) == 30
    assert sorted(line["index"] for line in results()) == list(range(30))

    lines = path.read_text().splitlines()
    lines[3], lines[17] = "changed, one", "changed, two"
    path.write_text("\n".join(["first of all", *lines[:20], "in the middle", *lines[20:], "at the end"]) + "\n")
    done = replibatch(*RUN)
    assert done.returncode == 0, done.stderr
    assert "28 made before" in done.stdout
    assert len(sandbox.books.create_times) == 35 and sandbox.books.paid_twice() == []
    assert {bill.input["prompt"] for bill in sandbox.books.bills()[30:]} == {
        "changed, one", "changed, two", "first of all", "in the middle", "at the end",
    }  # fmt: skip


def test_two_runs_at_once_write_each_result_once(
    sandbox: Sandbox, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "4")
    sandbox.settings.latency_seconds = 0.6
    write_prompts(16)
    first = start(*RUN)
    until(lambda: len(sandbox.books.create_times) >= 4, what="the first is at work")
    second = start(*RUN)
    for process in (first, second):
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert len(sandbox.books.create_times) == 16
    assert sorted(line["index"] for line in results()) == list(range(16))


def test_mistakes_among_a_thousand_lines_are_all_told_and_nothing_is_created(sandbox: Sandbox) -> None:
    lines = [{"prompt": f"a pear, {number}"} for number in range(1000)]
    lines[499] = {"prompt": "a pear", "output": "../../x.png"}
    lines[699] = {"prompt": "a pear", "num_outputs": "many", "model": "black-forest-labs/flux-dev"}
    lines[899] = {"prompt": ""}
    write_lines(lines)
    done = replibatch("run", "list.jsonl", "-m", MODEL, "-o", "out")
    assert done.returncode == 2
    for line, reason in ((500, r"'\.\./\.\./x\.png'"), (700, "num_outputs is 'many'"), (900, "prompt is")):
        assert re.search(rf"line {line}: .*{reason}.*(allowed|expected)", done.stderr), done.stderr
    assert len(sandbox.books.post_times) == 0 and not Path("out").exists()


def test_a_budget_holds_over_several_runs_and_a_higher_one_goes_on(
    fleet: str, sandbox: Sandbox, start_worker: Callable
) -> None:
    sandbox.settings.latency_seconds = 0.1
    start_worker()
    write_prompts(100)
    done = replibatch(*RUN, "--max-cost", "1.00", "--json")
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])["summary"]
    assert (summary["succeeded"], summary["not_started"], summary["held"]) == (40, 60, "budget")
    assert sandbox.books.cost_usd == pytest.approx(1.0)

    again = replibatch(*RUN, "--max-cost", "1.00")
    assert again.returncode == 1 and "60 not started" in again.stdout and "--max-cost" in again.stderr
    assert sandbox.books.cost_usd == pytest.approx(1.0)

    more = replibatch(*RUN, "--max-cost", "2.00")
    assert more.returncode == 1 and "40 of 60 items made" in more.stdout
    assert sandbox.books.cost_usd == pytest.approx(2.0)

    (newest, *_) = [json.loads(line) for line in replibatch("batches", "--json").stdout.splitlines()]
    assert newest["state"] == "budget"
    assert replibatch("resume", newest["id"], "--max-cost", "2.25").returncode == 0
    watched = replibatch("watch", newest["id"])
    assert "50 of 60 items made" in watched.stdout and watched.stdout.strip().endswith("budget")
    assert sandbox.books.cost_usd == pytest.approx(2.25)
    assert replibatch(*RUN).returncode == 0
    assert sandbox.books.cost_usd == pytest.approx(2.5) and len(images()) == 100


def test_a_batch_is_submitted_here_watched_there_and_canceled_from_a_third_place(
    fleet: str, sandbox: Sandbox, start_worker: Callable, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "5")
    sandbox.settings.latency_seconds = 0.3
    start_worker()
    write_prompts(20)
    batch = replibatch("submit", *RUN[1:]).stdout.strip()
    watcher = start("watch", batch)
    read = list(api.Batch.get(batch))  # this process has submitted nothing

    async def read_too() -> list[api.BatchResult]:
        return [result async for result in api.Batch.get(batch)]

    assert asyncio.run(read_too()) == read
    assert len(read) == 20 and all(result.success and Path(result.file_paths[0]).exists() for result in read)
    said, _ = watcher.communicate(timeout=60)
    assert watcher.returncode == 0 and "20 of 20 items made" in said

    sandbox.settings.latency_seconds = 60.0
    write_prompts(20, "slow.txt", "a slow fox")
    batch = replibatch("submit", "slow.txt", "-m", MODEL, "-o", "slow").stdout.strip()
    until(lambda: sandbox.books.in_flight == 5, what="five are running")
    watcher = start("watch", batch)
    assert replibatch("cancel", batch).returncode == 0
    began = time.monotonic()
    until(lambda: sandbox.books.in_flight == 0, 30, "all are canceled at Replicate")
    assert time.monotonic() - began <= 5
    said, _ = watcher.communicate(timeout=60)
    assert watcher.returncode == 1 and "0 of 20 items made" in said
    assert len(sandbox.books.create_times) == 25

    sandbox.settings.latency_seconds = 0.2
    again = replibatch("retry", batch)
    assert "20 items to be made again" in again.stdout, again.stderr
    assert replibatch("watch", batch).returncode == 0
    told = [json.loads(line) for line in replibatch("results", batch, "--json").stdout.splitlines()]
    assert sorted(line["index"] for line in told) == list(range(20))


def test_a_batch_that_is_read_and_expired_leaves_no_key(
    fleet: str, sandbox: Sandbox, start_worker: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLIBATCH_KEEP_DAYS", "0.05")
    start_worker()
    with Redis.from_url(fleet, decode_responses=True) as redis:
        before = set(redis.scan_iter())
        write_prompts(10)
        batch = replibatch("submit", *RUN[1:], "--max-cost", "1").stdout.strip()
        canceled = api.enqueue_batch([api.BatchRequest(f"canceled {number}", MODEL) for number in range(200)])
        canceled.cancel()
        assert replibatch("watch", batch).returncode == 0
        assert [result.success for result in api.Batch.get(batch).results()] == [True] * 10
        generations = {key.rpartition(":")[2] for key in redis.scan_iter("rb:*:gen:*")}
        assert len(generations) >= 10

        def left() -> set[str]:
            """Keys of these batches, and those that hold anything of theirs."""
            names = {batch, canceled.id, *generations}
            return {
                key
                for key in set(redis.scan_iter()) - before
                if any(name in key for name in names) or re.search(r":(gen|batch|budget|done|prediction|run):", key)
            } | {name for name in redis.zrange(f"{_prefix(redis)}batches", 0, -1) if name in names}

        def keys() -> set[str]:
            return left() & set(redis.scan_iter())

        assert keys()
        until(lambda: all(redis.ttl(key) > 0 for key in keys()), what="everything is going to expire")
        for key in keys():
            redis.pexpire(key, 1)
        until(lambda: not left(), what="it has, and nothing names it any more")
        assert replibatch("watch", batch).returncode == 2  # and it says so


def _prefix(redis: Redis) -> str:
    return next(redis.scan_iter("rb:*:processes")).removesuffix("processes")
