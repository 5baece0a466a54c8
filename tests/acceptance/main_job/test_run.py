"""`replibatch run` as its users meet it: whole processes, a stand-in for Replicate, files on the disk."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from replibatch.sandbox import Sandbox
from tests.support.commands import MODEL, Start, images, replibatch, results, write_prompts
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("quick_models")


def test_forty_prompts_are_made_once_and_never_again(sandbox: Sandbox) -> None:
    sandbox.settings.latency_seconds = 1.0
    write_prompts(40)
    first = replibatch("run", "prompts.txt", "-m", MODEL, "-o", "out")
    assert first.returncode == 0, first.stderr
    assert len(images()) == 40
    assert len(sandbox.books.create_times) == 40
    assert sorted(line["index"] for line in results()) == list(range(40))
    assert "a red fox, number 39" in Path("out/gallery_files/data.js").read_text()
    assert "40 of 40 items made" in first.stdout

    page = Path("out/gallery.html")
    made_at = page.stat().st_mtime_ns
    again = replibatch("run", "prompts.txt", "-m", MODEL, "-o", "out")
    assert again.returncode == 0, again.stderr
    assert "40 made before" in again.stdout
    assert page.stat().st_mtime_ns == made_at, "of many results a page takes a while: the same one stays"
    page.unlink()
    assert replibatch("run", "prompts.txt", "-m", MODEL, "-o", "out").returncode == 0 and page.exists()
    assert len(sandbox.books.create_times) == 40 and len(results()) == 40

    gone = images()[7]
    gone.unlink()
    assert replibatch("run", "prompts.txt", "-m", MODEL, "-o", "out").returncode == 0
    assert gone.exists() and len(sandbox.books.create_times) == 41


def test_equal_lines_are_items_of_their_own_found_again_without_the_results_and_made_again_by_fresh(
    fleet: str, sandbox: Sandbox, start_worker: Callable
) -> None:
    start_worker()
    Path("same.txt").write_text("a pear\na pear\na pear\n")
    run = ("run", "same.txt", "-m", MODEL, "-o", "out")
    assert replibatch(*run).returncode == 0
    names = images()
    assert len(names) == 3 and len(sandbox.books.create_times) == 3
    assert replibatch(*run).returncode == 0
    assert len(sandbox.books.create_times) == 3

    Path("out/results.jsonl").unlink()
    assert replibatch(*run).returncode == 0
    assert len(results()) == 3 and len(sandbox.books.create_times) == 3

    done = replibatch(*run, "--fresh")
    assert done.returncode == 0, done.stderr
    assert images() == names and len(sandbox.books.create_times) == 6


def test_some_items_fail_and_only_those_are_tried_again_or_one_model_alone(
    fleet: str, sandbox: Sandbox, start_worker: Callable
) -> None:
    start_worker()
    lines = [
        {"prompt": "a plum", "output": "fruit/plum.jpg"},
        {"prompt": "a pest [[failed]]", "id": "pest"},
        {"prompt": "a pit [[failed@qwen/qwen-image]]", "aspect_ratio": "1:1"},
    ]
    Path("mixed.jsonl").write_text("".join(json.dumps({"model": MODEL, **line}) + "\n" for line in lines))
    done = replibatch("run", "mixed.jsonl", "-o", "out", "--json")
    assert done.returncode == 1, done.stderr
    *told, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["index"]: line["state"] for line in told} == {0: "succeeded", 1: "placeholder", 2: "succeeded"}
    assert next(line for line in told if line["index"] == 1)["request_id"] == "pest"
    assert last["summary"]["succeeded"] == 2 and last["summary"]["fallbacks"] == 1
    assert last["summary"]["placeholders"] == 1
    assert Path("out/fruit/plum.jpg").read_bytes()[:3] == b"\xff\xd8\xff"

    creates = len(sandbox.books.create_times)
    assert replibatch("run", "mixed.jsonl", "-o", "out").returncode == 1
    again = list(sandbox.books.bills())
    assert len(sandbox.books.create_times) == creates + 3  # the chain of the one that failed
    assert sum(bill.billed for bill in again) == 2

    sandbox.books.reset()
    Path("one.txt").write_text("a pit [[failed@qwen/qwen-image]]\n")
    assert replibatch("run", "one.txt", "-m", MODEL, "-o", "alone", "--no-fallback").returncode == 1
    assert len(sandbox.books.create_times) == 1


def test_ctrl_c_starts_nothing_new_and_the_same_command_goes_on(
    sandbox: Sandbox, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "5")
    sandbox.settings.latency_seconds = 2.0
    write_prompts(15)
    process = start("run", "prompts.txt", "-m", MODEL, "-o", "out")
    until(lambda: len(sandbox.books.create_times) == 5, what="five are in flight")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "same command goes on" in said
    assert len(sandbox.books.create_times) == 5 and sandbox.books.in_flight == 0
    assert len(images()) == len(results()) == 5

    sandbox.settings.latency_seconds = 0.2
    assert replibatch("run", "prompts.txt", "-m", MODEL, "-o", "out").returncode == 0
    assert len(images()) == len(results()) == 15
    assert len(sandbox.books.create_times) == 15 and sandbox.books.paid_twice() == []


def test_a_second_ctrl_c_hands_over_what_is_in_flight(sandbox: Sandbox, start: Start) -> None:
    sandbox.settings.latency_seconds = 3.0
    write_prompts(5)
    process = start("run", "prompts.txt", "-m", MODEL, "-o", "out")
    until(lambda: len(sandbox.books.create_times) == 5, what="all are in flight")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert replibatch("run", "prompts.txt", "-m", MODEL, "-o", "out").returncode == 0
    assert len(images()) == 5 and len(sandbox.books.create_times) == 5


def test_kill_9_costs_nothing_twice(sandbox: Sandbox, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", "2")
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", "3")
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "5")
    sandbox.settings.latency_seconds = 0.5
    write_prompts(20)
    process = start("run", "prompts.txt", "-m", MODEL, "-o", "out")
    until(lambda: len(sandbox.books.create_times) >= 8, what="eight are created")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert replibatch("run", "prompts.txt", "-m", MODEL, "-o", "out").returncode == 0
    assert len(images()) == 20
    assert len(sandbox.books.create_times) == 20 and sandbox.books.paid_twice() == []


def test_two_at_once_make_nothing_twice_and_one_goes_on_when_the_other_is_paused(
    sandbox: Sandbox, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "4")
    sandbox.settings.latency_seconds = 0.8
    write_prompts(16)
    first = start("run", "prompts.txt", "-m", MODEL, "-o", "out")
    until(lambda: len(sandbox.books.create_times) >= 4, what="the first is at work")
    second = start("run", "prompts.txt", "-m", MODEL, "-o", "out")
    until(lambda: len(sandbox.books.create_times) >= 8, what="they are in the midst of it")
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=30)
    assert first.returncode == 130, said
    _, said = second.communicate(timeout=60)
    assert second.returncode == 0, said
    assert len(images()) == 16 and len(sandbox.books.create_times) == 16
    assert sandbox.books.peak_in_flight <= 4


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        ("bad.jsonl", '{"prompt": "a"}\n{"prompt": \n', ["-m", MODEL], "line 2"),
        ("bad.csv", "prompt,output\na,../../etc/x.png\n", ["-m", MODEL], "line 2"),
        ("model.txt", "a\n", ["-m", "x/y"], "Model 'x/y' is not supported. Please use one of"),
        ("image.jsonl", '{"prompt": "a", "input_image": "no-such.png"}\n', ["-m", MODEL], "no-such.png"),
    ],
)
def test_a_mistake_is_told_before_anything_is_spent(
    sandbox: Sandbox, name: str, content: str, options: list[str], said: str
) -> None:
    Path(name).write_text(content)
    done = replibatch("run", name, *options, "-o", "out")
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr
    assert all(line.startswith(("replibatch: ", "Models from ")) for line in done.stderr.splitlines())
    assert not Path("out").exists()
    assert len(sandbox.books.post_times) == 0


def test_a_refused_token_is_told_in_a_line_and_the_run_is_resumable(sandbox: Sandbox) -> None:
    sandbox.settings.accepted_tokens = frozenset({"another"})
    write_prompts(3)
    done = replibatch("run", "prompts.txt", "-m", MODEL, "-o", "out")
    assert done.returncode == 1
    assert "token" in done.stderr and "Traceback" not in done.stderr and "r8_of_the_tests" not in done.stderr
    assert len(sandbox.books.create_times) == 0 and images() == []
    sandbox.settings.accepted_tokens = None
    assert replibatch("run", "prompts.txt", "-m", MODEL, "-o", "out").returncode == 0
    assert len(images()) == 3


def test_no_token_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    write_prompts(2)
    done = replibatch("run", "prompts.txt", "-m", MODEL, "-o", "out")
    assert done.returncode == 2 and "--sandbox" in done.stderr and not Path("out").exists()


def test_a_budget_leaves_the_rest_unstarted(sandbox: Sandbox) -> None:
    write_prompts(10)
    done = replibatch("run", "prompts.txt", "-m", MODEL, "-o", "out", "--max-cost", "0.1")
    assert done.returncode == 1
    assert "4 of 10 items made, 6 not started" in done.stdout
    assert sandbox.books.cost_usd == pytest.approx(0.1)


def test_standard_input_and_a_sandbox_of_its_own() -> None:
    done = replibatch(
        "run", "-", "-m", "black-forest-labs/flux-dev", "-o", "out", "--sandbox", input="a lake\na hill\n"
    )
    assert done.returncode == 0, done.stderr
    assert len(images()) == 2


def test_a_fleet_saves_to_its_storage_and_run_brings_the_files(
    sandbox: Sandbox, start_worker: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "store"))
    monkeypatch.delenv("REPLICATE_API_TOKEN")
    write_prompts(4)
    submitted = replibatch("submit", "prompts.txt", "-m", MODEL, "-o", "out")
    batch = submitted.stdout.strip()
    assert "no worker answers" in submitted.stderr and batch.isalnum()
    start_worker(REPLICATE_API_TOKEN="r8_of_the_tests")
    done = replibatch("run", "prompts.txt", "-m", MODEL, "-o", "out")
    assert done.returncode == 0, done.stderr
    assert len(images()) == 4 and len(sandbox.books.create_times) == 4
    told = replibatch("results", batch, "-o", "copies", "--json")
    assert sorted(json.loads(line)["index"] for line in told.stdout.splitlines()) == [0, 1, 2, 3]
    assert [path.name for path in images("copies")] == [path.name for path in images()]
    assert json.loads(replibatch("batches", "--json").stdout.splitlines()[-1])["state"] == "done"


def test_batches_are_paused_resumed_retried_and_canceled_from_elsewhere(
    sandbox: Sandbox, start_worker: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", "2")
    monkeypatch.setenv("REPLIBATCH_OUTAGE_AFTER", "1000")  # else models that fail alike are held
    sandbox.settings.latency_seconds = 1.0
    start_worker()
    write_prompts(10)
    batch = replibatch("submit", "prompts.txt", "-m", MODEL, "-o", "out").stdout.strip()
    until(lambda: sandbox.books.in_flight == 2, what="two are in flight")
    paused = replibatch("pause", batch)
    assert paused.returncode == 0 and "is paused" in paused.stdout
    watched = replibatch("watch", batch)
    made = len(sandbox.books.create_times)
    assert watched.returncode == 1 and watched.stdout.strip().endswith("; paused") and made < 10

    sandbox.settings.latency_seconds = 0.2
    sandbox.settings.broken_models = frozenset(
        {MODEL, "black-forest-labs/flux-dev", "black-forest-labs/flux-kontext-max"}
    )
    assert replibatch("resume", batch).returncode == 0
    assert replibatch("watch", batch).returncode == 1
    sandbox.settings.broken_models = frozenset()
    again = replibatch("retry", batch)
    assert f"{10 - made} items to be made again" in again.stdout, again.stderr
    done = replibatch("watch", batch)
    assert done.returncode == 0, done.stdout + done.stderr

    sandbox.settings.latency_seconds = 30.0
    batch = replibatch("submit", "prompts.txt", "-m", MODEL, "-o", "other").stdout.strip()
    until(lambda: sandbox.books.in_flight == 2, what="two are in flight")
    assert replibatch("cancel", batch).returncode == 0
    until(lambda: sandbox.books.in_flight == 0, 20, what="they are canceled at Replicate")
    assert replibatch("watch", batch).returncode == 1
    assert {json.loads(line)["state"] for line in replibatch("results", batch, "--json").stdout.splitlines()} <= {
        "canceled",
        "pending",
    }
    fleet = json.loads(replibatch("status", "--json").stdout)
    assert fleet["global_max_concurrent"] == 2 and len(fleet["workers"]) == 1
    assert replibatch("watch", "nothing").returncode == 2
