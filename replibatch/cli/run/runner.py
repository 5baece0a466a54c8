"""A run from reading its folder to the last line of its results."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Container
from contextlib import ExitStack

import click
from redis.exceptions import RedisError
from rich.console import Console
from rich.markup import escape

from replibatch.cli.account import say_if_no_worker
from replibatch.cli.background import Background
from replibatch.cli.errors import FAILED, INTERRUPTED
from replibatch.cli.formatting import closing, stand_ins
from replibatch.cli.run.enqueue import Enqueuer
from replibatch.cli.run.folder import OutputFolder
from replibatch.cli.run.gallery import GalleryWriter
from replibatch.cli.run.interrupts import Interrupts
from replibatch.cli.run.progress import LiveProgress
from replibatch.cli.run.results_file import ResultsFile
from replibatch.cli.run.tally import Tally
from replibatch.errors import NoCredit
from replibatch.jobs.batch_state import BatchState
from replibatch.jobs.holds import BUDGET, PAUSED
from replibatch.jobs.unknown import UnknownCreates
from replibatch.limits import AccountStatus
from replibatch.lists import Item
from replibatch.producer import Producer
from replibatch.requests import BatchResult

FINISH_SECONDS = 300.0  # after Ctrl-C, for the predictions in flight
LINES_SHOWN = 20  # of single items that did not go as asked
AWAY_SECONDS = 3.0  # that Redis may be away without a word, and that a paused run waits for it


class Runner:
    """Makes a plan and follows it to its end.

    Args:
        folder: where the files go.
        producer: the process's.
        enqueuer: of the plan.
        tally: to be counted in.
        title: of the gallery.
        console: where progress goes.
        as_json: results and summary as JSON lines on stdout.
        on_result: called with each result; with it, each has a line, and the line at the end is the caller's.
    """

    def __init__(
        self,
        folder: OutputFolder,
        producer: Producer,
        enqueuer: Enqueuer,
        tally: Tally,
        title: str,
        console: Console,
        *,
        as_json: bool = False,
        on_result: Callable[[BatchResult], object] | None = None,
    ) -> None:
        self._folder = folder
        self._producer = producer
        producer.warns_of_outages = False  # the progress shows them
        self._enqueuer = enqueuer
        self._batch = enqueuer.batch
        self._tally = tally
        self._as_json = as_json
        self._on_result = on_result
        self._console = console
        self._progress = LiveProgress(tally, self._look, console)
        self._interrupts = Interrupts(self._pause)
        self._paused_at = 0.0
        self._gallery = GalleryWriter(folder, title)
        self._lines_left = LINES_SHOWN
        self._unproven: set[str] = set()

    def run(self, made: Container[bytes]) -> int:
        """Make it, follow it, and tell; returns the exit code.

        Args:
            made: keys of the items that are made already.

        Raises:
            AccountStopped: the token is refused, or the credit used up; the same run later goes on.
        """
        self._folder.create()
        patience = self._producer.patience
        patience.seconds, patience.on_wait = math.inf, self._redis_is_away
        with ExitStack() as stack:
            if stack.enter_context(self._folder.occupied()):
                self._enqueuer.put_off_earlier()
            results = ResultsFile(self._folder.results, self._folder.read_to, play=self._folder.play)
            stack.callback(results.close)
            stack.callback(self._finish)
            stack.enter_context(self._progress)
            stack.enter_context(self._interrupts)
            if self._tally.total:
                self._producer.bring_worker()
                self._producer.limiter.resume(
                    NoCredit.__name__
                )  # a new run means that credit was added; if not, the account stops again
                self._producer.check_storage()
                self._enqueuer.open(follows=True)
                self._enqueuer.remember()
                self._folder.settle_in()
                say_if_no_worker(self._producer)
                self._make(made, results)
        if self._interrupts:
            return INTERRUPTED
        return 0 if self._tally.succeeded == self._tally.total else FAILED

    def _make(self, made: Container[bytes], results: ResultsFile) -> None:
        """Queue the list, and follow its results meanwhile."""

        def queue() -> None:
            self._enqueuer.append(made, stop=lambda: bool(self._interrupts), tell=self._note_queueing)
            self._note_queueing(0)

        queueing = Background(queue, "queueing")
        self._follow(results)
        queueing.join()

    def _note_queueing(self, count: int) -> None:
        if not self._interrupts:
            self._progress.note = f"Queueing: {count:,} so far." if count else ""

    def _follow(self, results: ResultsFile) -> None:
        place_in = None if self._folder.is_direct else self._folder.place_of
        for ended in self._batch.follow(stop=self._may_leave, place_in=place_in):
            result = self._folder.with_files_here(ended.result) if self._folder.is_direct else ended.result
            line = results.add(result, ended.index, Item.key_of(ended.id))
            self._tally.add(result)
            if self._as_json:
                click.echo(json.dumps(line, ensure_ascii=False))
            self._tell(result)
            self._gallery.changed()

    def _tell(self, result: BatchResult) -> None:
        if self._on_result:
            self._on_result(result)
            self._progress.tell(result)
        elif not result.success and self._lines_left:
            self._lines_left -= 1
            self._progress.tell(result)

    def _look(self) -> tuple[AccountStatus, str]:
        self._producer.present()
        if self._progress.note.startswith("Redis"):
            self._progress.note = ""
        self._say_unproven()
        return self._producer.limiter.status(), self._producer.batches.held(self._batch.id)

    def _say_unproven(self) -> None:
        """A line a create that is held because nothing proves whether it reached Replicate; each once."""
        for each in UnknownCreates(self._producer.jobs.redis, self._producer.jobs.prefix).all():
            if each.id not in self._unproven:
                self._unproven.add(each.id)
                self._progress.say(f"[yellow]held: {escape(each.id)}: {escape(each.why)}[/]\n  {each.to_settle}")

    def _pause(self) -> None:
        self._paused_at = time.monotonic()
        self._producer.patience.seconds = AWAY_SECONDS
        self._progress.note = "Pausing: what is in flight is finished and saved. Ctrl-C again hands it over."
        self._batch.pause()

    def _may_leave(self, state: BatchState) -> bool:
        """After Ctrl-C: once nothing is in flight, or it takes too long."""
        if not self._interrupts:
            return False
        if state.held != PAUSED:  # Ctrl-C came before there was anything to pause
            self._batch.pause()
            return False
        is_late = time.monotonic() - self._paused_at > FINISH_SECONDS
        return state.outstanding == 0 or is_late or self._producer.batches.in_flight(self._batch.id) == 0

    def _in_flight(self) -> int:
        """How many are at Replicate; none where Redis cannot be asked any more."""
        try:
            return self._producer.batches.in_flight(self._batch.id) if self._interrupts else 0
        except RedisError:
            return 0

    def _redis_is_away(self, seconds: float) -> None:
        if seconds > AWAY_SECONDS and not self._interrupts:
            self._progress.note = f"Redis ({self._producer.settings.redis_address}) is away, or refuses: waiting."

    def _finish(self) -> None:
        """The last page of the gallery, and the line at the end."""
        with self._console.status("Writing the gallery"):
            self._gallery.finish()
        if self._on_result:
            return
        held = self._producer.batches.held(self._batch.id)
        if self._as_json:
            summary = {"batch": self._batch.id, **self._tally.to_json(), "held": held}
            summary["gallery"] = str(self._folder.gallery)
            click.echo(json.dumps({"summary": summary}, ensure_ascii=False))
            return
        in_flight = self._in_flight()
        click.echo("\n".join([closing(self._tally, in_flight), *stand_ins(self._tally)]))
        if self._interrupts:
            fetches = f"; it fetches the {in_flight:,} in flight too, which are paid for" if in_flight else ""
            click.echo(f"Paused. The same command goes on from here{fetches}.", err=True)
        elif held == BUDGET:
            click.echo("The budget is used up. With a higher --max-cost it goes on from here.", err=True)
        click.echo(self._folder.gallery)
