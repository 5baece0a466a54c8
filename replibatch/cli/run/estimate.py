"""What a plan will cost and how long it will take, by the limits as they are now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from replibatch.cli.formatting import count, dollars, duration, short
from replibatch.cli.run.plan import Survey
from replibatch.producer import Producer
from replibatch.producer.batch import strategy_for


@dataclass(frozen=True)
class Estimate:
    """An estimate before a run.

    Attributes:
        survey: what there is to make.
        strategy: how it is fed.
        seconds: how long it takes, if nothing else works on the account.
        at_once: predictions in flight, at most.
        per_window: creates that the account is allowed in a window.
        window_seconds: its length.
    """

    survey: Survey
    strategy: str
    seconds: float
    at_once: int
    per_window: int
    window_seconds: float

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        survey = self.survey
        return {
            "items": survey.count,
            "predictions": survey.predictions,
            "made_before": survey.made,
            "models": {
                name: {"items": number, "cost_usd": round(survey.cost_by_model[name], 6)}
                for name, number in survey.by_model.items()
            },
            "cost_usd": round(survey.cost_usd, 6),
            "unknown_cost": survey.unpriced,
            "strategy": self.strategy,
            "max_concurrent": self.at_once,
            "seconds": round(self.seconds, 1),
            "understood": survey.understanding.to_json(),
        }

    def headline(self) -> str:
        """One line for people."""
        survey = self.survey
        before = f" ({survey.made:,} made before)" if survey.made else ""
        if not survey.count:
            return f"Nothing to make{before}."
        unpriced = f" and {count(survey.unpriced, 'item')} of unknown cost" if survey.unpriced else ""
        ahead = f"{dollars(survey.cost_usd)}{unpriced}, about {duration(self.seconds)}"
        how = f"{self.at_once:,} at a time, strategy {self.strategy}"
        steps = f" in {count(survey.predictions, 'step')}" if survey.predictions > survey.count else ""
        return f"{count(survey.count, 'item')}{steps} to make{before}: {ahead}, {how}"

    def lines(self) -> list[str]:
        """The same by model, for people."""
        survey = self.survey
        width = max((len(short(name)) for name in survey.by_model), default=0)
        return [
            self.headline(),
            *(
                f"  {short(name):<{width}}  {number:>9,}  {dollars(survey.cost_by_model[name]):>10}"
                for name, number in survey.by_model.most_common()
            ),
        ]


def estimate(survey: Survey, producer: Producer, max_concurrent: int | None) -> Estimate:
    """Estimate a run before anything is queued.

    Args:
        survey: what there is to make.
        producer: knows the limits.
        max_concurrent: the run's own; None for the account's.
    """
    now = producer.status()
    per_window = now["requests_per_minute"]
    free_now = max(0, per_window - now["requests_in_window"])
    at_once = min(now["global_max_concurrent"], max_concurrent or now["global_max_concurrent"])
    window_seconds = producer.settings.rate_window_seconds
    seconds = survey.seconds(at_once=at_once, free_now=free_now, per_window=per_window, window_seconds=window_seconds)
    strategy = strategy_for(survey.count, free_now, per_window)
    return Estimate(survey, strategy, seconds, at_once, per_window, window_seconds)
