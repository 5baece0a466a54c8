"""The ledger: what was asked for, who works on it, what came of it."""

from replibatch.ledger.batches import BatchLedger, PendingEntry
from replibatch.ledger.records import Ledger, Message, Record

__all__ = ["BatchLedger", "Ledger", "Message", "PendingEntry", "Record"]
