"""Money as Redis keeps it: in whole micro-dollars: sums are exact."""

from __future__ import annotations

MICRO = 1_000_000


def to_micro(usd: float) -> int:
    """Dollars as micro-dollars."""
    return round(usd * MICRO)


def to_usd(micro: float) -> float:
    """Micro-dollars as dollars."""
    return micro / MICRO
