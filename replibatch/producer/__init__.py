"""The producer's side: requests in, results out, from any process or machine."""

from replibatch.producer.batch import Batch, Progress
from replibatch.producer.client import Client
from replibatch.producer.compat import IntelligentBatchProcessor, intelligent_batch_process
from replibatch.producer.enqueueing import (
    aenqueue,
    aenqueue_batch,
    enqueue,
    enqueue_batch,
    get_global_status,
    replicate_model_calling,
)
from replibatch.producer.job import Job
from replibatch.producer.producer import Producer, open_producer

__all__ = [
    "Batch",
    "Client",
    "IntelligentBatchProcessor",
    "Job",
    "Producer",
    "Progress",
    "aenqueue",
    "aenqueue_batch",
    "enqueue",
    "enqueue_batch",
    "get_global_status",
    "intelligent_batch_process",
    "open_producer",
    "replicate_model_calling",
]
