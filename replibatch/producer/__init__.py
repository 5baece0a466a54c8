"""The producer's side: requests in, results out, from any process or machine."""

from replibatch.producer.batch import Batch, Progress
from replibatch.producer.compat import IntelligentBatchProcessor, intelligent_batch_process
from replibatch.producer.enqueueing import enqueue, enqueue_batch, get_global_status, replicate_model_calling
from replibatch.producer.job import Job
from replibatch.producer.producer import Producer, open_producer

__all__ = [
    "Batch",
    "IntelligentBatchProcessor",
    "Job",
    "Producer",
    "Progress",
    "enqueue",
    "enqueue_batch",
    "get_global_status",
    "intelligent_batch_process",
    "open_producer",
    "replicate_model_calling",
]
