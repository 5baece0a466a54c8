"""How long a model's predictions take: learned from those that succeed, to know when a poll is worth a read."""

from __future__ import annotations

import math

MEMORY = 500  # the last so many successes count for nearly all; fewer than are in flight would be a biased sample
TYPICAL_DEVIATION = 0.25  # of the logarithm; assumed of a model until more is known
LEAST_DEVIATION = 0.02
STEEP = 500.0  # from here on e^x + 1 is e^x, and soon too large for a float
CERTAIN_SECONDS = 1e6  # stands for: poll now
FIRST_PROBE = 0.05  # of the catalogue's typical time, which may be far off: a first poll comes early …
LEAST_STRIDE = 0.1  # … and the next at an age greater by this share, or by more where few wait for it


class Durations:
    """The durations of one model, as a log-logistic distribution: its tail leaves room for stragglers.

    Args:
        typical_seconds: the catalogue's; stands in until a prediction has succeeded.

    Attributes:
        usual_seconds: the median.
    """

    def __init__(self, typical_seconds: float) -> None:
        self._mean = math.log(max(typical_seconds, 0.001))
        self._variance = TYPICAL_DEVIATION**2
        self._learned = 0
        self._probe_at = FIRST_PROBE * typical_seconds
        self._set_curve()

    def learn(self, seconds: float) -> None:
        """One prediction has succeeded, that long after its creation."""
        self._learned += 1
        weight = max(1 / self._learned, 1 / MEMORY)
        off = math.log(max(seconds, 0.001)) - self._mean
        self._mean += weight * off
        if self._learned > 1:
            self._variance = (1 - weight) * (self._variance + weight * off * off)
        self._set_curve()

    def seen_running(self, age_seconds: float, watched: int) -> None:
        """A prediction of that age was still running, one of so many that are watched."""
        stride = max(2 / watched, LEAST_STRIDE)
        self._probe_at = max(self._probe_at, (1 + stride) * age_seconds)

    def unseen_seconds(self, seen_seconds: float, age_seconds: float) -> float:
        """How long one has been over by now without this process knowing, by expectation.

        Args:
            seen_seconds: its age when it was last seen running.
            age_seconds: its age now.
        """
        if not self._learned and age_seconds >= self._probe_at:
            return CERTAIN_SECONDS
        if age_seconds <= seen_seconds:
            return 0.0
        risk = self._risk(age_seconds) - self._risk(seen_seconds)
        still_running = math.exp(-self._risk(age_seconds))
        # Ends come evenly over a short while; over a long one mostly late, while most are still to come.
        while_seconds = min(age_seconds - seen_seconds, 2 * age_seconds / (self._shape * still_running + 1))
        return while_seconds * max(0.0, 1 + math.expm1(-risk) / risk) if risk else 0.0

    @property
    def first_poll_seconds(self) -> float:
        """The age before which no prediction is worth a poll of its own."""
        soonest = self.usual_seconds * math.pow(1 / 49, 1 / self._shape)  # the age at which 2 % are over
        return soonest if self._learned else min(soonest, self._probe_at)

    def _risk(self, age_seconds: float) -> float:
        """Of having ended by that age, summed up: the share still running is e to the minus this."""
        if age_seconds <= 0:
            return 0.0
        steepness = self._shape * (math.log(age_seconds) - self._mean)
        return steepness if steepness > STEEP else math.log1p(math.exp(steepness))

    def _set_curve(self) -> None:
        deviation = max(math.sqrt(self._variance), LEAST_DEVIATION)
        self.usual_seconds = math.exp(self._mean)
        self._shape = math.pi / (math.sqrt(3) * deviation)  # log-logistic: deviation of ln t = π / (shape √3)
