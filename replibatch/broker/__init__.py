"""Celery between producers and workers: the app, the messages of a generation, cancellation."""
