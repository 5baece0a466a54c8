"""What one worker process works with: the account's limits and jobs, the API, the storage."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from queue import SimpleQueue
from typing import Any

import structlog
from redis.exceptions import RedisError

from replibatch import catalog
from replibatch.broker.results import ResultBackend
from replibatch.catalog import Model
from replibatch.catalog.published import InFolder, InRedis, folder_for
from replibatch.errors import NotThere, SettingsError
from replibatch.execution.credentials import Credentials
from replibatch.execution.echoes import Echoes
from replibatch.execution.learned import Learned
from replibatch.execution.outages import Checks, report_download
from replibatch.execution.pricing import PriceList, Quote
from replibatch.execution.rebuild import Rebuild
from replibatch.execution.reconcile import Reconciler
from replibatch.execution.uploads import Uploads
from replibatch.jobs import Batches, Jobs, Record
from replibatch.jobs.unknown import UnknownCreates
from replibatch.limits import Limiter, Ticket
from replibatch.limits.process import is_running, process_name
from replibatch.limits.reads import Reads
from replibatch.limits.waiting_room import LISTEN_SECONDS, WaitingRoom
from replibatch.outputs.download import Downloader
from replibatch.polling import Watcher
from replibatch.polling.shared_polls import SharedPolls
from replibatch.redisdb.calls import Patience
from replibatch.redisdb.connection import connect
from replibatch.redisdb.scripts import run_together
from replibatch.replicate_api import Prediction, ReplicateAPI
from replibatch.settings import Settings
from replibatch.storage.shared import storage_for

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 120.0  # a worker waits this long for a Redis that is away
OVERDUE_SECONDS = 12.0  # past its deadline a prediction is canceled here, should Replicate not have done it
GRACE_SECONDS = 25.0  # past its deadline a prediction is waited for no longer
CANCEL_AGAIN_SECONDS = 5.0  # where a cancel did not end it
CANCELS_AT_ONCE = 16
WANTED_SECONDS = 1.0  # between two looks at who follows a batch
BATCHES_KEPT = 256  # in memory, with the models of each


@dataclass
class Running:
    """A generation that a thread of this process works on, and how other threads reach that one.

    Attributes:
        attempt_key: the attempt's name at the limiter.
        mail: a prediction that is over; None where there is something else to check: a cancel, a drain.
        canceled: whether its owner wants it canceled.
        superseded: whether custody was lost, and another thread of this process has it now.
    """

    attempt_key: str
    mail: SimpleQueue[Prediction | None] = field(default_factory=SimpleQueue)
    canceled: bool = False
    superseded: bool = False

    def wake(self) -> None:
        """Have the thread check the flags again, its own and the process's."""
        self.mail.put(None)

    def cancel(self) -> None:
        """Its owner wants it canceled."""
        self.canceled = True
        self.wake()


