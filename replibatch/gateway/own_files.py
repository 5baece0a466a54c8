"""Inputs that are the gateway's own addresses: uploaded files, and outputs of earlier predictions.

Replicate could not fetch them from a gateway inside a private network; workers take them from the storage.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePath
from typing import Any, cast
from urllib.parse import urlsplit

from replibatch.gateway.context import Gateway
from replibatch.gateway.tenants import Tenant
from replibatch.redisdb import keys
from replibatch.requests import RoutedRequest
from replibatch.sandbox.replies import InvalidField, invalid
from replibatch.served.record import find

UPLOADED = re.compile(r"/v1/files/([0-9a-z]{1,64})")
OUTPUT = re.compile(r"/outputs/([\w.@-]{1,200})/([0-9a-z]{1,64})/(\d{1,6})/[^/]*")


def with_own_files(gateway: Gateway, tenant: Tenant, prepared: RoutedRequest, base: str) -> RoutedRequest:
    """The request with references to the storage in the place of such addresses.

    Raises:
        Refusal: 422, for a file that is not there, or not the tenant's.
    """
    host = urlsplit(base).netloc

    def found(field: str, value: Any) -> Any:
        if isinstance(value, list):
            return [found(f"{field}.{number}", each) for number, each in enumerate(value)]
        if isinstance(value, dict):
            return {name: found(f"{field}.{name}", each) for name, each in value.items()}
        if not isinstance(value, str) or not value.startswith(("http://", "https://")) or len(value) > 2000:
            return value
        if value.partition("://")[2].partition("/")[0] != host:
            return value
        parts = urlsplit(value)
        reference = _reference(gateway, tenant, parts.path)
        if reference is None:
            raise invalid([InvalidField("not_found", field, f"{value} is no file of yours on this gateway")])
        return reference

    inputs = {name: found(f"input.{name}", value) for name, value in prepared.inputs.items()}
    references = tuple(found("input", each) for each in prepared.references)
    return replace(prepared, inputs=inputs, references=references)


def _reference(gateway: Gateway, tenant: Tenant, path: str) -> str | None:
    redis = gateway.producer.redis
    if match := UPLOADED.fullmatch(path):
        name = keys.SERVED_FILE.at(gateway.prefix, match[1])
        owner, reference = cast("list[str | None]", redis.hmget(name, ["owner", "reference"]))
        return reference if owner == tenant.id else None
    if match := OUTPUT.fullmatch(path):
        return _of_output(gateway, tenant, match[1], match[2], int(match[3]))
    return None


def _of_output(gateway: Gateway, tenant: Tenant, prediction_id: str, token: str, number: int) -> str | None:
    producer = gateway.producer
    served = find(producer.redis, gateway.prefix, prediction_id)
    if served is None or served.owner != tenant.id or served.token != token:
        return None
    result = producer.jobs.outcome(prediction_id)[2]
    if result is None or not result.success or number >= len(result.files):
        return None
    file = producer.files.in_storage(result).files[number]
    return producer.files.storage.keep_input(iter(file), PurePath(file.path).suffix)
