"""Which fault strikes, of those that are ordered and those that come by chance."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from replibatch.sandbox.faults import NOT_COUNTED, Fault, Phase, ordered, phase_of
from replibatch.sandbox.settings import SandboxSettings


class Strikes:
    """Decides which fault strikes.

    Args:
        settings: rates and broken models, read at each draw.
        rng: seeded, so that a run can be repeated.
    """

    def __init__(self, settings: SandboxSettings, rng: random.Random) -> None:
        self._settings = settings
        self._rng = rng
        self._struck: Counter[tuple[Fault, str, str]] = Counter()

    def draw(self, phase: Phase, model: str = "", prompt: str = "") -> Fault | None:
        """The fault that strikes now, if any: one the prompt orders before one drawn by rate."""
        if phase is Phase.COURSE and model in self._settings.broken_models:
            return Fault("failed")
        if phase is Phase.COURSE and any(word in prompt for word in self._settings.sensitive_words):
            return Fault("sensitive")
        return next(self._striking(phase, model, prompt), None)

    def draw_all(self, phase: Phase, model: str, prompt: str) -> tuple[Fault, ...]:
        """All the faults that strike now."""
        return tuple(self._striking(phase, model, prompt))

    def _striking(self, phase: Phase, model: str, prompt: str) -> Iterator[Fault]:
        for fault in ordered(prompt):
            if phase_of(fault.kind) is phase and self._strikes(fault, model, prompt):
                yield fault
        for rates in (self._settings.model_faults.get(model, {}), self._settings.fault_rates):
            for kind, rate in rates.items():
                if phase_of(kind) is phase and self._rng.random() < rate:
                    yield Fault(kind)

    def _strikes(self, fault: Fault, model: str, prompt: str) -> bool:
        if fault.models and model not in fault.models:
            return False
        if fault.number is None or fault.kind in NOT_COUNTED:
            return True
        self._struck[fault, model, prompt] += 1
        return self._struck[fault, model, prompt] <= fault.number
