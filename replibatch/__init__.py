"""A Redis-backed Celery queue for Replicate: exact account limits, nothing paid for twice, every file in its place.

Names are loaded at first use: importing replibatch costs a producer next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from replibatch.errors import (
        AccountStopped,
        AllModelsFailed,
        GenerationCanceled,
        GenerationFailed,
        IdempotencyConflict,
        ListError,
        NoCredit,
        NoSuchWork,
        OutputPathError,
        OverBudget,
        QueueUnavailable,
        ReferenceImageError,
        ReplibatchError,
        ReplibatchWarning,
        RequestError,
        ResultTimeout,
        SettingsError,
        StorageError,
        TokenRefused,
        UnsupportedModel,
        WebhookRefused,
    )
    from replibatch.lists.sweeps import sweep
    from replibatch.producer import (
        Batch,
        Client,
        IntelligentBatchProcessor,
        Job,
        Progress,
        aenqueue,
        aenqueue_batch,
        enqueue,
        enqueue_batch,
        get_global_status,
        intelligent_batch_process,
        replicate_model_calling,
    )
    from replibatch.requests import Attempt, BatchRequest, BatchResult, OutputFile, State, StepResult
    from replibatch.steps import OUTPUT
    from replibatch.webhooks import verify_webhook

__version__ = "0.1.0"
__all__ = [
    "OUTPUT",
    "AccountStopped",
    "AllModelsFailed",
    "Attempt",
    "Batch",
    "BatchRequest",
    "BatchResult",
    "Client",
    "GenerationCanceled",
    "GenerationFailed",
    "IdempotencyConflict",
    "IntelligentBatchProcessor",
    "Job",
    "ListError",
    "NoCredit",
    "NoSuchWork",
    "OutputFile",
    "OutputPathError",
    "OverBudget",
    "Progress",
    "QueueUnavailable",
    "ReferenceImageError",
    "ReplibatchError",
    "ReplibatchWarning",
    "RequestError",
    "ResultTimeout",
    "SettingsError",
    "State",
    "StepResult",
    "StorageError",
    "TokenRefused",
    "UnsupportedModel",
    "WebhookRefused",
    "aenqueue",
    "aenqueue_batch",
    "enqueue",
    "enqueue_batch",
    "get_global_status",
    "intelligent_batch_process",
    "replicate_model_calling",
    "sweep",
    "verify_webhook",
]

_PRODUCER = {
    "Batch",
    "Client",
    "IntelligentBatchProcessor",
    "Job",
    "Progress",
    "aenqueue",
    "aenqueue_batch",
    "enqueue",
    "enqueue_batch",
    "get_global_status",
    "intelligent_batch_process",
    "replicate_model_calling",
}
_HOMES = dict.fromkeys(_PRODUCER, "producer") | {
    "Attempt": "requests",
    "BatchRequest": "requests",
    "BatchResult": "requests",
    "OUTPUT": "steps",
    "sweep": "lists.sweeps",
    "StepResult": "requests",
    "OutputFile": "requests",
    "State": "requests",
    "WebhookRefused": "errors",
    "verify_webhook": "webhooks",
}  # all others are errors


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'replibatch' has no attribute {name!r}")
    return getattr(import_module(f"replibatch.{_HOMES.get(name, 'errors')}"), name)
