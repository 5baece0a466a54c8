"""What a producer has to know of the workers elsewhere: that there are any, and that it is one account with them."""

from __future__ import annotations

import time

from replibatch.errors import SettingsError
from replibatch.limits import Limiter
from replibatch.producer.unavailable import queue_errors
from replibatch.settings import Settings
from replibatch.storage.shared import refuse_another
from replibatch.storage.storage import Storage

LOOK_SECONDS = 60.0  # how often a process looks whether it shares the workers' storage, and whether there are any


class Fleet:
    """The workers of a fleet, as one producer sees them; in embedded mode there is nothing to see.

    Args:
        settings: the producer's.
        limiter: the account's.
        token_given: whether the producer's token came as an argument of a call.
    """

    def __init__(self, settings: Settings, limiter: Limiter, *, token_given: bool) -> None:
        self._settings = settings
        self._limiter = limiter
        self._is_elsewhere = settings.redis_url is not None
        self.token_to_check = token_given and self._is_elsewhere
        self._storage_checked = float("-inf")
        self._looked_for_workers = float("-inf")

    def check_storage(self, storage: Storage) -> None:
        """See that files in this process's storage are seen by the workers, and theirs by this process.

        Raises:
            SettingsError: some worker has another storage.
            StorageError: it cannot be read.
        """
        now = time.monotonic()
        if self._is_elsewhere and now - self._storage_checked > LOOK_SECONDS:
            with queue_errors(self._settings.redis_address):
                processes = self._limiter.status().processes
            refuse_another(storage, processes)
            self._storage_checked = now

    def check_token(self) -> None:
        """See that a token given in code belongs to the account that the workers work for.

        Raises:
            SettingsError: it belongs to another.
        """
        if not self.token_to_check:
            return
        names = {report["username"] for report in self._limiter.status().processes.values() if "username" in report}
        if not names:
            return  # no worker has said yet
        from replibatch.replicate_api.asking import asking  # noqa: PLC0415  # heavy, and seldom needed

        with asking(self._settings) as api:
            own = api.account()
        if own not in names:
            raise SettingsError(
                f"the token belongs to the account {own!r}, the workers' to {min(names)!r}; "
                "expected: no token, as the workers of a fleet use their own, or one of the same account"
            )
        self.token_to_check = False

    @property
    def may_be_empty(self) -> bool:
        """Whether it is time to look for workers again."""
        return self._is_elsewhere and time.monotonic() - self._looked_for_workers > LOOK_SECONDS

    def has_no_worker(self) -> bool:
        """Whether no worker answers; it is looked once a minute, and in between the answer is no."""
        if not self.may_be_empty:
            return False
        self._looked_for_workers = time.monotonic()
        return not self._limiter.status().workers
