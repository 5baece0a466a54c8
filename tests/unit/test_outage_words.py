"""An outage is said in the same words in `run`, `status`, `doctor`, metrics and Flower, and has an alert."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from replibatch.cli.checkup import check_outages
from replibatch.cli.commands.status import picture
from replibatch.cli.run.progress import waiting_for
from replibatch.limits.outages import MISSING, NAMES, Outage, of_model
from replibatch.monitoring.prometheus import CAUSES
from tests.support import PROJECT
from tests.support.account_status import account_status
from tests.unit.test_cli_status import SNAPSHOT

OUTAGES = [
    Outage(name, "refused", "no [b]answer[/b]", 61.0, 7, 1_780_000_000.0)
    for name in (*NAMES, of_model("qwen/qwen-image"))
]


def plain(renderable: Any) -> str:
    console = Console(file=io.StringIO(), width=400)
    console.print(renderable, soft_wrap=True)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.name)
def test_the_words_are_the_same_everywhere(outage: Outage) -> None:
    now = account_status(outages=(outage,), waiting=3)
    (finding,) = check_outages(now)
    shown = outage.to_json()  # for `status --json` and Flower, whose page shows these fields
    for text in (waiting_for(now), finding.found, shown["what"], plain(picture({**SNAPSHOT, "outages": [shown]}))):
        assert outage.what in text
    assert finding.mend == shown["to_go_on"] == outage.to_go_on
    assert "resume" in outage.to_go_on
    page = (PROJECT / "replibatch/monitoring/page_files/static/replibatch.js").read_text()
    assert "outage.what" in page and "outage.to_go_on" in page


def test_a_model_that_is_out_says_what_it_answers_and_since_when() -> None:
    gone = Outage(of_model("google/imagen-4-ultra"), MISSING, "none of that name", 61.0, 3, 1_764_424_920.0)
    assert str(gone) == "google/imagen-4-ultra answers 404 since 14:02 UTC: none of that name"
    assert replace(gone, since_seconds=86_400.0).why == "answers 404 since 2025-11-29 14:02 UTC"
    failing = replace(gone, kind="failed", failures=20)
    assert failing.what == "google/imagen-4-ultra is out since 14:02 UTC, after 20 failures in a row"
    assert "--on-outage fallback" in gone.to_go_on
    kept = '{"is_out":%s,"kind":"model_missing","message":"no","since":1764424920000,"count":3}'
    assert Outage.kept(gone.name, kept % "false") is Outage.kept(gone.name, None) is None
    known = Outage.kept(gone.name, kept % "true")
    assert known and known.failures == 3 and known.began_at == gone.began_at


def test_each_has_an_alert_and_a_cause() -> None:
    assert "outage" in CAUSES
    text = (PROJECT / "docs/monitoring.md").read_text()
    assert "replibatch_outage_seconds" in text and all(f"`{name}`" in text for name in NAMES)
