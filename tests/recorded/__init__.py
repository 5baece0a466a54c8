"""Answers as the real API, and what stands in front of it, has given them: one a line, a file an endpoint.

Each line has `case` (its name), `status`, `content_type`, `headers`, a `body` (JSON) or a `text` (as it stands,
repeated `times` times), and `means`, what a reader has to take it for:

- `created`, `row`, `rows`, `uploaded`, `model`, `account`: the answer that was asked for. `prediction` says what is
  to be read; of a list, `readable` how many rows can be, `at_least` how many have to be.
- `throttled`: wait `wait_seconds`; null where it does not say, or says nonsense.
- `token_refused`, `no_credit`, `invalid_input`, `model_missing`, `gone`, `no_list`: the API's own verdict.
- `says_nothing`: of a cancel; whether the prediction ended has to be read elsewhere.
- `maybe_created`: an error of the API's own; it may have created the prediction.
- `outage`: not the API's own words, or none: the way there is out, and nothing is said of the request.

Of a create, `created` tells whether a prediction exists: `yes`, `no` or `unknown`. `stand_in` names the kind of fault
by which the stand-in gives the same answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENDPOINTS = ("creates", "gets", "lists", "cancels", "files", "models", "account")


@dataclass(frozen=True)
class Case:
    """One answer.

    Attributes:
        endpoint: one of `ENDPOINTS`.
        name: of the case.
        status: the HTTP status.
        headers: the content type among them.
        content: the body's bytes.
        means: what it is to be taken for.
        stand_in: the kind of fault by which the stand-in gives it; empty where there is none.
        expected: all else that the line says.
    """

    endpoint: str
    name: str
    status: int
    headers: dict[str, str]
    content: bytes
    means: str
    stand_in: str
    expected: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.name}"


def cases(endpoint: str) -> list[Case]:
    """All answers of one endpoint."""
    lines = (Path(__file__).parent / f"{endpoint}.jsonl").read_text("utf-8").splitlines()
    return [_case(endpoint, json.loads(line)) for line in lines]


def _case(endpoint: str, line: dict[str, Any]) -> Case:
    name, status, means = line.pop("case"), line.pop("status"), line.pop("means")
    headers = {"content-type": line.pop("content_type"), **line.pop("headers", {})}
    text = line.pop("text") * line.pop("times", 1) if "text" in line else json.dumps(line.pop("body"))
    return Case(endpoint, name, status, headers, text.encode(), means, line.pop("stand_in", ""), line)
