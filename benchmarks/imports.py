"""What does it take to import replibatch in a producer, and to run its command line? Processes of their own.

Import: what `python -X importtime` adds up, less what Python itself imports. Process: from its start to its end. All
of it compiled before, as pip leaves what it installs.
"""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click

import replibatch
from benchmarks.report import Table, publish, spread

PRODUCER = "from replibatch import BatchRequest, enqueue_batch"
NOTHING = "pass"


@click.command(help=__doc__)
@click.option("--runs", default=15, show_default=True, help="Of each.")
def main(runs: int) -> None:
    """One after the other, in turns."""
    compileall.compile_dir(Path(replibatch.__file__).parent, quiet=1)
    imported = [NOTHING, "import replibatch", PRODUCER, "import replicate"]
    script = Path(sys.executable).with_name("replibatch")
    assert shutil.which(script), "install the package: its command is missing"
    commands = {statement: [sys.executable, "-P", "-c", statement] for statement in imported}
    commands["replibatch --help"] = [str(script), "--help"]
    walls: dict[str, list[float]] = {name: [] for name in commands}
    sums: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            walls[name].append(time.perf_counter() - began)
            sums[name].append(_import_seconds(command))
    bare = min(sums[NOTHING])
    rows = [
        [name, str(runs), spread([max(0.0, each - bare) for each in sums[name]], 3), spread(walls[name], 3)]
        for name in commands
    ]
    columns = ["", "runs", "import, s", "process, s"]
    publish("imports", __doc__, Table(columns, [[f"`{row[0]}`", *row[1:]] for row in rows]))


def _import_seconds(command: list[str]) -> float:
    traced = [sys.executable, "-X", "importtime", *command[1 if command[0] == sys.executable else 0 :]]
    told = subprocess.run(traced, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True).stderr
    lines = (line.removeprefix("import time:").partition("|")[0].strip() for line in told.splitlines())
    return sum(int(own) for own in lines if own.isdigit()) / 1e6


if __name__ == "__main__":
    main()
