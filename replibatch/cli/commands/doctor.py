"""`replibatch doctor`: is everything in order, and how to fix the rest."""

from __future__ import annotations

import json
from dataclasses import asdict

import click
from rich.text import Text

from replibatch.cli.checkup import examine
from replibatch.cli.consoles import stdout
from replibatch.cli.errors import FAILED
from replibatch.redisdb.health import Finding, Health
from replibatch.settings import load


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def doctor(as_json: bool) -> None:
    """Check Redis, token, storage, clock and workers, and say how to fix each fault.

    Nothing is created and nothing is spent. Exit codes: 0 all is well, 1 something is wrong.
    """

    findings = examine(load())
    is_well = all(finding.state != Health.WRONG for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": is_well, "checks": [asdict(finding) for finding in findings]}))
    else:
        _show(findings)
    if not is_well:
        click.get_current_context().exit(FAILED)


def _show(findings: list[Finding]) -> None:
    console = stdout()
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        console.print(_entry(finding, width, fancy=console.encoding.lower().startswith("utf")), soft_wrap=True)


def _entry(finding: Finding, width: int, *, fancy: bool) -> Text:
    """A line about what was found, and one below it about how to fix it."""
    marks = {Health.OK: ("✓", "+", "green"), Health.NOTE: ("!", "!", "yellow"), Health.WRONG: ("✗", "x", "red")}
    mark, plain, style = marks[finding.state]
    entry = Text.assemble((mark if fancy else plain, style), f" {finding.subject:<{width}}  ")
    entry.append(" ".join(finding.found.split()))
    if finding.mend:
        entry.append(f"\n  {'':<{width}}  {'→' if fancy else '>'} {finding.mend}")
    return entry
