"""Tables of figures: printed, and kept in RESULTS.md with a description of the machine they were measured on."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from replibatch.embedded.server import find_server

RESULTS = Path(__file__).with_name("RESULTS.md")
HEADING = "## "


@dataclass(frozen=True)
class Table:
    """Rows of text under their columns' names; the first column is set to the left, the others to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]

        def line(cells: Sequence[str]) -> str:
            padded = [cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]
            return f"| {' | '.join(padded)} |"

        ruler = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
        return "\n".join(map(line, (self.columns, ruler, *self.rows)))


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, with the least and the greatest where there are several."""
    median = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return median
    return f"{median} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent of them do not exceed."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def publish(name: str, about: str | None, *tables: Table) -> None:
    """Print tables, and put them in the place of the section of that name in RESULTS.md.

    Args:
        name: the benchmark's; `python -m benchmarks.<name>` is its command.
        about: what was measured: the module's docstring.
        tables: medians over the runs, least and greatest in brackets.
    """
    figures = "\n\n".join(map(str, tables))
    print(figures)
    words = f"{HEADING}{name}\n\n{(about or '').strip()}\n\n`python -m benchmarks.{name}`, {machine()}\n\n{figures}\n"
    RESULTS.write_text(with_section(RESULTS.read_text("utf-8"), name, words), "utf-8")


def with_section(text: str, name: str, section: str) -> str:
    """The text with that section in the place of the one of its name, or at the end."""
    head, *sections = re.split(rf"^(?={HEADING})", text, flags=re.MULTILINE)
    kept = {one.splitlines()[0].removeprefix(HEADING): one.strip() + "\n" for one in sections}
    return "\n".join([head.strip() + "\n", *((kept | {name: section}).values())])


def machine() -> str:
    """What the figures were measured on, and when."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    redis = subprocess.run([str(find_server(Path.cwd())), "--version"], capture_output=True, text=True, check=True)
    number = re.search(r"v=([\d.]+)", redis.stdout)
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"Redis {number[1] if number else '?'}, celery {version('celery')}, replibatch {version('replibatch')}; "
        f"load average at the end {os.getloadavg()[0]:.1f}"
    )
