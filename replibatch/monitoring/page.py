"""The page of the account in Flower: its routes, its templates, its metrics, and one guard in front of all."""

from __future__ import annotations

from prometheus_client import REGISTRY

from replibatch.monitoring import flower_internals
from replibatch.monitoring.guard import GuardedStatic, guarded
from replibatch.monitoring.handlers import routes
from replibatch.monitoring.prometheus import FleetCollector
from replibatch.monitoring.templates import Templates
from replibatch.monitoring.thumbnails import Thumbnails
from replibatch.producer import Producer
from replibatch.storage.shared import storage_for


def extend(producer: Producer) -> None:
    """Put our routes in front of Flower's, the guard in front of all, our page into the navigation."""
    thumbnails = Thumbnails(storage_for(producer.settings, embedded=producer.embedded))
    all_routes = guarded([*routes(producer, thumbnails), *flower_internals.routes()])
    flower_internals.install(all_routes, Templates(), GuardedStatic)
    REGISTRY.register(FleetCollector(producer))
