"""Where an embedded Redis is: its owner's alone, under any path; and where there is none."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.exceptions import RedisError

from replibatch import embedded
from replibatch.embedded import server
from replibatch.embedded.server import IN_WHEELS
from replibatch.errors import SettingsError
from replibatch.redisdb.health import Health, check_server
from replibatch.settings import load
from tests.support.embedded_processes import answers, eventually, read, server_pid, write


class TestPrivacy:
    def test_folder_and_files_are_their_owners_alone(self, settings, folder):
        folder.mkdir(parents=True, mode=0o755)
        url = embedded.attach(settings)
        write(url, "any", "thing")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.name for path in folder.rglob("*") if path.stat().st_mode & 0o077 and path.is_file()} == set()
        assert (folder / "redis.sock").stat().st_mode & 0o777 == 0o700

    def test_a_path_too_long_for_a_socket_gets_a_port_with_a_password(self, tmp_path):
        settings = load(state_dir=tmp_path / ("long" * 30))
        url = embedded.attach(settings)
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
            url = embedded.attach(settings)
            assert answers(url)
            assert (settings.state_dir / "embedded" / "redis.sock").is_socket()
            embedded.shutdown()

    def test_a_folder_that_cannot_be_used_is_one_clear_line(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(
            SettingsError, match=r"REPLIBATCH_STATE_DIR is '.*file': .*; allowed: a folder of your own"
        ):
            embedded.attach(load(state_dir=tmp_path / "file"))


@pytest.mark.parametrize("package", [package for package, _ in IN_WHEELS])
class TestInAWheel:
    @pytest.fixture(autouse=True)
    def only_that(self, package, monkeypatch, no_redis):
        monkeypatch.delitem(sys.modules, package)
        if find_spec(package) is None:
            pytest.skip(f"{package} has no wheel here")

    def test_its_server_is_a_real_one_that_keeps_what_it_has_acknowledged(self, settings, folder):
        url = embedded.attach(settings)
        write(url, "any", "thing")
        with Redis.from_url(url) as redis:
            assert redis.info("persistence")["aof_enabled"] == 1
            assert redis.config_get("appendfsync")["appendfsync"] == "always"
            assert {finding.state for finding in check_server(redis, is_shared=False)} == {Health.OK}
        os.kill(server_pid(url), signal.SIGKILL)
        eventually(lambda: answers(url))
        assert read(url, "any") == "thing"

    def test_one_on_path_reads_its_data(self, settings, folder, monkeypatch):
        write(embedded.attach(settings), "any", "thing")
        embedded.shutdown()
        on_path = shutil.which("redis-server", path=os.defpath)
        if on_path is None:
            pytest.skip("no redis-server on PATH")
        monkeypatch.setenv("PATH", str(Path(on_path).parent))
        assert server.find_server(folder) == Path(on_path)
        assert read(embedded.attach(settings), "any") == "thing"


class TestNoRedis:
    def test_windows_is_told_what_to_set(self):
        windows = (
            "import sys, redis; from replibatch.settings import load; settings = load();"
            "sys.modules['fcntl'] = None; sys.platform = 'win32';"
            "from replibatch import embedded; embedded.attach(settings)"
        )
        said = subprocess.run([sys.executable, "-c", windows], capture_output=True, text=True, check=False)
        assert said.stderr.strip().endswith(
            "SettingsError: embedded mode needs Linux or macOS; on Windows set REPLIBATCH_REDIS_URL"
        )

    def test_fakeredis_stands_in_and_says_so(self, settings, no_redis):
        with pytest.warns(UserWarning, match="no redis-server on PATH.*keeps nothing on the disk"):
            url = embedded.attach(settings)
        write(url, "any", "thing")
        assert read(url, "any") == "thing"
        embedded.detach()
        eventually(lambda: not answers(url))
