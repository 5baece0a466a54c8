"""`replibatch worker`, hit by a signal at a named point of an attempt.

    python -m tests.support.crashing_worker POINT SIGNAL MARK [options of the worker]

The first thread to come to POINT creates the file MARK and raises SIGNAL in its own process; with MARK there, nobody
is hit any more, so one process of a fleet is, once.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from celery.exceptions import Ignore

from replibatch import execution
from replibatch.broker import publish as messages
from replibatch.cli import main
from replibatch.execution import Done, Next
from replibatch.execution.attempt import Work
from replibatch.execution.reconcile import Reconciler
from replibatch.jobs import Jobs
from replibatch.limits import Limiter, Standing
from replibatch.limits.waiting_room import WaitingRoom
from replibatch.outputs.download import _Download
from replibatch.polling import Watcher
from replibatch.replicate_api import ReplicateAPI, calls
from replibatch.storage.atomic import Staged
from replibatch.storage.names import IDENTITY

HIT_SECONDS = 60.0
DRAIN_BEGINS_SECONDS = 10.0
AT_ONCE_SECONDS = 0.05
WRONG_CONDITION = 70  # a worker's exit code


@dataclass(frozen=True)
class Point:
    """Before or after a call of one function of the product.

    Attributes:
        owner: the class or module that has it.
        name: its name there.
        after: whether it is hit when the call has returned, instead of before it.
        when: given the call's arguments and what it returned (None before), whether this call is the one.
    """

    owner: Any
    name: str
    after: bool = False
    when: Callable[[tuple[Any, ...], Any], object] = lambda arguments, returned: True


class Wire:
    """The events of a create's request and of its reply, as httpcore names them."""

    @staticmethod
    def before(event: str) -> None:
        """An event has come, and the product has not seen it."""

    @staticmethod
    def after(event: str) -> None:
        """The product has seen it."""


def _traced(check: Callable[..., Any]) -> Callable[..., Any]:
    def checking(may_send: Callable[[], bool]) -> Callable[[str, Any], None]:
        trace = check(may_send)

        def traced(event: str, info: Any) -> None:
            Wire.before(event)
            trace(event, info)
            Wire.after(event)

        return traced

    return checking


def _is(event: str) -> Callable[[tuple[Any, ...], Any], bool]:
    return lambda arguments, _: str(arguments[0]).endswith(event)


def _is_replaced(arguments: tuple[Any, ...], returned: Any) -> bool:
    """Whether the call is made for a task that has just replaced itself; others are for what follows in a batch."""
    return isinstance(sys.exception(), Ignore)


def _is_of_output(stage: Staged) -> bool:
    """Not what a worker writes as it starts."""
    return stage.name != PurePosixPath(IDENTITY).name


