"""Replicate's HTTP API: the only part that knows the replicate client."""

from replibatch.replicate_api.calls import ReplicateAPI
from replibatch.replicate_api.predictions import Prediction

__all__ = ["Prediction", "ReplicateAPI"]
