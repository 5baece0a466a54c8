"""One attempt of a generation on one model. Knows no Celery."""

from replibatch.execution.attempt import generate
from replibatch.execution.outcomes import Done, Left, Next, Outcome, SteppedAside

__all__ = ["Done", "Left", "Next", "Outcome", "SteppedAside", "generate"]
