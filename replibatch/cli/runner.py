"""A run from the first look at its folder to the last line of its results."""

from __future__ import annotations

import json
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import click
from rich.console import Console

from replibatch.cli.folder import OutputFolder, ResultsFile
from replibatch.cli.interrupts import Interrupts
from replibatch.cli.mistakes import FAILED, INTERRUPTED
from replibatch.cli.plan import KEY_BYTES, Item, Plan, Survey
from replibatch.cli.progress import Progress
from replibatch.cli.tally import Tally
from replibatch.cli.words import closing
from replibatch.errors import NoSuchWork
from replibatch.ledger.batches import PAUSED, BatchState
from replibatch.outputs.gallery import write_gallery
from replibatch.queue import Batch, Producer
from replibatch.queue.batch import CHUNK, submit
from replibatch.requests import BatchRequest, BatchResult, new_id

FINISH_SECONDS = 300.0  # after Ctrl-C, for what is in flight
GALLERY_SECONDS = 10.0  # between two gallery pages, at least
GALLERY_SHARE = 0.05  # of the time, at most, goes into them
LINES_SHOWN = 20  # of single items that did not go as asked


@dataclass(frozen=True)
class Options:
    """How a run is made.

    Attributes:
        max_concurrent: the most of it in flight at once; None for the account's limit.
        max_cost_usd: nothing of it is started that could take its cost past this.
        fallback: whether other models may stand in.
        fresh: make everything again.
        as_json: results and summary as JSON lines on stdout.
        on_result: called with each result; with it, each has a line, not only those that did not go as asked.
    """

    max_concurrent: int | None = None
    max_cost_usd: float | None = None
    fallback: bool = True
    fresh: bool = False
    as_json: bool = False
    on_result: Callable[[BatchResult], object] | None = None


