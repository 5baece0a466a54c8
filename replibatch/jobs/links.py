"""Links: the application's own tasks that are called with results.

The call is owed from the moment of the settle, in the same step, until it has been published: the process that
settled does that at once, and if it dies before, a takeover does. So a task is called at
least once, and nearly always once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Self

from replibatch.jobs.packing import read_result

APPLICATION_QUEUE = "celery"  # where a Celery application listens that has not chosen another


@dataclass(frozen=True)
class Link:
    """A Celery task of the application's own.

    Attributes:
        task: its name.
        queue: the queue its workers listen to.
        args: arguments after the result.
        kwargs: arguments by name.
        immutable: whether it is called without the result.
    """

    task: str
    queue: str = APPLICATION_QUEUE
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    immutable: bool = False

    def packed(self) -> str:
        """As it lies in a record."""
        more = [list(self.args), self.kwargs, self.immutable] if self.args or self.kwargs or self.immutable else []
        return json.dumps([self.task, self.queue, *more])

    @classmethod
    def parse(cls, packed: str) -> Self:
        """The opposite of `packed`."""
        task, queue, *more = json.loads(packed)
        if not more:
            return cls(task, queue)
        args, kwargs, immutable = more
        return cls(task, queue, tuple(args), kwargs, immutable)


@dataclass(frozen=True)
class Call:
    """A call of a linked task that is to be published.

    Attributes:
        id: the generation's.
        link: the task.
        result: the fields of its `BatchResult`, and the job's id as `job_id`.
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
        result = {"job_id": fields["id"], **read_result(fields["result"]).to_json()}
        return cls(fields["id"], Link.parse(fields["link"]), result, owed)

    @property
    def args(self) -> tuple[Any, ...]:
        """What the task is called with."""
        return self.link.args if self.link.immutable else (self.result, *self.link.args)

    @property
    def task_id(self) -> str:
        """The same for every call of the same generation, so that the application can tell a second one."""
        return f"{self.id}-link"
