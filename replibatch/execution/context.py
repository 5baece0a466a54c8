"""What one worker process works with: the account's limits and jobs, the API, the storage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from redis.exceptions import RedisError

from replibatch import catalog
from replibatch.catalog.published import InFolder, InRedis, folder_for
from replibatch.errors import SettingsError
from replibatch.execution.chains import Chains
from replibatch.execution.credentials import Credentials
from replibatch.execution.learned import Learned
from replibatch.execution.pricing import PriceList, Quote
from replibatch.execution.rebuild import Rebuild
from replibatch.execution.reconcile import Reconciler
from replibatch.execution.uploads import Uploads
from replibatch.jobs import Batches, Jobs, Record
from replibatch.limits import Limiter, Ticket
from replibatch.limits.process import process_name
from replibatch.limits.reads import Reads
from replibatch.limits.waiting_room import LISTEN_SECONDS, WaitingRoom
from replibatch.outputs.download import Downloader
from replibatch.polling import Watcher
from replibatch.polling.shared_polls import SharedPolls
from replibatch.redisdb.connection import connect
from replibatch.redisdb.scripts import run_together
from replibatch.replicate_api import Prediction, ReplicateAPI
from replibatch.settings import Settings
from replibatch.storage.shared import storage_for

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 120.0  # a worker waits this long for a Redis that is away
OVERDUE_SECONDS = 15.0  # past its deadline a prediction is canceled here, should Replicate not have done it


@dataclass
class Running:
    """A generation a thread of this process works on.

    Attributes:
        attempt_key: what it is called at the limiter.
        news: set when there is something to look at: an end, a cancel, a drain.
        canceled: whether its owner wants it canceled.
        superseded: whether custody was lost, and another thread of this process has it now.
    """

    attempt_key: str
    news: threading.Event = field(default_factory=threading.Event)
    canceled: bool = False
    superseded: bool = False


class WorkerContext:
    """Everything a worker process shares between its tasks. Make one a process, after any fork.

    Args:
        settings: with the token.
        redis_url: the fleet's Redis.
        embedded: whether producer and worker are processes of one user on one machine.
        report: what the process says of itself with each heartbeat.
        leave: called when this worker must hand its work back and end.

    Attributes:
        out_of_patience: set it to wait no longer for a Redis that is away.
        running: the generations that threads of this process work on, by id.
        tickets: with whose end a slot is given back, and what it has cost, by the prediction's id.

    Raises:
        SettingsError: there is no token.
    """

    def __init__(
        self,
        settings: Settings,
        redis_url: str,
        *,
        embedded: bool,
        report: dict[str, Any],
        leave: Callable[[], None],
    ) -> None:
        if settings.replicate_api_token is None:
            raise SettingsError("REPLICATE_API_TOKEN is not set; a worker needs the account's token")
        self.settings = settings
        self.process = process_name()
        self.out_of_patience = threading.Event()
        self.redis = connect(redis_url, patience_seconds=PATIENCE_SECONDS, out_of_patience=self.out_of_patience)
        self.limiter = Limiter(self.redis, settings, self.process)
        self.jobs = Jobs(self.redis, settings, self.process)
        self.batches = Batches(self.jobs)
        self.chains = Chains(self.batches)
        listener = connect(redis_url, longest_block_seconds=LISTEN_SECONDS)
        self.waiting_room = WaitingRoom(
            self.limiter,
            listener,
            settings.lease_seconds,
            lambda: report,
            lambda: self.recovery.begin(),  # noqa: PLW0108  # it is made below, of what needs the waiting room
        )
        self.api = ReplicateAPI(
            settings.replicate_base_url,
            settings.replicate_api_token,
            await_read=Reads(self.redis, settings).wait,
            may_create=lambda: self.waiting_room.heartbeat.lived_since(self._custody.confirmed_at),
            settle_seconds=settings.settle_seconds,
            on_token_refused=lambda why: self.credentials.refused(why),  # noqa: PLW0108  # it is made below
        )
        self.credentials = Credentials(self.limiter, report, leave)
        self._looks = SharedPolls(listener, self.limiter.prefix, lambda: self.waiting_room.in_flight)
        self.watcher = Watcher(self.api, settings.reads_per_minute / 60, self.free_slots, self._looks)
        self.recovery = Rebuild(
            self.api,
            self.limiter,
            self.watcher,
            prediction_timeout_seconds=settings.prediction_timeout_seconds,
            window_seconds=settings.rate_window_seconds,
        )
        self.reconciler = Reconciler(self.api, settings.settle_seconds)
        self.storage = storage_for(settings, embedded=embedded)
        self.downloader = Downloader(settings.replicate_base_url, settings.replicate_api_token)
        self.uploads = Uploads(
            self.redis, self.limiter.prefix, self.storage.open_input, self.api.upload, self.api.has_file
        )
        self.prices = PriceList(catalog.load(settings.catalog), settings.prediction_timeout_seconds)
        folder = InFolder(folder_for(settings.state_dir, settings.replicate_base_url))
        self.learned = Learned(
            self.redis,
            self.limiter.prefix,
            self.api,
            folder if embedded else InRedis(self.redis, self.limiter.prefix),
        )
        self.running: dict[str, Running] = {}
        self.tickets: dict[str, tuple[Ticket, Quote]] = {}
        self._custody = threading.local()

    def start(self) -> None:
        """Begin to heartbeat, to watch and to reconcile."""
        self.waiting_room.start()
        self.watcher.start()
        self._looks.start(self.watcher)
        self.reconciler.start()

    def intend(self, record: Record, sent: str) -> str:
        """Note what the thread's next create will be recognised by: `ok`, or why it must not be sent.

        It is sent only while it is certain that the record is still this process's.
        """
        self._custody.confirmed_at = time.monotonic()
        return self.jobs.intend(record, sent)

    def claim(self, record: Record, ticket: Ticket, prediction_id: str) -> str:
        """Make a prediction an attempt's, in the records and at the limiter; the answer is that of `Jobs.created`."""
        answer, _ = run_together(
            self.redis, self.jobs.created(record, prediction_id), self.limiter.created(ticket, prediction_id)
        )
        return str(answer)

    def begin(self, generation_id: str, running: Running) -> None:
        """A thread works on a generation now; one that does so in an earlier custody is told to leave."""
        earlier = self.running.get(generation_id)
        self.running[generation_id] = running
        if earlier:
            earlier.superseded = True
            earlier.news.set()

    def end(self, generation_id: str, running: Running) -> None:
        """The thread works on it no more."""
        if not running.superseded:
            del self.running[generation_id]

    def free_slots(self, ended: Sequence[Prediction]) -> None:
        """Give back the slots of predictions that are over, all in one round trip, and settle what they cost.

        Before the threads that wait for them wake up and make their next calls: whoever waits for a slot goes first.
        """
        held = [(prediction, *held) for prediction in ended if (held := self.tickets.get(prediction.id))]
        if held:
            run_together(
                self.redis, *(self.limiter.released(ticket, quote.booked_usd(one)) for one, ticket, quote in held)
            )
        for prediction, _, _ in held:
            self.tickets.pop(prediction.id, None)

    def drain(self) -> None:
        """Wake every generation: this process is on its way out, and none may wait here any longer."""
        self.waiting_room.drain()
        for running in list(self.running.values()):
            running.news.set()

    def hand_over(self) -> None:
        """Leave everything this process answers for to the others."""
        self.jobs.give_back()
        self.limiter.heartbeat({}, leaving=True)

    def stop(self) -> None:
        """Hand everything over, take leave, close."""
        self.credentials.stop()
        self.recovery.stop()
        try:
            self.jobs.give_back()
        except RedisError as error:
            log.warning("could not hand over; the lease will lapse", error=str(error))
        self.reconciler.stop()
        self.watcher.stop()
        self._looks.stop()
        self.waiting_room.stop()
        self.api.close()
        self.downloader.close()
