"""Replicate's HTTP API: the only part that knows the replicate client."""

from replibatch.replicate_api.client import ReplicateAPI
from replibatch.replicate_api.predictions import Prediction
from replibatch.replicate_api.watcher import Watcher

__all__ = ["Prediction", "ReplicateAPI", "Watcher"]