class Runner:
    """Makes a plan.

    Args:
        plan: checked.
        producer: the process's.
        options: how.
        name: of the list, for people.
    """

    def __init__(self, plan: Plan, producer: Producer, options: Options, name: str) -> None:
        self._plan = plan
        self._folder: OutputFolder = plan.folder
        self._producer = producer
        self._options = options
        self._name = name
        self._batch = Batch(producer, new_id(8))
        self._indexes = array("Q")
        self._keys = bytearray()
        self._remembered = f"{producer.gate.prefix}run:{self._folder.identity}"
        self._paused_at = 0.0
        self._gallery_due = time.monotonic() + GALLERY_SECONDS
        self._lines_left = LINES_SHOWN

    def submit(self, made: set[bytes]) -> Batch:
        """Enqueue what is to be made; returns when all of it is durable.

        Args:
            made: keys of the items that are made already.
        """
        self._folder.create()
        with self._folder.occupied() as alone:
            if alone:
                self._put_off_earlier()
            return self._submit(made, Interrupts(lambda: None))

    def run(self, made: set[bytes], survey: Survey, console: Console, expected_seconds: float) -> int:
        """Make it, follow it, and tell; returns the exit code.

        Args:
            made: keys of the items that are made already.
            survey: of the plan.
            console: where progress goes.
            expected_seconds: an estimate of how long it takes.

        Raises:
            AccountStopped: the token is refused, or the credit used up; the same run later goes on.
        """
        tally = Tally(survey.count, survey.made, expected_seconds)
        self._folder.create()
        with ExitStack() as stack:
            if stack.enter_context(self._folder.occupied()):
                self._put_off_earlier()
            self._results = ResultsFile(self._folder.results)
            stack.callback(self._results.close)
            stack.callback(self._finish, tally)
            self._progress = stack.enter_context(Progress(tally, self._look, console))
            self._interrupts = stack.enter_context(Interrupts(self._pause))
            if survey.count:
                self._producer.bring_worker()
                self._submit(made, self._interrupts)
                say_if_no_worker(self._producer)
                self._follow(tally)
        if self._interrupts:
            return INTERRUPTED
        return 0 if tally.succeeded == tally.total else FAILED

    # -- submit ---------------------------------------------------------------------------------------------

    def _put_off_earlier(self) -> None:
        """What an earlier run, which nobody follows any more, had not started waits in this one instead."""
        for batch_id in cast("set[str]", self._producer.redis.smembers(self._remembered)):
            try:
                if not self._producer.batches.state(batch_id).is_over:
                    self._producer.batches.drop(batch_id)
            except NoSuchWork:
                pass
        self._producer.redis.delete(self._remembered)

    def _submit(self, made: set[bytes], interrupts: Interrupts) -> Batch:
        self._producer.redis.sadd(self._remembered, self._batch.id)
        self._producer.redis.pexpire(self._remembered, self._producer.ledger.keep_ms)
        self._folder.settle_in()
        return submit(
            self._producer,
            self._requests(made, interrupts),
            max_concurrent=self._options.max_concurrent,
            max_cost_usd=self._options.max_cost_usd,
            fallback=self._options.fallback,
            about={"name": self._name, "folder": str(self._folder.path), "root": self._folder.root},
            id_for=lambda place, _: f"r{self._key_at(place).hex()}",
            batch_id=self._batch.id,
        )

    def _requests(self, made: set[bytes], interrupts: Interrupts) -> Iterator[BatchRequest]:
        wanted = (item for item in self._plan.items() if item.key not in made)
        while chunk := list(islice(wanted, CHUNK)):
            self._forget([item.id for item in chunk])
            for each in chunk:
                if interrupts:
                    return
                self._remember(each)
                yield each.request

    def _remember(self, each: Item) -> None:
        self._indexes.append(each.index)
        self._keys += each.key

    def _key_at(self, place: int) -> bytes:
        return bytes(self._keys[place * KEY_BYTES : (place + 1) * KEY_BYTES])

    def _forget(self, ids: list[str]) -> None:
        """What is to be made again: everything, or what was made and is nowhere to be found."""
        ledger = self._producer.ledger
        if not self._options.fresh:
            ids = [id_ for id_, result in ledger.succeeded(ids).items() if not self._is_there(result)]
        if ids:
            ledger.forget(ids)

    def _is_there(self, result: BatchResult) -> bool:
        try:
            if self._folder.is_direct:
                return all(self._folder.place_of(path).exists() for path in result.file_paths)
            self._producer.at_home(result, self._folder.place_of)
        except (OSError, ValueError):  # gone, or of a storage that is another one now
            return False
        return True

    # -- follow ---------------------------------------------------------------------------------------------

    def _follow(self, tally: Tally) -> None:
        place_in = None if self._folder.is_direct else self._folder.place_of
        for place, result in self._batch.finished(stop=self._may_leave, place_in=place_in):
            line = self._results.add(result, self._indexes[place], self._key_at(place))
            tally.add(result)
            if self._options.as_json:
                click.echo(json.dumps(line, ensure_ascii=False))
            self._tell(result)
            self._refresh_gallery()

    def _tell(self, result: BatchResult) -> None:
        if self._options.on_result:
            self._options.on_result(result)
            self._progress.tell(result)
        elif not result.success and self._lines_left:
            self._lines_left -= 1
            self._progress.tell(result)

    def _look(self) -> dict[str, Any]:
        self._producer.present()
        return self._producer.gate.status()

    def _pause(self) -> None:
        self._paused_at = time.monotonic()
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

    # -- finish ---------------------------------------------------------------------------------------------

    def _refresh_gallery(self) -> None:
        if time.monotonic() >= self._gallery_due:
            self._write_gallery()

    def _write_gallery(self) -> None:
        began = time.monotonic()
        write_gallery(self._folder.results, self._folder.gallery, title=self._name)
        took = time.monotonic() - began
        self._gallery_due = began + max(GALLERY_SECONDS, took / GALLERY_SHARE)

    def _finish(self, tally: Tally) -> None:
        """The last page of the gallery, and the line at the end."""
        self._write_gallery()
        if self._options.on_result:
            return
        if self._options.as_json:
            summary = {"batch": self._batch.id, **tally.to_json(), "gallery": str(self._folder.gallery)}
            click.echo(json.dumps({"summary": summary}, ensure_ascii=False))
            return
        click.echo(closing(tally))
        if self._interrupts:
            click.echo("Paused. The same command goes on from here.", err=True)
        click.echo(self._folder.gallery)


def say_if_no_worker(producer: Producer, embedded_hint: str = "") -> None:
    """Tell who will do the work where nobody is there to do it.

    Args:
        producer: the process's.
        embedded_hint: a command that brings a worker in embedded mode; empty where this process brings one.
    """
    if producer.embedded and not embedded_hint:
        return
    if any("pid" in process for process in producer.gate.status()["processes"].values()):
        return
    hint = f"{embedded_hint} or `replibatch worker`" if producer.embedded else "`replibatch worker`"
    click.echo(f"replibatch: no worker answers; it waits until there is one: {hint}", err=True)
