"""The account's reads of the API (anything but a create), in a sliding window of their own."""

from __future__ import annotations

import json
import time

from redis import Redis

from replibatch.redisdb.scripts import Script, Step
from replibatch.settings import Settings

MINUTE_MS = 60_000

_READ = Script("replibatch.limits", "read")


class Reads:
    """One line for all processes of the account.

    Args:
        redis: a client of the fleet's Redis.
        settings: the account, and how many reads it has a minute.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        call = json.dumps({"window_ms": MINUTE_MS, "limit": settings.reads_per_minute})
        self._step = Step(_READ, [settings.key_prefix], [call])

    def wait(self) -> None:
        """Wait until the account may make one more, and count it."""
        while wait_ms := int(self._step.run(self._redis)):
            time.sleep(wait_ms / 1000)
