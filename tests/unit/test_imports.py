"""What a producer, or somebody who asks for help, has imported: nothing that only workers or Flower need."""

from __future__ import annotations

import subprocess
import sys

import pytest

WORKERS_ALONE = (
    "flower",
    "tornado",
    "workers",
    "replicate",
    "celery.worker",
    "replibatch.execution",
    "replibatch.limits.waiting_room",
    "structlog",
    "replibatch.sandbox",
)

PRODUCER = (
    "from replibatch import (replicate_model_calling, intelligent_batch_process, IntelligentBatchProcessor, "
    "BatchRequest, BatchResult, get_global_status, enqueue, enqueue_batch, Batch, Job)"
)
HELP = "from replibatch.cli.app import commands; commands.main(['--help'], standalone_mode=False)"


def imported_by(code: str) -> set[str]:
    """The modules in a process of its own once the code has run."""
    told = subprocess.run(
        [sys.executable, "-P", "-c", f"{code}\nimport sys\nprint('\\0', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(told.stdout.rpartition("\0")[2].split())


@pytest.mark.parametrize("code", [PRODUCER, HELP])
def test_neither_flower_nor_the_worker_is_imported(code: str) -> None:
    assert not imported_by(code) & set(WORKERS_ALONE)


def test_a_producer_loads_what_it_may_never_need_when_it_does() -> None:
    heavy = {"celery", "kombu", "PIL", "httpx", "click", "rich", "fakeredis", "replibatch.embedded"}
    assert not imported_by(PRODUCER) & heavy


def test_the_package_alone_imports_nothing_heavy() -> None:
    assert not imported_by("import replibatch") & {"celery", "redis", "pydantic", "PIL", "httpx"}


def test_help_needs_no_queue() -> None:
    assert not imported_by(HELP) & {"celery", "redis", "pydantic", "PIL", "httpx"}
