"""Webhooks: addresses of the callers' that are owed a call with a result, or with the start of a prediction.

Owed from the moment of the settle, or of the claim of the first prediction, in the same step, until one delivery has
been answered with a 2xx, or a day has passed. So each is delivered at least once, with the same id.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from redis import Redis

from replibatch.jobs.packing import compact
from replibatch.redisdb import keys

if TYPE_CHECKING:
    from replibatch.jobs.record import Record

GIVE_UP_SECONDS = 24 * 3600.0
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 3600.0
CLAIM_SECONDS = 90.0  # longer than a delivery takes: if a process dies during one, another delivers it
SHOWN = 100
LOST_KEPT = 20
START = "-start"  # how the id of a call with a start ends; a result's ends with a fence, a number


@dataclass(frozen=True)
class Webhook:
    """One that is owed.

    Attributes:
        id: the `webhook-id`: the same for every delivery.
        job: the generation's id.
        url: who is called.
        since: when it was first owed, in Unix seconds.
        tries: deliveries that failed.
        error: why the last one did.
    """

    id: str
    job: str
    url: str
    since: float
    tries: int = 0
    error: str = ""

    def packed(self) -> str:
        """As it lies in Redis."""
        return compact(vars(self))

    @classmethod
    def parse(cls, packed: str) -> Self:
        """The opposite of `packed`."""
        data: dict[str, Any] = json.loads(packed)
        return cls(**data)

    @property
    def is_start(self) -> bool:
        """Whether it tells the start, not the result."""
        return self.id.endswith(START)

    @property
    def pause_seconds(self) -> float:
        """How long to wait after one more failure."""
        return float(min(FIRST_PAUSE_SECONDS * 2**self.tries, LONGEST_PAUSE_SECONDS))


def owed_webhook(record: Record) -> str:
    """The webhook owed once a generation is settled; empty where it has none."""
    if not record.request.webhook:
        return ""
    return Webhook(
        f"msg_{record.id}-{record.fence}", record.id, record.request.webhook, round(time.time(), 3)
    ).packed()


def owed_start(record: Record) -> str:
    """The webhook owed once its attempt has a prediction; empty where that is not its first, or none is wanted."""
    if not record.request.webhook_start or any(attempt.prediction_id for attempt in record.attempts):
        return ""
    return Webhook(f"msg_{record.id}{START}", record.id, record.request.webhook_start, round(time.time(), 3)).packed()


class OwedWebhooks:
    """Those of one account.

    Args:
        redis: the fleet's.
        prefix: of the account's keys.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._key = keys.WEBHOOKS.at(prefix)
        self._lost = keys.WEBHOOKS_LOST.at(prefix)

    def claim(self, most: int) -> list[Webhook]:
        """Those that are due, for this process to deliver now; no other sees them for a while."""
        now_ms = self._now_ms()
        due: Any = self._redis.zrangebyscore(self._key, "-inf", now_ms, start=0, num=most, withscores=True)
        claimed = []
        for packed, score in due:
            # Of two that claim the same at once, the second finds another score than the one it saw.
            with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.zscore(self._key, packed)
                pipeline.zadd(self._key, {packed: now_ms + CLAIM_SECONDS * 1000}, xx=True)
                before, _ = pipeline.execute()
            if before == score:
                claimed.append(Webhook.parse(packed))
        return claimed

    def delivered(self, webhook: Webhook) -> None:
        """Forget one that was taken."""
        self._redis.zrem(self._key, webhook.packed())

    def failed(self, webhook: Webhook, error: str, *, for_good: bool = False) -> None:
        """Try one again later, or give it up.

        Args:
            webhook: which.
            error: why it was not taken, in one line.
            for_good: whether no later try would do better.
        """
        again = replace(webhook, tries=webhook.tries + 1, error=error[:200])
        due = time.time() + webhook.pause_seconds
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.zrem(self._key, webhook.packed())
            if for_good or due - webhook.since > GIVE_UP_SECONDS:
                pipeline.lpush(self._lost, again.packed())
                pipeline.ltrim(self._lost, 0, LOST_KEPT - 1)
            else:
                pipeline.zadd(self._key, {again.packed(): self._now_ms() + webhook.pause_seconds * 1000})
            pipeline.execute()

    def put_off(self, webhook: Webhook) -> None:
        """Give one back that was claimed and not tried."""
        self._redis.zadd(self._key, {webhook.packed(): self._now_ms() + FIRST_PAUSE_SECONDS * 1000}, xx=True)

    def failing(self) -> list[Webhook]:
        """Those that have failed at least once and are tried again; a screenful."""
        found: Any = self._redis.zrange(self._key, 0, SHOWN - 1)
        return [webhook for webhook in map(Webhook.parse, found) if webhook.tries]

    def lost(self) -> list[Webhook]:
        """The last that were given up, newest first."""
        found: Any = self._redis.lrange(self._lost, 0, -1)
        return [Webhook.parse(each) for each in found]

    def _now_ms(self) -> int:
        seconds, micros = self._redis.time()
        return int(seconds) * 1000 + int(micros) // 1000
