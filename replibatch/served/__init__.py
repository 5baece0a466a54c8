"""Predictions as the gateway serves them: what it keeps of each, and how Replicate's API tells it.

Workers know this too: they deliver the webhooks of such predictions.
"""

from replibatch.served.record import Served
from replibatch.served.view import Progress, view

__all__ = ["Progress", "Served", "view"]
