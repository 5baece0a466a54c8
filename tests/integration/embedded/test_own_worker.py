"""The worker that a process of embedded mode brings along, and that ends with it."""

from __future__ import annotations

import json
import os
import signal
import sys

import pytest

from replibatch import embedded
from replibatch.errors import ReplibatchError
from replibatch.settings import Settings, load
from tests.support.embedded_processes import alive, eventually, read, server_pid

WORKER = """
import json, os, pathlib, signal, sys, time
from replibatch import embedded
from replibatch.settings import load
from redis import Redis
redis = Redis.from_url(load().redis_url.get_secret_value())
def stop(*_):
    redis.set("handed over", os.getpid())
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
embedded.watch_parent()
redis.set("ready", os.getpid())
while True:
    time.sleep(60)
"""


class TestWorker:
    def start(self, settings: Settings, program: str = WORKER) -> embedded.EmbeddedWorker:
        return embedded.start_worker(settings, command=[sys.executable, "-c", program])

    def test_it_runs_in_a_session_of_its_own_and_stops_when_told(self, settings):
        url = embedded.attach(settings)
        worker = self.start(settings)
        eventually(lambda: read(url, "ready"))
        assert worker.alive()
        assert os.getsid(worker.pid) == worker.pid
        worker.stop()
        assert not worker.alive()
        worker.check()  # it was stopped, and did not die
        assert read(url, "handed over") == str(worker.pid)

    def test_one_that_does_not_stop_is_killed(self, settings):
        url = embedded.attach(settings)
        worker = self.start(settings, WORKER.replace("sys.exit(0)", "return"))
        eventually(lambda: read(url, "ready"))
        worker.stop(timeout_seconds=0.2)
        assert not worker.alive()
        assert read(url, "handed over") == str(worker.pid)

    def test_it_sees_the_settings_of_its_parent(self, monkeypatch):
        monkeypatch.setenv("REPLICATE_REQUESTS_PER_MINUTE", "77")
        settings = load(replicate_api_token="r8_argument", global_max_concurrent=3, budget_usd=1.5, placeholder=False)
        monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_of_another")
        monkeypatch.setenv("REPLIBATCH_MAX_RETRIES", "9")
        url = embedded.attach(settings)
        see = (
            "import json; from redis import Redis; from replibatch.settings import load; s = load();"
            "Redis.from_url(s.redis_url.get_secret_value()).set('seen', json.dumps([s.model_dump(mode='json'),"
            "s.replicate_api_token.get_secret_value(), sorted(s.model_fields_set)]))"
        )
        self.start(settings, see)
        eventually(lambda: read(url, "seen"))
        seen, token, given = json.loads(read(url, "seen") or "")
        assert token == "r8_argument"
        assert seen == {**settings.model_dump(mode="json"), "redis_url": "**********"}
        assert set(given) == settings.model_fields_set | {"redis_url"}

    def test_one_that_died_is_reported_with_its_last_words(self, settings):
        worker = self.start(settings, "import sys; print('up'); sys.exit('no such thing')")
        eventually(lambda: not worker.alive())
        with pytest.raises(ReplibatchError, match=r"exit code 1.*worker-.*\.log: .*no such thing"):
            worker.check()

    def test_there_is_one_for_equal_settings_and_a_new_one_when_it_died(self, settings):
        first = embedded.ensure_worker(settings)
        assert embedded.ensure_worker(load()) is first
        os.kill(first.pid, signal.SIGKILL)
        eventually(lambda: not first.alive())
        second = embedded.ensure_worker(settings)
        assert second is not first
        embedded.shutdown()
        assert not second.alive()

    def test_it_hands_over_and_ends_when_its_parent_was_killed(self, user, settings):
        slow = WORKER.replace("def stop(*_):", "def stop(*_):\n    time.sleep(0.5)")
        parent = user(
            f"embedded.start_worker(settings.load(), command=[sys.executable, '-c', {slow!r}]); time.sleep(60)"
        )
        url = parent.line()
        eventually(lambda: read(url, "ready"))
        server, worker = server_pid(url), int(read(url, "ready") or 0)
        parent.kill()
        eventually(lambda: not alive(worker))
        eventually(lambda: not alive(server))  # the last one out
        assert read(embedded.attach(settings), "handed over") == str(worker)

    def test_it_ends_with_its_parent_though_a_forked_child_of_that_lives(self, user, settings):
        parent = user(
            f"w = embedded.start_worker(settings.load(), command=[sys.executable, '-c', {WORKER!r}]);"
            "child = os.fork(); child and print(child, flush=True); time.sleep(60)"
        )
        url = parent.line()
        child = int(parent.line())
        eventually(lambda: read(url, "ready"))
        worker = int(read(url, "ready") or 0)
        os.kill(parent.process.pid, signal.SIGKILL)
        eventually(lambda: not alive(worker))
        os.kill(child, signal.SIGKILL)

    def test_only_the_newest_logs_are_kept(self, settings, folder):
        embedded.attach(settings)
        for number in range(40):
            (folder / f"worker-20200101T000000-1-{number:02}.log").touch()
        self.start(settings, "")
        assert len(list(folder.glob("worker-*.log"))) == 21
