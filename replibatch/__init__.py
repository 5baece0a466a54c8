"""A Redis-backed Celery queue for Replicate: exact account limits, nothing paid for twice, every file in its place.

Names are loaded at first use: importing replibatch costs a producer next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from replibatch.errors import ReplibatchError, ReplibatchWarning
    from replibatch.producer import (
        Batch,
        IntelligentBatchProcessor,
        Job,
        enqueue,
        enqueue_batch,
        get_global_status,
        intelligent_batch_process,
        replicate_model_calling,
    )
    from replibatch.requests import BatchRequest, BatchResult, StepResult
    from replibatch.steps import OUTPUT

__version__ = "0.1.0"
__all__ = [
    "OUTPUT",
    "Batch",
    "BatchRequest",
    "BatchResult",
    "IntelligentBatchProcessor",
    "Job",
    "ReplibatchError",
    "ReplibatchWarning",
    "StepResult",
    "enqueue",
    "enqueue_batch",
    "get_global_status",
    "intelligent_batch_process",
    "replicate_model_calling",
]

_HOMES = {
    "BatchRequest": "requests",
    "BatchResult": "requests",
    "OUTPUT": "steps",
    "StepResult": "requests",
    "ReplibatchError": "errors",
    "ReplibatchWarning": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'replibatch' has no attribute {name!r}")
    return getattr(import_module(f"replibatch.{_HOMES.get(name, 'producer')}"), name)
