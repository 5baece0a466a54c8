"""Many histories of the limiter: every promise, checked after every call.

python -m tests.histories            100,000 script calls on a real Redis
python -m tests.histories 1000000    more of them
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.histories.run import run_histories
from tests.support.redis_server import RedisServer

HISTORIES_AT_ONCE = 100


def main(calls: int = 100_000) -> None:
    """Run histories until that many script calls were made, or to the first broken promise."""
    server = RedisServer(Path(tempfile.mkdtemp(prefix="rb-")))
    made, histories, began = 0, 0, time.monotonic()
    try:
        while made < calls:
            made += run_histories(server.url, HISTORIES_AT_ONCE)
            histories += HISTORIES_AT_ONCE
            print(f"{made} calls in {histories} histories, {time.monotonic() - began:.0f} s", flush=True)
    finally:
        server.stop()
    print("no promise was broken")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
