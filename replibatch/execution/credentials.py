"""This worker's token among those of the account's other workers: the same account's, and accepted, or it leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog

from replibatch.errors import ApiUnreachable, AttemptFailure, ReplibatchError, SettingsError, Stop, TokenRefused
from replibatch.limits import Limiter
from replibatch.limits.outages import API, Fault
from replibatch.redisdb.loop import Loop
from replibatch.replicate_api import ReplicateAPI

ASK_AGAIN_SECONDS = 10.0

log = structlog.get_logger(__name__)


class Credentials:
    """The account that this worker's token belongs to, and whether Replicate still accepts the token.

    Args:
        limiter: the account's limiter; the workers see each other's reports through it.
        report: this process's part of each heartbeat; written to here.
        leave: called once Replicate accepts the token no more: this worker hands its work back and ends.
    """

    def __init__(self, limiter: Limiter, report: dict[str, Any], leave: Callable[[], None]) -> None:
        self._limiter = limiter
        self._report = report
        self._leave = leave
        self._lock = threading.Lock()
        self._is_checked = False
        self._ending = threading.Event()

    def check(self, api: ReplicateAPI) -> bool:
        """Ask Replicate for the token's account, before this worker takes any work; False where no answer came.

        Raises:
            TokenRefused: it is not accepted. Where no other worker's token is accepted, the account is stopped.
            SettingsError: it belongs to another account than the other workers' tokens; or nothing has ever answered,
                and that cannot pass by itself.
        """
        try:
            username = api.account()
            self._is_checked = True
        except TokenRefused as refused:
            self._stop_without_others(refused)
            raise
        except AttemptFailure as failure:
            if isinstance(failure, ApiUnreachable):
                if failure.is_lasting and not self._is_checked:
                    raise SettingsError(str(failure)) from failure
                self._limiter.report_fault(Fault(API, failure.kind, str(failure)))
            self._is_checked = True
            log.warning("could not ask for the account", error=str(failure))
            return False
        log.info("account", name=username, limits=self._limiter.prefix)
        self._report["username"] = username
        # Reported before the others' reports are read: of two that start at once, at least one sees both.
        self._limiter.heartbeat(self._report)
        for worker, report in self._others():
            if report.get("username", username) != username:
                self._limiter.heartbeat({}, leaving=True)
                raise SettingsError(
                    f"REPLICATE_API_TOKEN belongs to the account {username!r}, that of the worker {worker} to "
                    f"{report['username']!r}; limits are kept by account: set REPLIBATCH_ACCOUNT to a name of its own"
                )
        return True

    def ask_later(self, api: ReplicateAPI) -> None:
        """Ask again until there is an answer, in a thread of its own: work is taken meanwhile."""
        Loop("credentials", partial(self._ask_again, api), away_seconds=ASK_AGAIN_SECONDS).start()

    def lift_stop(self) -> None:
        """Have the account go on, where a refused token has stopped it: this one was just accepted.

        Any other stop stays: a new worker does not mean new credit.
        """
        self._limiter.resume(TokenRefused.__name__)

    def refused(self, why: TokenRefused) -> None:
        """Replicate accepts the token no more: go; stop the account if no worker is left with an accepted token."""
        with self._lock:
            if not self._is_checked or self._ending.is_set():
                return
            self._report["token_refused"] = True
            self._limiter.heartbeat(self._report)  # as above
            self._stop_without_others(why)
            self._go(why)

    def stop(self) -> None:
        """Ask no more."""
        self._ending.set()

    def _go(self, why: ReplibatchError) -> None:
        self._ending.set()
        log.error("this worker hands its work back and ends", why=str(why))
        self._leave()

    def _ask_again(self, api: ReplicateAPI) -> float | None:
        if self._ending.wait(ASK_AGAIN_SECONDS):
            return None
        try:
            if self.check(api):
                self.lift_stop()
                return None
        except TokenRefused:
            return None  # the API has called `refused`
        except SettingsError as error:
            with self._lock:
                if not self._ending.is_set():
                    self._go(error)
        return 0.0

    def _stop_without_others(self, why: TokenRefused) -> None:
        if self._others_may_create():
            return
        self._limiter.stop(Stop.of(why))
        if self._others_may_create():  # one that has begun in between, and found no stop to lift
            self.lift_stop()

    def _others_may_create(self) -> bool:
        """Whether a worker is left with a token that was not refused: accepted, or not yet checked."""
        return any("token_refused" not in report for _, report in self._others())

    def _others(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The other live workers, by name, with their reports."""
        now = self._limiter.status()
        return [(name, now.processes[name]) for name in now.workers if name != self._limiter.process]
