"""The account's limits: who may create a prediction, and when."""

from replibatch.limits.gate import Beat, Gate, Row, Standing, Ticket
from replibatch.limits.gatekeeper import Gatekeeper

__all__ = ["Beat", "Gate", "Gatekeeper", "Row", "Standing", "Ticket"]
