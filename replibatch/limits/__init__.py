"""The account's limits: who may create a prediction, and when.

Who waits there needs `waiting_room`, which producers do not import.
"""

from replibatch.limits.limiter import Limiter
from replibatch.limits.status import AccountStatus
from replibatch.limits.tickets import Beat, Row, Standing, Ticket

__all__ = ["AccountStatus", "Beat", "Limiter", "Row", "Standing", "Ticket"]
