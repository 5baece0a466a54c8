"""Money as Redis keeps it: in whole micro-dollars: sums are exact."""

from __future__ import annotations

import math

MICRO = 1_000_000
LARGEST_PRICE_USD = 10_000.0  # of one prediction
LARGEST_USD = 1e9  # of a budget, or of all spend: its micro-dollars are exact in Lua's numbers


def to_micro(usd: float) -> int:
    """Dollars as micro-dollars.

    Raises:
        ValueError: it is no amount that a script could reckon with: negative, not finite, or past a billion dollars.
    """
    if not (math.isfinite(usd) and 0 <= usd <= LARGEST_USD):
        raise ValueError(f"${usd} is no amount; allowed: from $0 to ${LARGEST_USD:,.0f}")
    return round(usd * MICRO)


def to_usd(micro: float) -> float:
    """Micro-dollars as dollars."""
    return micro / MICRO
