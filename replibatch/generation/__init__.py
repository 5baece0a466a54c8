"""One attempt of a generation on one model. Knows no Celery."""

from replibatch.generation.attempt import generate
from replibatch.generation.outcomes import Done, Left, Next, Outcome, SteppedAside

__all__ = ["Done", "Left", "Next", "Outcome", "SteppedAside", "generate"]
