"""Polling: one thread a process sees every prediction of the process end, with as few reads as possible."""

from replibatch.polling.watcher import Watcher

__all__ = ["Watcher"]
