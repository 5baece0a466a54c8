"""What is kept of a prediction that was asked for through the gateway, beside its generation's own record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from redis import Redis

from replibatch.redisdb import keys

KEPT_LONGER_SECONDS = 30 * 24 * 3600.0

Read = Callable[[Any], Any]


@dataclass(frozen=True)
class Served:
    """One prediction.

    Attributes:
        id: the prediction's, and its generation's.
        owner: the id of the key it was asked for with.
        created: when that was, in Unix seconds.
        model: `owner/name`, as asked.
        version: as asked; `hidden` for a model that was asked for by its name.
        deployment: `owner/name`, where it was asked for through one.
        input: as sent.
        token: what opens its files and its stream without a key.
        base: the gateway as this client reached it.
        shape: the form of the model's output: `uri`, `array<uri>`, `text`, …
        webhook: whether a call at its start, or at its end, is wanted.
        completed: when its end was first seen, in Unix seconds; 0 before.
        ended: the status it ended with; empty before.
        lane: the batch that it waits in for its turn; empty for none.
    """

    id: str
    owner: str
    created: float
    model: str
    version: str
    input: dict[str, Any] = field(default_factory=dict)
    token: str = ""
    base: str = ""
    shape: str = ""
    deployment: str = ""
    webhook: bool = False
    completed: float = 0.0
    ended: str = ""
    lane: str = ""

    def packed(self) -> dict[Any, Any]:
        """As it lies in Redis."""
        return {
            name: json.dumps(value, separators=(",", ":"))
            for name, value in vars(self).items()
            if name != "id" and value not in ("", 0.0, False)
        }

    @classmethod
    def parse(cls, prediction_id: str, fields: Mapping[str, str]) -> Self | None:
        """The opposite of `packed`; None where there is none."""
        if "owner" not in fields:
            return None
        known = cls.__dataclass_fields__
        return cls(prediction_id, **{name: json.loads(text) for name, text in fields.items() if name in known})


def served_read(prefix: str, prediction_id: str) -> Read:
    """The command that reads one, for a pipeline."""
    return lambda redis: redis.hgetall(keys.SERVED.at(prefix, prediction_id))


def find(redis: Redis, prefix: str, prediction_id: str) -> Served | None:
    """The prediction of that id; None where the gateway has served none."""
    fields: Any = served_read(prefix, prediction_id)(redis)
    return Served.parse(prediction_id, fields)


def keep(redis: Redis, prefix: str, served: Served, keep_seconds: float) -> None:
    """Keep a prediction, and list it under its key.

    Args:
        redis: the fleet's.
        prefix: the account's.
        served: the prediction.
        keep_seconds: how long its result is kept.
    """
    life_ms = int((2 * keep_seconds + KEPT_LONGER_SECONDS) * 1000)
    name = keys.SERVED.at(prefix, served.id)
    with redis.pipeline(transaction=True) as pipeline:
        pipeline.delete(name)
        pipeline.hset(name, mapping=served.packed())
        pipeline.pexpire(name, life_ms)
        for listed in (keys.SERVED_OF, keys.SERVED_OPEN):
            key = listed.at(prefix, served.owner)
            pipeline.zadd(key, {served.id: served.created})
            pipeline.zremrangebyscore(key, "-inf", served.created - life_ms / 1000)
            pipeline.pexpire(key, life_ms)
        pipeline.execute()


def forget(redis: Redis, prefix: str, served: Served) -> None:
    """Forget a prediction of which nothing was asked of the queue."""
    with redis.pipeline(transaction=True) as pipeline:
        pipeline.delete(keys.SERVED.at(prefix, served.id))
        for listed in (keys.SERVED_OF, keys.SERVED_OPEN):
            pipeline.zrem(listed.at(prefix, served.owner), served.id)
        pipeline.execute()
