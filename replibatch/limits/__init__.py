"""The account's limits: who may create a prediction, and when."""

from replibatch.limits.gate import Gate, Standing, Ticket
from replibatch.limits.gatekeeper import Gatekeeper

__all__ = ["Gate", "Gatekeeper", "Standing", "Ticket"]
