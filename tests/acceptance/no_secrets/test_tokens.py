"""Tokens of a fleet: one that Replicate refuses ends its own worker, and an account is one account."""

from __future__ import annotations

from pathlib import Path

import pytest

import replibatch
from replibatch import BatchRequest
from replibatch.errors import NoCredit, TokenRefused
from replibatch.sandbox import Sandbox
from tests.support.commands import images, write_prompts
from tests.support.commands import replibatch as command
from tests.support.custody import MODEL, Start, check_each_once, enqueue_jobs
from tests.support.waiting import until

GOOD, BAD, THEIRS = "r8_good", "r8_soon_revoked", "r8_of_another_account"


@pytest.fixture(autouse=True)
def storage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))


def test_one_worker_loses_its_token_and_the_other_goes_on(
    sandbox: Sandbox, start_worker: Start, fleet: str, tmp_path: Path
) -> None:
    sandbox.settings.latency_seconds = 3.0
    good = start_worker("--concurrency", "20", REPLICATE_API_TOKEN=GOOD)
    bad = start_worker("--concurrency", "20", REPLICATE_API_TOKEN=BAD)
    jobs = enqueue_jobs(40)
    until(lambda: len(sandbox.books.create_times) >= 30, what="both work")
    sandbox.settings.refused_tokens = frozenset({BAD})
    assert bad.wait(30) == 1
    jobs += [replibatch.enqueue(BatchRequest("p40", MODEL, "40.webp"))]
    check_each_once([job.result(60) for job in jobs], 41, sandbox, tmp_path / "files")
    assert good.poll() is None
    said = (tmp_path / "worker-1.log").read_text()
    assert "token" in said and BAD not in said and "Traceback" not in said


def test_the_last_one_stops_the_account_until_a_worker_brings_a_token_that_is_accepted(
    sandbox: Sandbox, start_worker: Start, fleet: str, tmp_path: Path
) -> None:
    bad = start_worker("--concurrency", "4", REPLICATE_API_TOKEN=BAD)
    sandbox.settings.refused_tokens = frozenset({BAD})
    batch = replibatch.enqueue_batch(BatchRequest(f"p{number}", MODEL, f"{number}.webp") for number in range(8))
    assert bad.wait(30) == 1
    with pytest.raises(TokenRefused, match="REPLICATE_API_TOKEN"):
        batch.results(30)
    assert not sandbox.books.create_times
    start_worker("--concurrency", "4", REPLICATE_API_TOKEN=GOOD)
    batch.resume()
    check_each_once(batch.results(60), 8, sandbox, tmp_path / "files")


def test_a_worker_that_starts_does_not_lift_a_stop_for_credit(
    sandbox: Sandbox, start_worker: Start, fleet: str, tmp_path: Path
) -> None:
    """Else a fleet that scales itself would ask an account without credit again and again."""
    sandbox.settings.credit_usd = 0.0
    first = start_worker("--concurrency", "2")
    batch = replibatch.enqueue_batch(BatchRequest(f"p{number}", MODEL, f"{number}.webp") for number in range(4))
    until(lambda: batch.progress().held, what="the account is stopped")
    first.terminate()
    assert first.wait(30) == 0
    refused = dict(sandbox.books.posts_by_status)
    start_worker("--concurrency", "2")
    job = replibatch.enqueue(BatchRequest("p", MODEL))
    with pytest.raises(NoCredit):  # by a worker that has started, then
        job.result(60)
    until(lambda: job.status() == "failed")
    assert sandbox.books.posts_by_status == refused and set(refused) == {"402"}
    sandbox.settings.credit_usd = None
    done = command("resume")
    assert done.returncode == 0 and "NoCredit" in done.stdout and "waited for that: 1" in done.stdout
    check_each_once(batch.results(60), 4, sandbox, tmp_path / "files")


def test_the_same_run_again_goes_on_after_a_stop_for_credit(
    sandbox: Sandbox, start_worker: Start, fleet: str, tmp_path: Path
) -> None:
    sandbox.settings.credit_usd = 0.0
    start_worker("--concurrency", "2")
    write_prompts(3)
    run = ("run", "prompts.txt", "-m", MODEL, "-o", "out")
    assert command(*run).returncode == 1
    sandbox.settings.credit_usd = None
    assert command(*run).returncode == 0
    assert len(images()) == 3 and sandbox.books.paid_twice() == []


def test_a_token_of_another_account_is_refused_with_one_line(
    sandbox: Sandbox, start_worker: Start, fleet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.settings.other_accounts = {"theirs": frozenset({THEIRS})}
    start_worker("--concurrency", "2")
    monkeypatch.setenv("REPLICATE_API_TOKEN", THEIRS)
    done = command("worker", timeout_seconds=60)
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert "'theirs'" in line and "'sandbox'" in line and "REPLIBATCH_ACCOUNT" in line
    assert "Traceback" not in done.stderr and THEIRS not in done.stderr
    monkeypatch.setenv("REPLIBATCH_ACCOUNT", "theirs")
    start_worker("--concurrency", "2")
