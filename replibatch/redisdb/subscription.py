"""A subscription as a loop keeps it: open from its first step to its last, and opened anew after Redis was away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError


class Subscription:
    """The channels that one loop listens to.

    Args:
        redis: a client with a socket timeout above that of any read.
        channels: their names.
    """

    def __init__(self, redis: Redis, *channels: str) -> None:
        self._redis = redis
        self._channels = channels
        self._open: PubSub | None = None

    @contextmanager
    def opened(self) -> Iterator[PubSub]:
        """What to read messages from; closed where Redis goes away in the block.

        Raises:
            RedisError: it is away.
        """
        try:
            if self._open is None:
                self._open = self._redis.pubsub(ignore_subscribe_messages=True)
                self._open.subscribe(*self._channels)
            yield self._open
        except RedisError:
            self.close()
            raise

    def close(self) -> None:
        """Hear no more; the next use opens it anew, without the messages in between."""
        if self._open:
            with suppress(RedisError):
                self._open.close()
        self._open = None
