"""Every key in Redis: its type, the part of replibatch that writes it, its fields, how long it lives.

Each name stands behind the account's prefix (`Settings.key_prefix`), except those of Celery and kombu. Python spells
a key with `KEY.at(prefix, …)`, Lua with `key(…)` of `lua/common.lua`; a test holds both to this table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

LASTING = "as long as the account is used"
WITH_BATCH = "REPLIBATCH_KEEP_DAYS after its batch is over"


@dataclass(frozen=True)
class Key:
    """One kind of key.

    Attributes:
        pattern: its name without the prefix; `{…}` stands for what differs.
        type: Redis' type, or `channel`.
        owner: the package that writes it.
        life: when it goes.
        holds: its fields or members, and what they mean; times are milliseconds since 1970, money is micro-dollars.
    """

    pattern: str
    type: str
    owner: str
    life: str
    holds: str

    def at(self, prefix: str, *parts: str | int) -> str:
        """The key's name in one account."""
        return prefix + self._template % parts

    def matches(self, name: str) -> bool:
        """Whether a name, without the prefix, is one of this kind."""
        return bool(self._regex.fullmatch(name))

    @cached_property
    def _template(self) -> str:
        return re.sub(r"\{\w+\}", "%s", self.pattern)

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\\\{\w+\\\}", "[^:]+", re.escape(self.pattern)))


# The limiter: lua/limiter.lua
SLOTS = Key("slots", "zset", "limits", LASTING, "attempt -> hard deadline: predictions that may be in flight")
GRANTED = Key("granted", "zset", "limits", LASTING, "attempt -> claim deadline: handed off, not yet claimed")
CREATING = Key("creating", "zset", "limits", LASTING, "attempt -> claimed at: POSTs sent, or about to be, unanswered")
WINDOW = Key("window", "list", "limits", LASTING, "time:posts:refused, oldest first: answered POSTs")
WAITERS = Key("waiters", "zset", "limits", LASTING, "attempt -> priority and arrival")
TICKETS = Key(
    "tickets", "hash", "limits", LASTING, "attempt -> process, fence, price, budget, order, prediction, model"
)
LIMITS = Key("limits", "hash", "limits", LASTING, "limits in force, cooldown, what was learned, counters")
STORED_LIMITS = Key("limits:stored", "hash", "limits", LASTING, "max_concurrent, per_window, budget of `limits set`")
PROCESSES = Key("processes", "zset", "limits", "members: a day", "process -> last heartbeat")
REPORTS = Key("reports", "hash", "limits", "fields: with the process", "process -> JSON of its last report")
OUTAGES = Key("outages", "hash", "limits", "fields: until it works again", "what is out -> JSON: lua/outages.lua")
FAULTS = Key("faults", "zset", "limits", "5 minutes", "report of a failure -> when: a repeated call is no second one")
REPORTED = Key("reported", "set", "limits", "while the state is not trusted", "processes that have reported")
SPEND = Key("spend", "hash", "limits", LASTING, "month (UTC) -> spent; reserved -> of all slots")
BUDGET = Key("budget:{name}", "hash", "limits", WITH_BATCH, "cap, spent, reserved: of a batch, or of several")
AHEAD = Key(
    "ahead",
    "hash",
    "limits",
    "fields: until settled",
    "generation -> amount, budget, attempt: kept for its steps to come",
)
YIELDING = Key(
    "yielding", "set", "limits", "members: until settled", "generations that take another model while theirs is out"
)
WAITED = Key("waited", "hash", "limits", LASTING, "cause -> ms that attempts have waited for it")
WAKE_ALL = Key("wake", "channel", "limits", "-", "to all processes: report")
WAKE = Key("wake:{process}", "channel", "limits", "-", "to the waiters of one: standing, attempt, fence")
READS = Key("reads", "list", "limits", "two minutes", "bucket:reads, oldest first: requests that create nothing")

