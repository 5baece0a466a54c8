"""The records: each request, its worker, its result."""

from replibatch.jobs.batches import Batches, capacity_for
from replibatch.jobs.custody import Jobs
from replibatch.jobs.links import Call, Link
from replibatch.jobs.packing import Packer, PendingEntry
from replibatch.jobs.record import Message, Notice, Record, Settled

__all__ = [
    "Batches",
    "Call",
    "Jobs",
    "Link",
    "Message",
    "Notice",
    "Packer",
    "PendingEntry",
    "Record",
    "Settled",
    "capacity_for",
]
