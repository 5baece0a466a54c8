"""This worker's token among those of the account's other workers: the same account's, and accepted, or it leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog
from redis.exceptions import RedisError

from replibatch.errors import AttemptFailure, ReplibatchError, SettingsError, TokenRefused
from replibatch.limits import Limiter
from replibatch.limits.status import workers_of
from replibatch.replicate_api import ReplicateAPI

ASK_AGAIN_SECONDS = 10.0

log = structlog.get_logger(__name__)


class Credentials:
    """Whose token this worker has, and whether Replicate still accepts it.

    Args:
        limiter: the account's limiter, through which the workers tell each other.
        report: what this process says of itself with each heartbeat; written to here.
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
        """Ask Replicate whose token this is, before any work is taken; False where there was no answer.

        Raises:
            TokenRefused: it is not accepted. Where no other worker's is either, the account is stopped.
            SettingsError: it is another account's than the other workers'.
        """
        try:
            username = api.account()
            self._is_checked = True
        except TokenRefused as refused:
            self._stop_without_others(refused)
            raise
        except AttemptFailure as failure:
            self._is_checked = True
            log.warning("could not ask for the account", error=str(failure))
            return False
        log.info("account", name=username, limits=self._limiter.prefix)
        self._report["username"] = username
        # Said before it is looked: of two that do so at once, one at least sees it of both.
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
        threading.Thread(target=self._ask_until_answered, args=(api,), name="credentials", daemon=True).start()

    def lift_stop(self) -> None:
        """Have the account go on, where a refused token has stopped it: this one was just accepted.

        Any other stop stays: that a worker starts says nothing of the account's credit.
        """
        self._limiter.resume(TokenRefused.__name__)

    def refused(self, why: TokenRefused) -> None:
        """Replicate accepts the token no more: go, and stop the account if nobody else's is accepted either."""
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

    def _ask_until_answered(self, api: ReplicateAPI) -> None:
        while not self._ending.wait(ASK_AGAIN_SECONDS):
            try:
                if self.check(api):
                    self.lift_stop()
                    return
            except TokenRefused:
                return  # `refused` has heard of it
            except SettingsError as error:
                with self._lock:
                    if not self._ending.is_set():
                        self._go(error)
            except RedisError as error:
                log.warning("redis is away", error=str(error))

    def _stop_without_others(self, why: TokenRefused) -> None:
        if self._others_may_create():
            return
        self._limiter.stop(why.told())
        if self._others_may_create():  # one that has begun in between, and found no stop to lift
            self.lift_stop()

    def _others_may_create(self) -> bool:
        """Whether a worker is left whose token was not refused: accepted, or not yet asked about."""
        return any("token_refused" not in report for _, report in self._others())

    def _others(self) -> list[tuple[str, dict[str, Any]]]:
        """The other live workers, by their names, with what they say of themselves."""
        now = self._limiter.status()
        return [(name, now["processes"][name]) for name in workers_of(now) if name != self._limiter.process]