class WorkerContext:
    """Everything a worker process shares between its tasks. Make one a process, after any fork.

    Args:
        settings: with the token.
        redis_url: the fleet's Redis.
        results: Celery's, for the notices that are written with the records.
        own_lists: whether it works on lists that a live command follows, and on no other.
        embedded: whether producer and worker are processes of one user on one machine.
        report: what the process says of itself with each heartbeat; it may change.
        leave: called when this worker must hand its work back and end.

    Attributes:
        out_of_patience: set it to wait no longer for a Redis that is away.
        running: the generations that threads of this process work on, by id.
        tickets: the holders of slots, each with its price, by the id of the prediction that frees it with its end.

    Raises:
        SettingsError: there is no token.
    """

    def __init__(
        self,
        settings: Settings,
        redis_url: str,
        results: ResultBackend,
        *,
        embedded: bool,
        own_lists: bool = False,
        report: dict[str, Any],
        leave: Callable[[], None],
    ) -> None:
        if settings.replicate_api_token is None:
            raise SettingsError("REPLICATE_API_TOKEN is not set; a worker needs the account's token")
        self.settings = settings
        self._own_lists = own_lists
        self.serves_all_lists = embedded and not own_lists
        self._wanted: dict[str, tuple[float, bool]] = {}
        self.process = process_name()
        self.out_of_patience = threading.Event()
        self.redis = connect(
            redis_url,
            patience=Patience(PATIENCE_SECONDS, self.out_of_patience),
            most_connections=settings.redis_connections,
        )
        self.limiter = Limiter(self.redis, settings, self.process)
        self.jobs = Jobs(self.redis, settings, self.process)
        self.batches = Batches(self.jobs)
        self.results = results
        self._models_of_batch = lru_cache(maxsize=BATCHES_KEPT)(self._read_models)
        listener = connect(redis_url, longest_block_seconds=LISTEN_SECONDS)
        state_lost = threading.Event()
        self.waiting_room = WaitingRoom(
            self.limiter,
            listener,
            settings.lease_seconds,
            report=report.copy,
            recover=state_lost.set,
            recall=self._recall_records,
        )
        self.credentials = Credentials(self.limiter, report, leave)
        self.api = ReplicateAPI(
            settings.replicate_base_url,
            settings.replicate_api_token,
            await_read=Reads(self.redis, settings).wait,
            settle_seconds=settings.settle_seconds,
            longest_pause_seconds=settings.longest_pause_seconds,
            on_token_refused=self.credentials.refused,
        )
        self._shared_polls = SharedPolls(listener, self.limiter.prefix, self.waiting_room)
        self.watcher = Watcher(self.api, settings.reads_per_minute / 60, self.free_slots, self._shared_polls)
        self._rebuild = Rebuild(
            self.api,
            self.limiter,
            self.watcher,
            state_lost,
            prediction_timeout_seconds=settings.prediction_timeout_seconds,
            window_seconds=settings.rate_window_seconds,
        )
        self.echoes = Echoes(self.redis, self.limiter.prefix)
        unknown = UnknownCreates(self.redis, self.limiter.prefix)
        self.reconciler = Reconciler(self.api, self, self.echoes, unknown, settings.settle_seconds)
        self.storage = storage_for(settings, embedded=embedded)
        self.downloader = Downloader(
            settings.replicate_base_url,
            settings.replicate_api_token,
            on_trouble=partial(report_download, self.limiter),
        )
        self.uploads = Uploads(
            self.redis, self.limiter.prefix, self.storage.open_input, self.api.upload, self.api.has_file
        )
        self.prices = PriceList(catalog.built_in_models(settings.catalog), settings.prediction_timeout_seconds)
        folder = InFolder(folder_for(settings.state_dir, settings.replicate_base_url))
        self.learned = Learned(
            self.redis,
            self.limiter.prefix,
            self.api,
            folder if embedded else InRedis(self.redis, self.limiter.prefix),
        )
        self._checks = Checks(self)
        self.running: dict[str, Running] = {}
        self._cancels = ThreadPoolExecutor(CANCELS_AT_ONCE, "cancel")
        self._ending: set[str] = set()  # predictions that are being canceled
        self.tickets: dict[str, tuple[Ticket, Quote]] = {}

    def start(self) -> None:
        """Begin to heartbeat, to watch and to reconcile."""
        self.waiting_room.start()
        self._rebuild.start()
        self.watcher.start()
        self._shared_polls.start(self.watcher)
        self.reconciler.start()
        self._checks.start()

    def models_of(self, record: Record) -> dict[str, Model]:
        """The models that a generation may be made by, by name, as they were when it was asked for."""
        if not record.batch:
            return _parse_models(json.loads(record.catalog))
        models = self._models_of_batch(record.batch)
        if record.model not in models:  # a batch may gain some while it is appended to
            self._models_of_batch.cache_clear()
            models = self._models_of_batch(record.batch)
        return models

    def _recall_records(self) -> None:
        """An older copy of the records may have taken over: tell it how far this process's generations are."""
        if count := self.jobs.recall():
            log.warning("an older copy of Redis took over; its records were brought up to date", generations=count)

    def wants(self, batch: str) -> bool:
        """Whether this worker may start more of a batch: in a command's own worker, only what a command follows."""
        if not self._own_lists or not batch:
            return True
        seen_at, wanted = self._wanted.get(batch, (float("-inf"), True))
        if time.monotonic() - seen_at > WANTED_SECONDS:
            follower = self.batches.follower(batch)
            wanted = follower is None or (follower != "" and is_running(follower) and self.limiter.alive(follower))
            self._wanted[batch] = time.monotonic(), wanted
        return wanted

    def claim(self, record: Record, ticket: Ticket, prediction_id: str) -> str:
        """Make a prediction an attempt's, in the records and at the limiter; the answer is that of `Jobs.created`."""
        answer, _ = run_together(
            self.redis,
            self.jobs.created_step(record, prediction_id),
            self.limiter.created_step(ticket, prediction_id),
        )
        return str(answer)

    def claimed(self, predictions: Sequence[str]) -> dict[str, str]:
        """The attempts that predictions belong to, by the prediction's id."""
        return self.jobs.claimed(predictions)

    def to_cancel(self) -> set[str]:
        """The generations of this process that their owners want canceled."""
        return self.jobs.to_cancel()

    def unanswered_elsewhere(self, own: set[str], older_than_seconds: float) -> int:
        """How many other creates of the fleet have been without an answer for so long."""
        return len(set(self.limiter.unanswered(older_than_seconds)) - own)

    def not_created(self, ticket: Ticket) -> None:
        """A create surely made nothing: count it, and give its place up."""
        run_together(self.redis, self.limiter.refused_step(ticket), self.limiter.released_step(ticket, 0.0))

    def begin(self, generation_id: str, running: Running) -> None:
        """A thread works on a generation now; a thread that does so in an earlier custody leaves."""
        earlier = self.running.get(generation_id)
        self.running[generation_id] = running
        if earlier:
            earlier.superseded = True
            earlier.wake()

    def end(self, generation_id: str, running: Running) -> None:
        """The thread works on it no more."""
        if not running.superseded:
            del self.running[generation_id]

    def end_soon(self, prediction_id: str, *, overdue: bool, tell: Callable[[Prediction], object]) -> None:
        """Cancel a prediction at Replicate, in a thread of the cancels; `tell` is called if it is over then.

        Args:
            prediction_id: the prediction.
            overdue: it must be over by now: one that Replicate does not know any more is gone.
            tell: given the prediction as it ended.
        """
        if prediction_id not in self._ending:
            self._ending.add(prediction_id)
            self._cancels.submit(self._end, prediction_id, tell, overdue=overdue)

    def look_for_end(self, prediction_id: str, model: Model) -> None:
        """Go on polling for the end of a prediction that no attempt waits for any more: its end frees the slot."""

        def on_end(ended: Prediction) -> None:
            log.info("a prediction has ended late", prediction=ended.id, status=ended.status)

        self.watcher.watch(prediction_id, model.name, model.typical_seconds, on_end)

    def _end(self, prediction_id: str, tell: Callable[[Prediction], object], *, overdue: bool) -> None:
        try:
            ended = self.api.cancel(prediction_id)
            if ended is None or not ended.is_over:  # the answer to a cancel alone proves nothing
                ended = self.api.get(prediction_id)
            if ended.is_over:
                tell(ended)
        except NotThere:
            if overdue:
                tell(Prediction.gone(prediction_id))
        except Exception as error:  # noqa: BLE001  # it is tried again
            log.warning("could not cancel", prediction=prediction_id, error=str(error))
        finally:
            self._ending.discard(prediction_id)

    def free_slots(self, ended: Sequence[Prediction]) -> None:
        """Give back the slots of predictions that are over, all in one round trip, and settle their costs.

        Before the threads that wait for these predictions wake up: the head of the line goes first.
        """
        held = [(prediction, *held) for prediction in ended if (held := self.tickets.get(prediction.id))]
        if held:
            run_together(
                self.redis,
                *(
                    self.limiter.released_step(ticket, quote.booked_usd(one), succeeded=one.status == "succeeded")
                    for one, ticket, quote in held
                ),
            )
        for prediction, _, _ in held:
            self.tickets.pop(prediction.id, None)

    def drain(self) -> None:
        """Wake every generation: this process is on its way out, and none may wait here any longer."""
        self.waiting_room.drain()
        for running in list(self.running.values()):
            running.wake()

    def hand_over(self) -> None:
        """Leave everything this process answers for to the others."""
        self.jobs.give_back()
        self.limiter.heartbeat({}, leaving=True)

    def stop(self) -> None:
        """Hand everything over, take leave, close."""
        self.credentials.stop()
        self._cancels.shutdown(wait=False, cancel_futures=True)
        self._checks.stop()
        self._rebuild.stop()
        try:
            self.jobs.give_back()
        except RedisError as error:
            log.warning("could not hand over; the lease will lapse", error=str(error))
        self.reconciler.stop()
        self.watcher.stop()
        self._shared_polls.stop()
        self.waiting_room.stop()
        self.api.close()
        self.downloader.close()

    def _read_models(self, batch: str) -> dict[str, Model]:
        return _parse_models(self.batches.catalog(batch))


def _parse_models(catalog: dict[str, Any]) -> dict[str, Model]:
    return {name: Model.from_json(model) for name, model in catalog.items()}
