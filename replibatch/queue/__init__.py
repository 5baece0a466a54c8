"""The producer's side: requests in, results out, from any process or machine."""

from replibatch.queue.batch import Batch, Progress
from replibatch.queue.calls import enqueue, enqueue_batch, get_global_status, replicate_model_calling
from replibatch.queue.job import Job
from replibatch.queue.processor import IntelligentBatchProcessor, intelligent_batch_process
from replibatch.queue.producer import Producer, open_producer

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
