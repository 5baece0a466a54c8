"""An embedded Redis is shared by all its users, and gone when nobody needs it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from celery import Celery
from kombu import Connection
from redis import Redis

from replibatch import embedded
from replibatch.broker.app import celery_url
from replibatch.settings import load
from tests.support.embedded_processes import alive, answers, eventually, keeper_pid, read, server_pid, write


class TestSharing:
    def test_processes_that_start_together_share_one_server(self, user, folder):
        users = [user() for _ in range(3)]
        urls = {one.line() for one in users}
        assert len(urls) == 1
        assert (folder / "redis.log").read_text().lower().count("ready to accept connections") == 1
        url = urls.pop()
        pid = server_pid(url)
        write(url, "seen", "by all")

        for one in users[:-1]:
            one.leave()
        assert read(url, "seen") == "by all"
        assert server_pid(url) == pid

        users[-1].leave()
        eventually(lambda: not alive(pid))

    def test_the_server_ends_when_every_user_was_killed(self, user):
        first, second = user(), user()
        url = first.line()
        second.line()
        pid, keeper = server_pid(url), keeper_pid(url)
        first.kill()
        assert answers(url)
        second.kill()
        eventually(lambda: not alive(pid) and not alive(keeper))

    def test_a_newcomer_gets_the_data_of_those_before(self, user):
        for value in ("None", "1", "2"):
            one = user(
                "from redis import Redis; r = Redis.from_url(embedded.attach(settings.load()));"
                "print(r.get('n') and r.get('n').decode()); r.incr('n')"
            )
            one.line()
            assert one.line() == value
            one.leave()  # the server may still be stopping when the next one comes

    def test_nothing_acknowledged_can_be_lost_or_evicted(self, settings):
        with Redis.from_url(embedded.attach(settings), decode_responses=True) as redis:
            found = {name: redis.config_get(name)[name] for name in ("appendonly", "appendfsync", "maxmemory-policy")}
        assert found == {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}

    def test_a_forked_child_is_a_user_of_its_own(self, user):
        parent = user("child = os.fork(); child and print(child, flush=True)")
        url = parent.line()
        child = int(parent.line())
        pid = server_pid(url)
        os.kill(parent.process.pid, signal.SIGKILL)
        eventually(lambda: not alive(parent.process.pid))
        with pytest.raises(AssertionError):
            eventually(lambda: not alive(pid), seconds=0.5)
        os.kill(child, signal.SIGKILL)
        eventually(lambda: not alive(pid))

    def test_attach_repeats_and_detach_lets_go(self, settings):
        url = embedded.attach(settings)
        pid = server_pid(url)
        assert embedded.attach(settings) == url
        embedded.detach()
        eventually(lambda: not alive(pid))
        assert embedded.attach(settings) == url
        assert server_pid(url) != pid

    def test_ctrl_c_in_a_terminal_does_not_reach_the_server(self, user):
        one = user()
        url = one.line()
        for pid in (server_pid(url), keeper_pid(url)):
            assert os.getsid(pid) not in (os.getsid(0), os.getsid(one.process.pid))

    def test_the_token_is_in_no_environment_but_the_workers(self, settings, monkeypatch):
        monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_secret")
        url = embedded.attach(settings)
        for pid in (server_pid(url), keeper_pid(url)):
            assert b"r8_secret" not in Path(f"/proc/{pid}/environ").read_bytes()


class TestCelery:
    @pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # celery's own, with redis-py 8
    @pytest.mark.parametrize("name", ["state", 'odd "é"#%20;', "long" * 30])
    def test_broker_and_result_backend_take_the_address(self, tmp_path, name):
        url = embedded.attach(load(state_dir=tmp_path / name))
        with Connection(celery_url(url)) as connection:
            queue = connection.SimpleQueue("q")
            queue.put({"a": 1})
            message = queue.get(timeout=5)
            assert message.payload == {"a": 1}
            message.ack()
            queue.close()
        app = Celery(broker=celery_url(url), backend=celery_url(url), set_as_current=False)
        app.backend.store_result("id", 7, "SUCCESS")
        assert app.backend.get_result("id") == 7
        assert b"celery-task-meta-id" in Redis.from_url(url).keys("*")
        app.close()
