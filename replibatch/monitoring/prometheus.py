"""The fleet's figures for Prometheus, read from Redis at each scrape: they outlive every process, this one too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from math import inf
from typing import Any, cast

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from replibatch.broker.publish import queue_lists
from replibatch.jobs.counts import (
    ATTEMPTS,
    COST,
    FALLBACKS,
    GENERATIONS,
    LATENCY,
    LATENCY_SECONDS,
    MILLISECONDS,
    TAKEN_OVER,
    Counts,
    Table,
    of_kind,
)
from replibatch.limits.outages import NAMES
from replibatch.money import to_usd
from replibatch.producer import Producer
from replibatch.redisdb import keys

CAUSES = ("slots", "window", "cooldown", "pacing", "outage", "stopped", "rebuild", "claim")
LABELS = {GENERATIONS: "outcome", ATTEMPTS: "outcome", FALLBACKS: "reason"}
HELP = {
    GENERATIONS: "Generations that have their result, by the last model tried and how they ended.",
    ATTEMPTS: "Attempts on a model that are over, by how they ended.",
    FALLBACKS: "Attempts whose place another model took, by why.",
}


class FleetCollector(Collector):
    """What a scrape collects.

    Args:
        producer: the process's way to Redis.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._counts = Counts(producer.redis, producer.jobs.prefix)

    def describe(self) -> list[Metric]:
        """Nothing in advance: Redis may be away when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The figures now; where Redis does not answer, that alone."""
        try:
            metrics = [*self._limits(), *self._work(), *self._outcomes(self._counts.ever())]
        except RedisError:
            metrics = []
        yield GaugeMetricFamily("replibatch_up", "Whether Redis answers.", float(bool(metrics)))
        yield from metrics

    def _limits(self) -> Iterator[Metric]:
        now = self._producer.limiter.status()
        settings = self._producer.settings
        gauges = {
            "in_flight": ("Predictions in flight, by the slots they hold.", now.in_flight),
            "max_concurrent": ("Predictions that may be in flight.", now.max_concurrent),
            "window_requests": ("Creates in the sliding window.", now.in_window),
            "window_limit_requests": ("Creates allowed in it.", now.per_window),
            "window_seconds": ("Length of the window.", settings.rate_window_seconds),
            "reads_requests": ("Other requests to the API in the last minute.", now.reads),
            "reads_limit_requests": ("Other requests allowed in a minute.", settings.reads_per_minute),
            "cooldown_seconds": ("What is left of the pause Replicate asked for.", now.cooling_down_seconds),
            "stopped": ("Whether the account is stopped (token, credit).", float(bool(now.stop))),
            "month_spent_usd": ("Spent in this calendar month (UTC).", now.spent_usd),
            "reserved_usd": ("Reserved for what is in flight.", now.reserved_usd),
            "workers": ("Worker processes that live.", len(now.workers)),
        }
        for name, (help_text, value) in gauges.items():
            yield GaugeMetricFamily(f"replibatch_{name}", help_text, value)
        if now.budget_usd is not None:
            yield GaugeMetricFamily("replibatch_month_budget_usd", "The month's budget.", now.budget_usd)
        yield CounterMetricFamily("replibatch_creates", "Creates sent to Replicate.", now.total)
        yield CounterMetricFamily("replibatch_throttled", "Creates answered with 429.", now.throttled)
        out = GaugeMetricFamily(
            "replibatch_outage_seconds", "Since when this is out, and holds work.", labels=["what"]
        )
        for what in {*NAMES, *(outage.name for outage in now.outages)}:
            out.add_metric([what], next((each.since_seconds for each in now.outages if each.name == what), 0.0))
        yield out
        yield CounterMetricFamily("replibatch_outages", "Outages so far.", now.outages_so_far)
        yield self._spent()
        waiting = GaugeMetricFamily("replibatch_waiting", "Attempts in the line, by cause.", labels=["cause"])
        waited = CounterMetricFamily(
            "replibatch_waiting_seconds", "Time spent in the line, over all attempts, by cause.", labels=["cause"]
        )
        for cause in CAUSES:
            waiting.add_metric([cause], now.waiting if now.waiting_for == cause else 0)
            waited.add_metric([cause], now.waited_seconds.get(cause, 0))
        yield from (waiting, waited)

    def _spent(self) -> Metric:
        months = cast("dict[str, str]", self._producer.redis.hgetall(keys.SPEND.at(self._producer.limiter.prefix)))
        spent = sum(int(amount) for month, amount in months.items() if month != "reserved")
        return CounterMetricFamily("replibatch_spent_usd", "Spent since this Redis knows the account.", to_usd(spent))

    def _work(self) -> Iterator[Metric]:
        redis, prefix = self._producer.redis, self._producer.jobs.prefix
        feeding = self._producer.batches.feeding()
        with redis.pipeline(transaction=False) as pipeline:
            for name in queue_lists(self._producer.settings).values():
                pipeline.llen(name)
            queued = sum(pipeline.execute())
            for batch in feeding:
                pipeline.llen(keys.PENDING.at(prefix, batch))
            pending = sum(pipeline.execute())
        yield GaugeMetricFamily("replibatch_queued", "Generations in the queue.", queued)
        yield GaugeMetricFamily("replibatch_pending", "Generations waiting in batches that go on.", pending)

    def _outcomes(self, table: Table) -> Iterator[Metric]:
        for kind, label in LABELS.items():
            counter = CounterMetricFamily(f"replibatch_{kind}", HELP[kind], labels=["model", label])
            for labels, amount in of_kind(table, kind):
                counter.add_metric(labels, amount)
            yield counter
        cost = CounterMetricFamily("replibatch_cost_usd", "Cost of finished generations.", labels=["model"])
        for labels, amount in of_kind(table, COST):
            cost.add_metric(labels, to_usd(amount))
        yield cost
        yield _latency(table)
        yield CounterMetricFamily(
            "replibatch_recoveries",
            "Generations taken over from processes that died or left.",
            table[(TAKEN_OVER,)],
        )


def _latency(table: Table) -> Metric:
    buckets: dict[str, dict[str, int]] = defaultdict(dict)
    for (model, bound), amount in of_kind(table, LATENCY):
        buckets[model][bound] = amount
    latency = HistogramMetricFamily(
        "replibatch_attempt_seconds", "From the grant of a successful attempt to its saved file.", labels=["model"]
    )
    for model, amounts in buckets.items():
        cumulative: list[Any] = []
        so_far = 0
        for upper in LATENCY_SECONDS:
            so_far += amounts.get(str(upper), 0)
            cumulative.append(("+Inf" if upper == inf else str(upper), so_far))
        latency.add_metric([model], cumulative, table[MILLISECONDS, model] / 1000)
    return latency
