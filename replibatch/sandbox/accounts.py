"""Accounts: who a token belongs to, and what that account may do."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pydantic import SecretStr

from replibatch.sandbox import replies
from replibatch.sandbox.settings import SandboxSettings

if TYPE_CHECKING:
    from replibatch.sandbox.predictions import Prediction

LOW_CREDIT_CREATES = 6  # a window, with a burst of 1: reported of accounts with little credit
BUSY_WAIT_SECONDS = 1.0  # the Retry-After of a create that finds too many predictions in flight


class Window:
    """Exact counts of a sliding window."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def wait_seconds(self, at: float, limit: int, seconds: float) -> float:
        """How long until the window has room for one more; 0 for now."""
        while self._times and at - self._times[0] >= seconds:
            self._times.popleft()
        if len(self._times) < limit:
            return 0.0
        return seconds if limit == 0 else self._times[-limit] + seconds - at

    def count(self, at: float) -> None:
        """One more, now."""
        self._times.append(at)

    def left(self, limit: int) -> int:
        """How many more it has room for, as of the last `wait_seconds`."""
        return max(0, limit - len(self._times))


class Account:
    """One account: its limits, its money, its predictions.

    Args:
        username: its name.
        settings: read at each request.

    Attributes:
        predictions: every prediction, in the order they were created.
        in_flight: how many predictions are not over.
        spent_usd: what they cost.
    """

    def __init__(self, username: str, settings: SandboxSettings) -> None:
        self.username = username
        self.predictions: list[Prediction] = []
        self.in_flight = 0
        self.spent_usd = 0.0
        self._settings = settings
        self._creates = Window()
        self._reads = Window()

    def admit_create(self, at: float) -> None:
        """Count a create against the limits.

        Raises:
            Refusal: 429.
        """
        settings = self._settings
        if settings.low_credit:
            wait = self._creates.wait_seconds(at, 1, settings.window_seconds / LOW_CREDIT_CREATES)
        else:
            wait = self._creates.wait_seconds(at, settings.creates_per_window, settings.window_seconds)
        if not wait and settings.max_concurrent is not None and self.in_flight >= settings.max_concurrent:
            wait = BUSY_WAIT_SECONDS
        if not wait or settings.count_refused:
            self._creates.count(at)
        if wait:
            raise replies.throttled(wait, settings.retry_after)

    def admit_read(self, at: float) -> None:
        """Count any other request against the limit.

        Raises:
            Refusal: 429.
        """
        wait = self._reads.wait_seconds(at, self._settings.reads_per_minute, 60.0)
        if wait:
            raise replies.throttled(wait, self._settings.retry_after)
        self._reads.count(at)

    def creates_left(self) -> int:
        """How many more creates the window has room for."""
        return self._creates.left(self._settings.creates_per_window)

    def reads_left(self) -> int:
        """How many more reads the minute has room for."""
        return self._reads.left(self._settings.reads_per_minute)

    def check_credit(self) -> None:
        """Whether there is money left.

        Raises:
            Refusal: 402.
        """
        if self._settings.credit_usd is not None and self.spent_usd >= self._settings.credit_usd:
            raise replies.no_credit()


class Accounts:
    """All accounts, by token.

    Args:
        settings: read at each request.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._accounts: dict[str, Account] = {}

    def of(self, authorization: str) -> Account:
        """The account an `Authorization` header stands for.

        Raises:
            Refusal: 401.
        """
        scheme, _, value = authorization.partition(" ")
        token = SecretStr(value.strip())
        settings = self._settings
        if scheme.lower() not in ("bearer", "token") or not token or token in settings.refused_tokens:
            raise replies.unauthenticated()
        for username, tokens in settings.other_accounts.items():
            if token in tokens:
                return self._named(username)
        if settings.accepted_tokens is not None and token not in settings.accepted_tokens:
            raise replies.unauthenticated()
        return self._named(settings.username)

    def _named(self, username: str) -> Account:
        if username not in self._accounts:
            self._accounts[username] = Account(username, self._settings)
        return self._accounts[username]
