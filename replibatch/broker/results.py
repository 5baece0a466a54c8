"""The adapter of Celery's result backend: what it keeps of a generation, for the records to write with their own.

Celery's own `store_result` would write before or after the records do, and may come late. Used of Celery's privates:
`BaseKeyValueStoreBackend._get_result_meta` (5.6, 5.7); `tests/unit/test_broker_results.py` compares it with what
`store_result` writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from replibatch.errors import ReplibatchError
from replibatch.jobs import Notice
from replibatch.requests import BatchResult

if TYPE_CHECKING:
    from celery import Celery

IN_BRIEF = ("request_id", "success", "model_used", "file_paths", "cost_usd")


class ResultBackend:
    """Writes notices in Celery's words.

    Args:
        app: of the account's queue.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def started(self, generation_id: str) -> Notice:
        """The task that runs in this thread has started on a generation."""
        return self._notice(generation_id, "STARTED", None, self._running_request())

    def ended(self, generation_id: str, result: BatchResult, *, in_batch: bool) -> Notice:
        """The task that runs in this thread has ended a generation.

        Args:
            generation_id: the task's id, too.
            result: the whole outcome.
            in_batch: results of a batch are read from the batch, so Celery keeps the outcome alone.
        """
        request = None if in_batch else self._running_request()
        if not result.success:
            return self._notice(generation_id, "FAILURE", ReplibatchError(result.error), request)
        fields = result.to_json()
        if in_batch:
            fields = {name: fields[name] for name in IN_BRIEF}
        return self._notice(generation_id, "SUCCESS", fields, request)

    def canceled(self, generation_id: str) -> Notice:
        """A generation was canceled before a task had it."""
        return self._notice(generation_id, "FAILURE", ReplibatchError("canceled"), None)

    def _running_request(self) -> Any:
        task = self._app.current_task
        return task.request if task else None

    def _notice(self, task_id: str, state: str, outcome: Any, request: Any) -> Notice:
        backend = self._app.backend
        meta = backend._get_result_meta(backend.encode_result(outcome, state), state, None, request)
        return Notice(
            backend.get_key_for_task(task_id), backend.encode({**meta, "task_id": task_id}), backend.expires
        )