# In the order of an attempt.
POINTS = {
    "before custody": Point(Jobs, "take"),
    "in custody, before the limiter": Point(WaitingRoom, "acquire"),
    "in the line": Point(Limiter, "acquire", True, lambda _, returned: returned[0] == Standing.WAITING),
    "handed a slot, before its waiter knows": Point(
        WaitingRoom, "_tell", when=lambda arguments, _: arguments[3] in (Standing.GRANTED, Standing.CLAIMED)
    ),
    "after the grant": Point(WaitingRoom, "acquire", True, lambda _, returned: returned == Standing.CLAIMED),
    "right before the POST is written": Point(Wire, "before", when=_is("send_request_headers.started")),
    "the POST half written": Point(Wire, "after", when=_is("send_request_body.started")),
    "the POST sent": Point(Wire, "after", when=_is("receive_response_headers.started")),
    "the reply on its way": Point(Wire, "after", when=_is("receive_response_body.started")),
    "after the reply, before it is recorded": Point(ReplicateAPI, "create", True),
    "looking for a lost create": Point(Reconciler, "submit", True),
    "waiting for the prediction": Point(Watcher, "watch", True),
    "during the download": Point(_Download, "write", True),
    "before the rename": Point(Staged, "commit", when=lambda arguments, _: _is_of_output(arguments[0])),
    "after the rename": Point(Staged, "commit", True, lambda arguments, _: _is_of_output(arguments[0])),
    "before the result is put together": Point(Work, "settle"),
    "before the settle": Point(Jobs, "settle"),
    "between settle and publishing the next": Point(messages, "send"),
    "between publishing the next and noting it": Point(messages, "send", True),
    "after settle, before the task ends": Point(
        execution, "generate", True, lambda _, returned: isinstance(returned, Done)
    ),
    "before the next attempt is recorded": Point(Jobs, "advance"),
    "between advance and publishing the next attempt": Point(
        execution, "generate", True, lambda _, returned: isinstance(returned, Next)
    ),
    "between publishing the next attempt and noting it": Point(Jobs, "published", when=_is_replaced),
    # Of an item's hand-over from one step to the next, and of the step after it.
    "a step made, before the next is recorded": Point(Jobs, "next_step"),
    "the next step recorded": Point(Jobs, "next_step", True),
    "a later step taken": Point(Jobs, "take", True, lambda _, returned: returned and returned.request.step > 1),
    "a later step's create answered, before it is recorded": Point(
        ReplicateAPI, "create", True, lambda arguments, _: "prompt" not in arguments[2]
    ),
    "a later step saved, before the hand-over": Point(
        Staged, "commit", True, lambda arguments, _: ".step2" in arguments[0].name
    ),
    "before an item is settled": Point(Jobs, "settle", when=lambda arguments, _: arguments[1].request.step > 1),
    "an item settled": Point(Jobs, "settle", True, lambda arguments, _: arguments[1].request.step > 1),
    # Of a worker that goes, or that takes over.
    "before handing over": Point(Jobs, "give_back"),
    "after handing over": Point(Jobs, "give_back", True),
    "taking over": Point(Jobs, "take_over", True, lambda _, returned: returned),
    "putting back what was taken over": Point(Jobs, "requeue", True, lambda _, returned: returned),
}


def arm(point: Point, strike: Callable[[], None]) -> None:
    """Have `strike` called whenever this process comes to the point."""
    original = getattr(point.owner, point.name)

    def is_the_one(arguments: tuple[Any, ...], returned: Any) -> object:
        try:
            return point.when(arguments, returned)
        except Exception:  # noqa: BLE001  # a condition that is wrong is not to be met as a fault of the product
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(WRONG_CONDITION)

    @functools.wraps(original)
    def armed(*arguments: Any, **named: Any) -> Any:
        if not point.after and is_the_one(arguments, None):
            strike()
        returned = original(*arguments, **named)
        if point.after and is_the_one(arguments, returned):
            strike()
        return returned

    setattr(point.owner, point.name, armed)


def hit_once(number: signal.Signals, mark: Path) -> Callable[[], None]:
    """Raises a signal in this process, if nobody has yet."""
    draining = threading.Event()
    if number == signal.SIGTERM:
        arm(Point(WaitingRoom, "drain", after=True), draining.set)

    def strike() -> None:
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), number)
        time.sleep(AT_ONCE_SECONDS)  # a signal to the process reaches its threads a moment later
        if number == signal.SIGTERM:  # the step is to be taken by a process that drains
            draining.wait(DRAIN_BEGINS_SECONDS)

    return strike


def crashing(point: str, number: signal.Signals, mark: Path) -> tuple[str, ...]:
    """How a worker is started that a signal hits at a point: the `by` of `start_worker`."""
    return __name__, point, number.name, str(mark)


def await_stop(worker: subprocess.Popen[bytes], seconds: float = HIT_SECONDS) -> None:
    """Wait until SIGSTOP has hit a worker."""
    ends = time.monotonic() + seconds
    while not (reported := os.waitpid(worker.pid, os.WUNTRACED | os.WNOHANG))[0]:
        assert time.monotonic() < ends, f"it did not come to its point within {seconds} s"
        time.sleep(0.02)
    assert os.WIFSTOPPED(reported[1])


if __name__ == "__main__":
    calls.check_before_sending = _traced(calls.check_before_sending)
    point, number, mark, *options = sys.argv[1:]
    arm(POINTS[point], hit_once(signal.Signals[number], Path(mark)))
    sys.argv[1:] = ["worker", *options]
    main()
