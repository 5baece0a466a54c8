"""What one worker process shares between its tasks, whatever runs them."""

from replibatch.workshop.workshop import OVERDUE_SECONDS, Running, Workshop

__all__ = ["OVERDUE_SECONDS", "Running", "Workshop"]
