"""Webhooks of predictions that were asked for through the gateway: as Replicate's API sends them."""

from __future__ import annotations

import time
from dataclasses import replace

from replibatch.jobs import Jobs
from replibatch.requests import BatchResult, OutputFile, State
from replibatch.served import Progress, Served, view
from replibatch.served.record import find
from replibatch.served.view import body_of
from replibatch.storage.storage import Storage
from replibatch.storage.stored import StoredFile

LONGEST_TEXT_BYTES = 1_000_000  # of a text output, in a webhook


def served_of(jobs: Jobs, generation_id: str) -> Served | None:
    """What the gateway keeps of a generation; None for one that was not asked for through it."""
    served = find(jobs.redis, jobs.prefix, generation_id)
    return served if served is not None and served.webhook else None


def body_of_start(served: Served, started: float) -> bytes:
    """The prediction as its start is told, whatever has become of it since."""
    served = replace(served, completed=0.0, ended="")
    row = view(served, Progress(State.RUNNING, started=started), served.base, lambda _: "")
    return body_of({**row, "status": "processing", "logs": ""})


def body_for(served: Served, result: BatchResult, storage: Storage) -> bytes:
    """The prediction as its end is told."""

    def read_text(file: OutputFile) -> str:
        content = b""
        for chunk in StoredFile.of(file, storage):
            content += chunk
            if len(content) > LONGEST_TEXT_BYTES:
                break
        return content[:LONGEST_TEXT_BYTES].decode(errors="replace")

    progress = Progress(result.state, result, completed=served.completed or round(time.time(), 3))
    return body_of(view(served, progress, served.base, read_text))