# The records: jobs/lua/jobs.lua
GENERATION = Key(
    "gen:{id}", "hash", "jobs", f"single job: REPLIBATCH_KEEP_DAYS after its end; else {WITH_BATCH}",
    "v, request, state, attempt, model, sent, sent_at, prediction, created, process, fence, taker, taken, started, "
    "attempts, booked, counted, paid, pause, batch, index, budget, priority, catalog, link, followers; settled: "
    "state, result, fence, batch, followers, link, asked, and request where it failed",
)  # fmt: skip
CUSTODY = Key("custody:{process}", "set", "jobs", "until empty", "generations a process answers for; - for none")
HOLDERS = Key("holders", "set", "jobs", "members: until their custody is empty", "processes with custody")
QUEUED = Key("queued:{priority}", "zset", "jobs", "members: until taken", "generation -> since when")
ASKED = Key("asked", "zset", "jobs", "members: until settled", "single job -> when it was asked for")
CANCELING = Key("canceling", "set", "jobs", "members: until settled", "generations to be canceled while they run")
CALLS = Key("calls", "zset", "jobs", "members: until published", "call of an application's task -> last try")
OVER = Key(
    "over", "channel", "jobs", "-", "a generation that has its result, and its batches: wakes who waits for them"
)
WEBHOOKS = Key(
    "webhooks", "zset", "jobs", "members: a day at most", "JSON of an owed webhook -> when it is next tried"
)
WEBHOOKS_LOST = Key("webhooks:lost", "list", "jobs", LASTING, "the last 20 that were given up, JSON")
LINKED = Key("linked", "hash", "jobs", LASTING, "an application's queue -> when a task was last sent there")
PREDICTION = Key("prediction:{id}", "string", "jobs", "25 hours", "the attempt a prediction belongs to: claimed once")
UNKNOWN = Key("unknown", "hash", "jobs", "fields: until settled", "generation -> JSON: a create nobody can prove")
VERDICTS = Key("unknown:verdicts", "hash", "jobs", "fields: until acted on", "generation -> prediction, or -")
BATCH = Key(
    "batch:{id}", "hash", "jobs", WITH_BATCH,
    "v, total, succeeded, placeholder, failed, canceled, cost, max_concurrent, held, let_go_at, canceled_at, budget, "
    "priority, about, follower, created, closed, over_at, model:<name> (catalogue), shape:<n> (shared by requests)",
)  # fmt: skip
PENDING = Key("batch:{id}:pending", "list", "jobs", WITH_BATCH, "id, index, shape, own fields: requests that wait")
DROPPED = Key("batch:{id}:dropped", "list", "jobs", WITH_BATCH, "the same: those a cancel kept from starting")
BEGUN = Key("batch:{id}:begun", "hash", "jobs", WITH_BATCH, "generation put back -> how far it was, JSON")
OUT = Key("batch:{id}:out", "set", "jobs", WITH_BATCH, "generations queued or running")
FINISHED = Key("batch:{id}:finished", "stream", "jobs", WITH_BATCH, "id, index: each as it finishes")
BATCHES = Key("batches", "zset", "jobs", "members: with the batch", "batch -> opened at")
FEEDING = Key("batches:feeding", "set", "jobs", "members: until all is queued", "batches with requests that wait")
OPEN = Key("batches:open", "zset", "jobs", "members: until closed", "batch -> last appended to")
AGING = Key("batches:aging", "hash", "jobs", "fields: until all records know", "batch over, or not any more -> mark")
SHARERS = Key("budget:{name}:batches", "set", "jobs", "members: until over", "batches that share a budget")
COUNTS = Key("counts", "hash", "jobs", LASTING, "kind, model, reason -> how many")
COUNTS_OF_DAY = Key("counts:{day}", "hash", "jobs", "8 days", "the same, of one day (UTC)")
LATEST = Key("latest", "list", "jobs", LASTING, "the 24 generations that finished last")

# The gateway
GATEWAY_KEYS = Key(
    "gateway:keys", "hash", "gateway", LASTING, "SHA-256 of a key -> JSON: id, name, bounds; never itself"
)
SERVED = Key(
    "served:{id}", "hash", "served", "twice REPLIBATCH_KEEP_DAYS and 30 days",
    "owner, created, model, version, deployment, input, token, base, shape, webhook, completed, ended, lane",
)  # fmt: skip
SERVED_OF = Key("served:{owner}:all", "zset", "served", "with its newest prediction", "prediction -> created at")
SERVED_OPEN = Key("served:{owner}:open", "zset", "served", "with its newest prediction", "prediction -> created at")
SERVED_FILE = Key("served-file:{id}", "hash", "gateway", "a day", "an uploaded file: owner, name, size, reference, …")
SERVED_FILES = Key("served-files:{owner}", "zset", "gateway", "a day", "uploaded file -> created at")

# Workers among themselves
POLL = Key("poll:{part}", "string", "polling", "1 second", "the process about to read a part of the account's list")
POLLED = Key("polled:{id}", "hash", "polling", "10 seconds", "prediction -> JSON of a row that is over")
POLLS = Key("polls", "channel", "polling", "-", "what was read")
UPLOAD = Key("upload:{name}", "string", "execution", "23 hours", "the address of an uploaded reference image")
UPLOAD_LOCK = Key("upload:{name}:lock", "string", "execution", "1 minute", "held by who uploads it")
DATA_URIS = Key("data-uris:{model}", "string", "execution", "30 days", "1: files go to the model as data URIs")
PUBLISHED = Key("models", "hash", "catalog", LASTING, "model -> JSON of the inputs, outputs and price it publishes")
ECHOES = Key("echoes", "hash", "execution", "90 days", "model -> JSON: how its rows show requests")
REMOVING = Key("inputs:removing", "string", "execution", "1 hour", "the process that removed unused reference images")

# Runs of the command line
RUN = Key("run:{folder}", "set", "cli", "REPLIBATCH_KEEP_DAYS", "batches of runs into a folder that may go on")

KEYS: tuple[Key, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Key))

# Celery's and kombu's own, without the prefix: the queue's lists, its bindings, the states of tasks, worker events.
FOREIGN = re.compile(
    r"replibatch:.+|_kombu\.binding.+|celery-task-meta-.+|unacked.*|.*\.celery\.pidbox|/\d+\.celeryev.*|celery"
)


def key_of(name: str, prefix: str) -> Key | None:
    """The kind of a key in Redis; None where it is no account's of that prefix, or in no table."""
    rest = name.removeprefix(prefix)
    return next((each for each in KEYS if name.startswith(prefix) and each.matches(rest)), None)
