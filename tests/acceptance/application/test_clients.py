"""Two accounts in one process, in threads and in asyncio, and after a fork; clients that come and go."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from replibatch import BatchRequest, Client, ReplibatchError, SettingsError
from replibatch.sandbox import Sandbox, SandboxSettings

MODEL = "qwen/qwen-image"
EACH = 6  # requests of each thread, loop and process

TWO_ACCOUNTS = textwrap.dedent(f"""
    import asyncio, os, sys, threading
    from replibatch import BatchRequest, Client

    def open_client(name, url):
        return Client(token="r8_of_" + name, base_url=url, account=name, storage_url=name, state_dir="state-" + name)

    def in_a_thread(client, name):
        for number in range({EACH}):
            assert client.enqueue(BatchRequest(f"{{name}} {{number}}", "{MODEL}")).result(timeout=60).success

    async def in_a_loop(clients, name):
        async def one(client, number):
            job = await client.aenqueue(BatchRequest(f"{{name}} {{number}}", "{MODEL}"))
            assert (await job.aresult(timeout=60)).success
        await asyncio.gather(*(one(client, number) for client in clients for number in range({EACH})))

    def work(clients, name):
        threads = [threading.Thread(target=in_a_thread, args=(client, f"{{name}} thread")) for client in clients]
        [each.start() for each in threads]
        asyncio.run(in_a_loop(clients, f"{{name}} loop"))
        asyncio.run(in_a_loop(clients, f"{{name}} second loop"))
        [each.join() for each in threads]

    clients = [open_client("first", sys.argv[1]), open_client("second", sys.argv[2])]
    job = clients[0].enqueue(BatchRequest("before the fork", "{MODEL}"))
    child = os.fork()
    work(clients, "child" if child == 0 else "parent")
    assert job.result(timeout=60).success
    for client in clients:
        client.close()
    if child == 0:
        os._exit(0)  # a child of a fork runs none of its parent's clean-up
    assert os.waitpid(child, 0)[1] == 0
    print("all made")
""")


@pytest.fixture
def accounts() -> Iterator[tuple[Sandbox, Sandbox]]:
    quick = {"latency_seconds": 0.05, "long_edge_pixels": 32}
    first = SandboxSettings(accepted_tokens=frozenset({"r8_of_first"}), **quick)
    second = SandboxSettings(accepted_tokens=frozenset({"r8_of_second"}), **quick)
    with Sandbox(first) as one, Sandbox(second) as other:
        yield one, other


def test_two_accounts_in_threads_and_loops_and_after_a_fork(
    accounts: tuple[Sandbox, Sandbox], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", TWO_ACCOUNTS, *(each.url for each in accounts)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert (done.returncode, done.stdout) == (0, "all made\n"), done.stderr
    for sandbox, extra in zip(accounts, (1, 0), strict=True):
        assert len(sandbox.books.create_times) == 2 * 3 * EACH + extra
        billed = sandbox.books.billed_by_prompt()
        assert set(billed.values()) == {1} and sum(billed.values()) == 2 * 3 * EACH + extra


def test_settings_by_code_win_over_the_environment(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    monkeypatch.setenv("REPLIBATCH_ACCOUNT", "of-the-environment")
    with Client(redis_url=redis_url, account="of-the-code", global_max_concurrent=7) as client:
        assert "of-the-code@" in repr(client)
        assert client.get_global_status()["global_max_concurrent"] in (7, 60)
    with pytest.raises(
        SettingsError, match=r"max_concurent is no setting; expected: account, .*global_max_concurrent"
    ):
        Client(redis_url=redis_url, max_concurent=7)
    with pytest.raises(SettingsError, match="account is 'a b'; allowed: up to 64 letters"):
        Client(redis_url=redis_url, account="a b")


def test_one_that_is_closed_says_so_and_leaves_no_thread(redis_url: str, tmp_path: Path) -> None:
    before = threading.active_count()
    with Client(redis_url=redis_url, storage_url=str(tmp_path)) as client:
        job = client.enqueue(BatchRequest("a fox", MODEL))

        async def look() -> None:
            async with asyncio.timeout(10):
                assert await job.astatus() == "queued"

        asyncio.run(look())
    for call in (job.status, lambda: client.enqueue(BatchRequest("a fox", MODEL))):
        with pytest.raises(ReplibatchError, match="the client is closed"):
            call()
    gc.collect()
    assert threading.active_count() == before


def test_asyncio_context_manager(redis_url: str, tmp_path: Path) -> None:
    async def main() -> str:
        async with Client(redis_url=redis_url, storage_url=str(tmp_path)) as client:
            job = await client.aenqueue(BatchRequest("a fox", MODEL, request_id="order-77"))
            assert (await client.ajob(request_id="order-77")).id == job.id
            assert await job.acancel()
            return (await job.aresult(5)).state

    assert asyncio.run(main()) == "canceled"


def test_the_environment_of_this_process_is_left_alone() -> None:
    before = dict(os.environ)
    Client(redis_url="redis://127.0.0.1:1/0").close()
    assert dict(os.environ) == before
