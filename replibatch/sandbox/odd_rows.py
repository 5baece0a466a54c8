"""Rows that cannot be read, or not wholly: each kind breaks one row of the list, or one answer to a get."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

DEPTH = 3000
DIGITS = 5000
MEGABYTE = 1_000_000

Row = dict[str, Any]


def _dumped(row: Row) -> str:
    return json.dumps(row, separators=(",", ":"))


def _with(**changes: Any) -> Callable[[Row], str]:
    return lambda row: _dumped(row | changes)


def _without(name: str) -> Callable[[Row], str]:
    return lambda row: _dumped({key: value for key, value in row.items() if key != name})


def _with_raw(name: str, text: str) -> Callable[[Row], str]:
    """The value written as it stands, valid JSON or not."""
    return lambda row: f'{_dumped({key: value for key, value in row.items() if key != name})[:-1]},"{name}":{text}}}'


ODD_ROWS: dict[str, Callable[[Row], str]] = {
    "row-half-date": _with(created_at="2026-11-2"),
    "row-half-date-of-end": _with(completed_at="2026-11-20T12:0"),
    "row-number-for-date": _with(created_at=1_795_000_000),
    "row-no-date": _without("created_at"),
    "row-far-date": _with(created_at="9999-12-31T23:59:59.999999999Z"),
    "row-null-status": _with(status=None),
    "row-no-status": _without("status"),
    "row-unknown-status": _with(status="queued"),
    "row-status-in-capitals": lambda row: _dumped(row | {"status": str(row["status"]).upper()}),
    "row-list-for-status": _with(status=["succeeded"]),
    "row-no-id": _without("id"),
    "row-null-id": _with(id=None),
    "row-number-for-id": _with(id=7),
    "row-deep": _with_raw("output", "[" * DEPTH + "]" * DEPTH),
    "row-deep-input": _with_raw("input", '{"a":' * DEPTH + "1" + "}" * DEPTH),
    "row-huge-number": _with_raw("output", "9" * DIGITS),
    "row-huge-float": _with_raw("metrics", '{"predict_time":1e999,"total_time":1e999}'),
    "row-nan": _with_raw("output", "NaN"),
    "row-lone-surrogate": _with_raw("error", '"\\ud800"'),
    "row-control-characters": _with(error="\x1b[2J\x00\u202e"),
    "row-long-logs": _with(logs="  0%|          | 0/28 [00:00<?, ?it/s]\n" * (MEGABYTE // 40)),
    "row-list-for-input": _with(input=["a fox"]),
    "row-text-for-input": _with(input="a fox"),
    "row-object-for-error": _with(error={"detail": "it failed"}),
    "row-number-for-model": _with(model=7),
    "row-text-for-metrics": _with(metrics="0.4 s"),
    "row-text-for-urls": _with(urls="none"),
    "row-null": lambda _: "null",
    "row-text": lambda _: '"a row"',
    "row-list": lambda row: f"[{_dumped(row)}]",
    "row-empty": lambda _: "{}",
}
