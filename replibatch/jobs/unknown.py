"""Creates that may or may not have been made, without proof either way: a person may list and settle them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import cast

from redis import Redis

from replibatch.redisdb import keys

NOT_CREATED = "-"


@dataclass(frozen=True)
class Unknown:
    """One such create.

    Attributes:
        id: the generation's.
        model: the attempt's.
        since: when its create was sent, in Unix seconds.
        candidates: ids of the predictions that may be it.
        why: why nothing proves it, in one line.
    """

    id: str
    model: str
    since: float
    candidates: tuple[str, ...]
    why: str

    @property
    def to_settle(self) -> str:
        """The commands that settle it."""
        some = self.candidates[0] if self.candidates else "PREDICTION"
        return f"replibatch settle {self.id} --created {some} | --not-created"


class UnknownCreates:
    """Those of one account.

    Args:
        redis: the fleet's.
        prefix: the account's.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._unknown = keys.UNKNOWN.at(prefix)
        self._verdicts = keys.VERDICTS.at(prefix)

    def all(self) -> list[Unknown]:
        """Every such create, the oldest first."""
        rows = cast("dict[str, str]", self._redis.hgetall(self._unknown))
        found = [_read(generation_id, text) for generation_id, text in rows.items()]
        return sorted(found, key=lambda each: each.since)

    def note(self, each: Unknown) -> None:
        """List one, or update its entry."""
        fields = {"model": each.model, "since": each.since, "candidates": each.candidates, "why": each.why}
        self._redis.hset(self._unknown, each.id, json.dumps(fields))

    def forget(self, generation_id: str) -> None:
        """It is settled."""
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hdel(self._unknown, generation_id)
            pipeline.hdel(self._verdicts, generation_id)
            pipeline.execute()

    def settle(self, generation_id: str, prediction_id: str | None) -> bool:
        """A person's verdict; False where the generation is not listed.

        Args:
            generation_id: the generation.
            prediction_id: the prediction that is it; None where none was created.
        """
        if not self._redis.hexists(self._unknown, generation_id):
            return False
        self._redis.hset(self._verdicts, generation_id, prediction_id or NOT_CREATED)
        return True

    def verdicts(self) -> dict[str, str]:
        """Verdicts that no worker has acted on yet: the prediction's id, or `NOT_CREATED`, by generation."""
        return cast("dict[str, str]", self._redis.hgetall(self._verdicts))


def _read(generation_id: str, text: str) -> Unknown:
    fields = json.loads(text)
    since = float(fields.get("since") or time.time())
    candidates = tuple(str(each) for each in fields.get("candidates", ()))
    return Unknown(generation_id, str(fields["model"]), since, candidates, str(fields.get("why", "")))
