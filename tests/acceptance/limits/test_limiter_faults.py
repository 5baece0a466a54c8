"""Who dies at the limiter: waiters with a hand-off, holders, processes that stand still."""

from __future__ import annotations

import signal
import time
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from replibatch.limits.limiter import CLAIM_SECONDS
from replibatch.sandbox import Sandbox
from tests.support.custody import check_each_once, enqueue_jobs
from tests.support.limited_account import LIMIT, Account, Start
from tests.support.waiting import busy_seconds, until

pytestmark = pytest.mark.chaos

SETTLE_SECONDS = 2
SLACK_SECONDS = 1.0


@pytest.fixture
def account(fleet: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Account:
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))
    monkeypatch.setenv("REPLIBATCH_SETTLE_SECONDS", str(SETTLE_SECONDS))
    monkeypatch.setenv("REPLICATE_GLOBAL_MAX_CONCURRENT", str(LIMIT))
    return Account(fleet, sandbox)


def test_a_killed_waiters_grant_is_in_use_again_within_its_claim_lease(
    account: Account, start_worker: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Long before the process's own lease says that it is dead."""
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", "12")
    books = account.sandbox.books
    account.sandbox.settings.latency_seconds = runs_seconds = 6.0
    survivor, killed = start_worker("--concurrency", "10"), start_worker("--concurrency", "10")
    killed.send_signal(signal.SIGSTOP)
    jobs = enqueue_jobs(28)
    until(lambda: books.in_flight == LIMIT and len(account.of(survivor, "waiters")) >= 3, what="all slots are busy")
    killed.send_signal(signal.SIGCONT)
    until(lambda: len(account.of(killed, "waiters")) == 10, what="it waits behind the other's")
    until(lambda: time.time() > books.create_times[0] + runs_seconds - 0.5, what="a slot is about to be free")
    killed.send_signal(signal.SIGSTOP)  # so that its hand-off is still unclaimed when it is killed
    until(lambda: account.of(killed, "granted"), what="it is handed a slot")
    killed.kill()
    handed_at: dict[str, float] = {}
    while handed := account.of(killed, "granted"):
        state = account.state()
        handed_at |= {a: state.granted[a] / 1000 - CLAIM_SECONDS for a in handed if a in state.granted}
        assert time.time() < max(handed_at.values()) + CLAIM_SECONDS + SLACK_SECONDS + busy_seconds()
    until(lambda: books.in_flight == LIMIT, what="every slot is in use again")
    assert time.time() - max(handed_at.values()) < CLAIM_SECONDS + SLACK_SECONDS + busy_seconds()
    check_each_once([job.result(timeout=90) for job in jobs], 28, account.sandbox, tmp_path / "files")
    account.check_limits()


@pytest.mark.parametrize(
    ("runs_seconds", "lease_seconds"), [(4.0, 6.0), (9.0, 3.0)], ids=["end before the lease does", "end after it"]
)
def test_a_killed_holders_slots_are_free_within_the_lease_though_every_thread_of_the_survivor_waits(
    account: Account,
    start_worker: Start,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    runs_seconds: float,
    lease_seconds: float,
) -> None:
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", str(lease_seconds))
    account.sandbox.settings.latency_seconds = runs_seconds
    holder, survivor = start_worker("--concurrency", str(LIMIT)), start_worker("--concurrency", "4")
    survivor.send_signal(signal.SIGSTOP)
    jobs = enqueue_jobs(LIMIT + 4)
    until(lambda: account.sandbox.books.in_flight == LIMIT, what="all slots are busy")
    account.sandbox.settings.latency_seconds = 0.5
    survivor.send_signal(signal.SIGCONT)
    until(lambda: len(account.of(survivor, "waiters")) == 4, what="every thread of the other waits in the limiter")
    state = account.state()
    held = {attempt: state.tickets[attempt].split("\t")[5] for attempt in account.of(holder, "slots")}
    assert len(held) == LIMIT and all(held.values()), "each has its prediction"
    holder.kill()
    freed_at: dict[str, float] = {}

    def look() -> bool:
        slots = account.state().slots
        freed_at.update({a: time.time() for a in held if a not in slots and a not in freed_at})
        return len(freed_at) == LIMIT

    until(look, runs_seconds + lease_seconds + 10, "the slots of the dead are free")
    for attempt, prediction in held.items():
        url = f"{account.sandbox.url}/v1/predictions/{prediction}"
        ended = httpx.get(url, headers={"Authorization": "Bearer r8_of_the_tests"}).json()["completed_at"]
        ended_at = datetime.fromisoformat(ended.replace("Z", "+00:00")).timestamp()
        assert freed_at[attempt] - ended_at < lease_seconds + 5.0 + busy_seconds()
    check_each_once([job.result(timeout=60) for job in jobs], LIMIT + 4, account.sandbox, tmp_path / "files")
    account.check_limits()


@pytest.mark.chaos_sample
def test_stopped_for_longer_than_a_lease_and_continued(
    account: Account, start_worker: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REPLIBATCH_LEASE_SECONDS", "2")
    account.sandbox.settings.latency_seconds = 0.5
    stopped, _ = start_worker("--concurrency", "12"), start_worker("--concurrency", "12")
    jobs = enqueue_jobs(60)
    until(lambda: len(account.sandbox.books.create_times) >= 12, what="it is under way")
    stopped.send_signal(signal.SIGSTOP)
    until(lambda: not account.of(stopped, "slots") + account.of(stopped, "waiters"), what="all it had is another's")
    stopped.send_signal(signal.SIGCONT)
    check_each_once([job.result(timeout=60) for job in jobs], 60, account.sandbox, tmp_path / "files")
    account.check_limits()
