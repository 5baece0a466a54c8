"""The ledger: what was asked for, who works on it, what came of it."""

from replibatch.ledger.batches import BatchLedger, capacity_for
from replibatch.ledger.links import Call, Link
from replibatch.ledger.packing import Packer, PendingEntry
from replibatch.ledger.record import Message, Notice, Record, Settled
from replibatch.ledger.records import Ledger

__all__ = [
    "BatchLedger",
    "Call",
    "Ledger",
    "Link",
    "Message",
    "Notice",
    "Packer",
    "PendingEntry",
    "Record",
    "Settled",
    "capacity_for",
]
