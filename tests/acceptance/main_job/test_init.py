"""`replibatch init` as people meet it: in a terminal, and in a script."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from replibatch.settings import load

COMMAND = [sys.executable, "-P", "-m", "replibatch", "init"]
TOKEN = "r8_nobody_may_see_this"
DEADLINE_SECONDS = 30.0


class Terminal:
    """A command in a terminal of its own, and what the terminal shows of it."""

    def __init__(self, *options: str) -> None:
        self._ours, theirs = pty.openpty()
        self.shown = ""
        self._read = 0
        self._process = subprocess.Popen(
            [*COMMAND, *options],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # so that Ctrl-C reaches it
        )
        os.close(theirs)

    def _more(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], DEADLINE_SECONDS)
        assert ready, f"it says no more than {self.shown!r}"
        try:
            text = os.read(self._ours, 4096).decode()
        except OSError:  # the command has ended
            return False
        self.shown += text
        return bool(text)

    def await_text(self, text: str) -> None:
        """Wait until it says this, after what was waited for before."""
        while (found := self.shown.find(text, self._read)) < 0:
            assert self._more(), f"it ended and did not say {text!r}: {self.shown}"
        self._read = found + len(text)

    def answer(self, question: str, answer: str) -> None:
        """Wait until it asks, and type the answer."""
        self.await_text(question)
        self.await_text(": ")  # what is typed earlier is lost where it is not to be seen
        os.write(self._ours, f"{answer}\n".encode())

    def end(self) -> int:
        while self._more():
            pass
        return self._process.wait(DEADLINE_SECONDS)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Starts `replibatch init` in a terminal."""
    started: list[Terminal] = []

    def start(*options: str) -> Terminal:
        started.append(Terminal(*options))
        return started[-1]

    yield start
    for each in started:
        each.close()


def init(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def test_a_new_user_is_asked_for_what_there_is_to_set(terminal: Callable[..., Terminal]) -> None:
    asked = terminal()
    asked.answer("Your token", "r8 with blanks")
    asked.await_text("REPLICATE_API_TOKEN is not usable (not shown: it is a secret)")
    asked.answer("Your token", TOKEN)
    asked.answer("Predictions in flight", "many")
    asked.await_text("allowed: a whole number from 1 to 100000")
    asked.answer("Predictions in flight", "12")
    asked.answer("Predictions created a minute [600]", "")
    asked.answer("Dollars a calendar month [no limit]", "30")
    asked.answer("Redis", "")
    asked.answer("Where outputs land", "")
    assert asked.end() == 0
    assert TOKEN not in asked.shown and "r8 with blanks" not in asked.shown
    assert Path(".env").stat().st_mode & 0o777 == 0o600
    assert Path(".env").read_text() == (
        f"REPLICATE_API_TOKEN={TOKEN}\nREPLICATE_GLOBAL_MAX_CONCURRENT=12\nREPLIBATCH_BUDGET_USD=30\n"
    )
    settings = load()
    assert settings.replicate_api_token is not None and settings.replicate_api_token.get_secret_value() == TOKEN
    assert (settings.global_max_concurrent, settings.budget_usd) == (12, 30.0)


@pytest.mark.parametrize(("reply", "code", "limit"), [("y", 0, "5"), ("", 1, "12")])
def test_it_asks_before_it_replaces_and_leaves_the_rest(
    terminal: Callable[..., Terminal], reply: str, code: int, limit: str
) -> None:
    rest = f"# my application's\nSECRET_KEY='a b'\nREPLICATE_API_TOKEN={TOKEN}\n"
    Path(".env").write_text(f"{rest}REPLICATE_GLOBAL_MAX_CONCURRENT=12\n")
    asked = terminal()
    asked.answer("Your token, from replicate.com/account/api-tokens [set, not shown]", "")
    asked.answer("Predictions in flight, over every machine [12]", "5")
    for _ in range(4):
        asked.answer("]", "")
    asked.answer(".env sets REPLICATE_GLOBAL_MAX_CONCURRENT already. Replace? [y/N]", reply)
    assert asked.end() == code
    assert Path(".env").read_text() == f"{rest}REPLICATE_GLOBAL_MAX_CONCURRENT={limit}\n"
    assert TOKEN not in asked.shown


def test_ctrl_c_writes_nothing(terminal: Callable[..., Terminal]) -> None:
    asked = terminal()
    asked.answer("Your token", "\x03")
    assert asked.end() != 0
    assert "Traceback" not in asked.shown and not Path(".env").exists()


def test_a_script_gives_options_and_the_token_in_its_environment() -> None:
    done = init("--non-interactive", "--per-minute", "300", REPLICATE_API_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert Path(".env").read_text() == f"REPLICATE_API_TOKEN={TOKEN}\nREPLICATE_REQUESTS_PER_MINUTE=300\n"
    assert Path(".env").stat().st_mode & 0o777 == 0o600


def test_a_script_replaces_only_when_it_says_so() -> None:
    Path(".env").write_text("REPLICATE_API_TOKEN=r8_before\n")
    done = init("--non-interactive", "--token", TOKEN)
    assert done.returncode == 2 and "--overwrite" in done.stderr
    assert TOKEN not in done.stderr and "r8_before" not in done.stderr
    assert Path(".env").read_text() == "REPLICATE_API_TOKEN=r8_before\n"
    assert init("--non-interactive", "--token", TOKEN, "--overwrite").returncode == 0
    assert Path(".env").read_text() == f"REPLICATE_API_TOKEN={TOKEN}\n"
    assert "Nothing to change" in init("--non-interactive", "--token", TOKEN).stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--non-interactive", "--max-concurrent", "0"], "REPLICATE_GLOBAL_MAX_CONCURRENT is '0'"),
        (["--non-interactive", "--redis-url", "http://x"], "REPLIBATCH_REDIS_URL is not usable"),
        (["--non-interactive", "--token", "two words"], "REPLICATE_API_TOKEN is not usable"),
        ([], "--non-interactive"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(options: list[str], said: str) -> None:
    done = init(*options)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1 and "two words" not in done.stderr
    assert not Path(".env").exists()
