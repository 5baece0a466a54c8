"""The account's limits: who may create a prediction, and when.

Who waits there needs `gatekeeper`, which producers do not import.
"""

from replibatch.limits.limiter import Gate
from replibatch.limits.tickets import Beat, Row, Standing, Ticket

__all__ = ["Beat", "Gate", "Row", "Standing", "Ticket"]
