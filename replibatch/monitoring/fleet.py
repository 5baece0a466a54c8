"""The fleet at a glance, read from Redis alone: it shows the same whether any worker is up or none."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

from replibatch.broker.publish import queue_lists
from replibatch.errors import NoSuchWork
from replibatch.gallery.page import shown_state
from replibatch.jobs.counts import ATTEMPTS, COST, FALLBACKS, GENERATIONS, Counts, Table, of_kind
from replibatch.limits import AccountStatus
from replibatch.money import to_usd
from replibatch.monitoring.thumbnails import is_picture
from replibatch.producer import Producer
from replibatch.redisdb import keys
from replibatch.requests import BatchResult

BATCHES = 8
PICTURES = 8  # of each batch
PROMPT_SIGNS = 140  # of a prompt, under its picture
FRESH_SECONDS = 0.7  # many viewers cost one read
DAYS = 7


class Fleet:
    """One account, for a page that asks every second.

    Args:
        producer: the process's way to Redis.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._counts = Counts(producer.redis, producer.jobs.prefix)
        self._lock = threading.Lock()
        self._seen: dict[str, Any] = {}
        self._seen_at = float("-inf")

    def look(self) -> dict[str, Any]:
        """Everything the page shows, as JSON values.

        Raises:
            RedisError: Redis does not answer.
        """
        with self._lock:
            if time.monotonic() - self._seen_at > FRESH_SECONDS:
                self._seen = self._look()
                self._seen_at = time.monotonic()
            return self._seen

    def outputs(self, generation_id: str) -> list[tuple[str, str | None]]:
        """The files of a generation that is over, each with its name in the storage and its SHA-256."""
        _, _, result = self._producer.jobs.outcome(generation_id)
        return [(file.path, file.sha256) for file in result.files] if result else []

    def _look(self) -> dict[str, Any]:
        now = self._producer.limiter.status()
        settings = self._producer.settings
        return {
            "account": settings.account_key,
            "at": time.time(),
            "in_flight": _use(now, "max_concurrent", now.in_flight, now.max_concurrent) | {"peak": now.peak},
            "window": _use(now, "per_window", now.in_window, now.per_window)
            | {"seconds": settings.rate_window_seconds, "learned": now.learned_per_window},
            "reads": {"used": now.reads, "limit": settings.reads_per_minute},
            "spend": {
                "month_usd": now.spent_usd,
                "reserved_usd": now.reserved_usd,
                "budget_usd": now.budget_usd,
                "source": now.source("budget"),
            },
            "waiting": now.waiting,
            "waiting_for": now.waiting_for,
            "queued": self._queued(),
            "created": now.total,
            "throttled": now.throttled,
            "cooldown_seconds": now.cooling_down_seconds,
            "outages": [outage.to_json() for outage in now.outages],
            "stopped": str(now.stop) if now.stop else None,
            "workers": self._workers(now),
            "left_behind": self._left_behind(now),
            "batches": self._batches(),
            "latest": self._pictures(self._latest()),
            "models": self._models(),
        }

    def _queued(self) -> int:
        with self._producer.redis.pipeline(transaction=False) as pipeline:
            for name in queue_lists(self._producer.settings).values():
                pipeline.llen(name)
            return sum(pipeline.execute())

    def _workers(self, now: AccountStatus) -> list[dict[str, Any]]:
        """The workers that live, and what each holds."""
        holders = self._producer.limiter.holders()
        alive = now.workers
        custody = self._custody(alive)
        return [
            {
                "name": name,
                "host": now.processes[name]["host"],
                "pid": now.processes[name]["pid"],
                "generations": custody[name],
                "in_flight": holders.get(name, (0, 0))[0],
                "waiting": holders.get(name, (0, 0))[1],
                "silent_seconds": now.silent_seconds[name],
            }
            for name in alive
        ]

    def _left_behind(self, now: AccountStatus) -> int:
        """Generations of processes that live no more: the next worker takes them over."""
        holders = self._producer.jobs.other_holders()
        return sum(self._custody([name for name in holders if name not in now.processes]).values())

    def _custody(self, processes: list[str]) -> dict[str, int]:
        with self._producer.redis.pipeline(transaction=False) as pipeline:
            for name in processes:
                pipeline.scard(keys.CUSTODY.at(self._producer.jobs.prefix, name or "-"))
            return dict(zip(processes, pipeline.execute(), strict=True))

    def _batches(self) -> list[dict[str, Any]]:
        jobs = self._producer.batches
        shown = []
        for batch, opened in jobs.newest(BATCHES):
            try:
                state = jobs.state(batch)
            except NoSuchWork:  # it has just expired
                continue
            shown.append(
                {
                    "id": batch,
                    "name": str(jobs.about(batch).get("name") or ""),
                    "opened": opened,
                    "standing": state.standing,
                    **state.figures(),
                    "pictures": self._pictures(self._newest_of(batch)),
                }
            )
        return shown

    def _latest(self) -> list[str]:
        return cast("list[str]", self._producer.redis.lrange(keys.LATEST.at(self._producer.jobs.prefix), 0, -1))

    def _newest_of(self, batch: str) -> list[str]:
        key = keys.FINISHED.at(self._producer.jobs.prefix, batch)
        entries: Any = self._producer.redis.xrevrange(key, count=PICTURES)
        return [fields["id"] for _, fields in entries]

    def _pictures(self, ids: list[str]) -> list[dict[str, Any]]:
        jobs = self._producer.jobs
        results = ((generation_id, jobs.outcome(generation_id)[2]) for generation_id in ids)
        return [_picture(generation_id, result) for generation_id, result in results if result]

    def _models(self) -> list[dict[str, Any]]:
        """What each model has come to, today and in a week: made, failed attempts by reason, who had to stand in."""
        tables = {"today": self._counts.of_days(1), "week": self._counts.of_days(DAYS)}
        names = sorted({labels[1] for table in tables.values() for labels in table if len(labels) > 1})
        return [{"model": name, **{span: _of_model(table, name) for span, table in tables.items()}} for name in names]


def _use(now: AccountStatus, name: str, used: int, limit: int) -> dict[str, Any]:
    return {"used": used, "limit": limit, "source": now.source(name)}


def _picture(generation_id: str, result: BatchResult) -> dict[str, Any]:
    """What a tile shows; `number` is that of its picture, None where there is none to show."""
    number = next((place for place, path in enumerate(result.file_paths) if is_picture(path)), None)
    prompt = result.prompt
    return {
        "id": generation_id,
        "state": shown_state(result),
        "model": result.model_used or result.model_name,
        "prompt": prompt if len(prompt) <= PROMPT_SIGNS else prompt[: PROMPT_SIGNS - 1] + "…",
        "error": result.error and result.error[: 2 * PROMPT_SIGNS],
        "cost_usd": result.cost_usd,
        "number": number,
    }


def _of_model(table: Table, model: str) -> dict[str, Any]:
    made = table[GENERATIONS, model, "succeeded"]
    fallbacks = {labels[1]: amount for labels, amount in of_kind(table, FALLBACKS) if labels[0] == model}
    attempts = {labels[1]: amount for labels, amount in of_kind(table, ATTEMPTS) if labels[0] == model}
    failed = {outcome: amount for outcome, amount in attempts.items() if outcome != "succeeded"}
    return {"made": made, "failed": failed, "fallbacks": fallbacks, "cost_usd": to_usd(table[COST, model])}
