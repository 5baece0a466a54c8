"""Links: the application's own tasks that are called with results.

The call is owed from the moment of the settle, in the same step, until it has been published: the process that
settled does that at once, and if it dies before, a takeover does. So a task is called at
least once, and nearly always once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self

from replibatch.jobs.packing import read_result

APPLICATION_QUEUE = "celery"  # where a Celery application listens that has not chosen another


@dataclass(frozen=True)
class Link:
    """A Celery task of the application's own.

    Attributes:
        task: its name.
        queue: the queue its workers listen to.
    """

    task: str
    queue: str = APPLICATION_QUEUE

    def packed(self) -> str:
        """As it lies in a record."""
        return json.dumps([self.task, self.queue])


@dataclass(frozen=True)
class Call:
    """A call of a linked task that is to be published.

    Attributes:
        id: the generation's.
        link: the task.
        result: the fields of its `BatchResult`.
        owed: as it lies in Redis.
    """

    id: str
    link: Link
    result: dict[str, Any]
    owed: str

    @classmethod
    def parse(cls, owed: str) -> Self:
        """From what a script returned."""
        fields = json.loads(owed)
        return cls(fields["id"], Link(*json.loads(fields["link"])), read_result(fields["result"]).to_json(), owed)

    @property
    def task_id(self) -> str:
        """The same for every call of the same generation, so that the application can tell a second one."""
        return f"{self.id}-link"
