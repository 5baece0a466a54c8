"""The one request that costs money: from its JSON to a generation in the queue."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import Any, cast

import httpx

from replibatch.broker.publish import SINGLE
from replibatch.catalog.models import DEPLOYMENT, Model
from replibatch.errors import QueueUnavailable, ReplibatchError
from replibatch.gateway import lanes
from replibatch.gateway.context import Gateway
from replibatch.gateway.own_files import with_own_files
from replibatch.gateway.refusals import bad_request, of_error, over_budget, too_many
from replibatch.gateway.tenants import Tenant
from replibatch.money import to_usd
from replibatch.outputs.addresses import Addresses, AddressRefused
from replibatch.producer.caller import Caller
from replibatch.redisdb import keys
from replibatch.request_checks import LONGEST_URL
from replibatch.requests import BatchRequest, RoutedRequest, new_id
from replibatch.sandbox import schemas
from replibatch.sandbox.replies import InvalidField, invalid, invalid_version, not_found
from replibatch.served import Served
from replibatch.served.record import find, forget, keep

ID_CHARACTERS = 26  # as Replicate's
LONGEST_KEY = 200  # characters of an Idempotency-Key
AT_START = frozenset({"start"})
AT_END = frozenset({"output", "logs", "completed"})  # a prediction has its output at its end
FOLDER = "served"  # below it, each key has its own


@dataclass(frozen=True)
class Create:
    """One create, as it was asked.

    Attributes:
        model: of the catalogue.
        version: as it was asked for; `hidden` by name.
        deployment: `owner/name`, where it was asked for through one.
        body: its JSON.
        base: the gateway as the client reached it.
        idempotency_key: empty for none.
    """

    model: Model
    version: str
    deployment: str
    body: dict[str, Any]
    base: str
    idempotency_key: str = ""

    @property
    def inputs(self) -> dict[str, Any]:
        """What the model is given."""
        return cast("dict[str, Any]", self.body["input"])


def parsed(
    gateway: Gateway, content: bytes, base: str, *, model: str = "", deployment: str = "", idempotency_key: str = ""
) -> Create:
    """A create of a body.

    Args:
        gateway: the process's.
        content: the body.
        base: the gateway as the client reached it.
        model: `owner/name` from the path; empty for one that the body names.
        deployment: the same of a deployment.
        idempotency_key: empty for none.

    Raises:
        Refusal: it is not one that the API takes.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise bad_request("The request's body is not valid JSON") from None
    by_path = model or deployment
    if problems := schemas.problems_of_body(body, version_wanted=not by_path):
        raise invalid(problems)
    models = gateway.producer.catalog.models
    if by_path:
        found = models.get(f"{DEPLOYMENT}{deployment}" if deployment else model)
        if found is None or (model and found.version):
            raise not_found()
        return Create(found, "hidden", deployment, body, base, idempotency_key)
    found = _version_of(gateway, body["version"])
    if found is None:
        raise invalid_version()
    version = body["version"].rpartition(":")[2] if found.version else "hidden"
    return Create(found, version, "", body, base, idempotency_key)


def _version_of(gateway: Gateway, version: str) -> Model | None:
    """The model that a create's `version` names: `owner/name`, `owner/name:id`, or an id; None where it is none."""
    models = gateway.producer.catalog.models
    if version in models and not models[version].is_deployment:
        return models[version]
    for name, hosted in gateway.hosted.items():
        if version in (hosted.version, f"{hosted.name}:{hosted.version}") and not models[name].is_deployment:
            return models[name]
    return None


def accept(gateway: Gateway, tenant: Tenant, create: Create) -> tuple[Served, bool]:
    """Check, route and enqueue; durable when this returns. Blocks: to be called in a thread.

    Returns:
        The prediction, and whether it is new: its `Idempotency-Key` may stand for one already.

    Raises:
        Refusal: nothing was enqueued.
    """
    if problems := schemas.problems_of_input(gateway.hosted[create.model.name], create.inputs):
        raise invalid(problems)
    if webhook := create.body.get("webhook"):
        _check_webhook(gateway, str(webhook))
    producer = gateway.producer
    try:
        request = _request(tenant, create)
        generation_id = producer.id_of(request) or new_id(ID_CHARACTERS)
        with producer.reaching():
            known = find(producer.redis, gateway.prefix, generation_id) if request.idempotent else None
            if known is not None and known.ended and not producer.jobs.outcome(generation_id)[0]:
                known = None  # its result is kept no more
            if known is None:
                _check_waiting(gateway, tenant)
        prepared = producer.prepare(
            request, generation_id, 0, fallback=tenant.fallback, folder=str(request.within), caller=Caller()
        )
        prepared = replace(prepared, webhook_start=_webhook_for(create.body, AT_START))
        prepared = with_own_files(gateway, tenant, prepared, create.base)
        if known is None:
            _check_budget(gateway, tenant, prepared)
        return _enqueue(gateway, tenant, create, prepared, generation_id, known), known is None
    except ReplibatchError as error:
        raise of_error(error, tuple(create.inputs)) from error


def _request(tenant: Tenant, create: Create) -> BatchRequest:
    inputs = dict(create.inputs)
    prompt_name = create.model.prompt_name
    prompt = inputs.pop(prompt_name, None) if prompt_name else None
    data = {"prompt": prompt or None, "model_name": create.model.name, "kwargs": inputs}
    if create.idempotency_key:
        data["request_id"] = create.idempotency_key
    request = BatchRequest.untrusted(
        data, models=(create.model.name,), folder=f"{FOLDER}/{tenant.id}", namespace=f"key:{tenant.id}"
    )
    request.tags = (tenant.name, *tenant.tags)
    if _webhook_for(create.body, AT_END):
        request.webhook = create.body["webhook"]
    return request


def _webhook_for(body: dict[str, Any], events: frozenset[str]) -> str:
    """The address that is called for these events; empty for none. Without a filter, all are wanted."""
    wanted = body.get("webhook_events_filter") or schemas.EVENTS
    return str(body.get("webhook") or "") if not events.isdisjoint(wanted) else ""


def _enqueue(
    gateway: Gateway,
    tenant: Tenant,
    create: Create,
    prepared: RoutedRequest,
    generation_id: str,
    known: Served | None,
) -> Served:
    """Kept first, then enqueued: no generation is made that its owner cannot find."""
    producer = gateway.producer
    served = known or Served(
        id=generation_id,
        owner=tenant.id,
        created=round(time.time(), 6),
        model=create.model.name.removeprefix(DEPLOYMENT).partition(":")[0],
        version=create.version,
        input=create.inputs,
        token=new_id(ID_CHARACTERS),
        base=create.base,
        shape=create.model.output or "",
        deployment=create.deployment,
        webhook=bool(_webhook_for(create.body, AT_START | AT_END)),
        lane=lanes.lane_of(tenant),
    )
    with producer.reaching():
        producer.present()
        if known is None:
            keep(producer.redis, gateway.prefix, served, producer.settings.keep_seconds)
    try:
        if served.lane:
            lanes.enqueue(producer, tenant, generation_id, prepared)
        else:
            producer.record(generation_id, prepared, priority=SINGLE, budget=tenant.budget)
    except QueueUnavailable as error:
        if error.accepted is not False:
            raise
        _forget(gateway, served, known)
        raise
    except ReplibatchError:
        _forget(gateway, served, known)
        raise
    return served


def _forget(gateway: Gateway, served: Served, known: Served | None) -> None:
    if known is None:
        with gateway.producer.reaching():
            forget(gateway.producer.redis, gateway.prefix, served)


def _check_webhook(gateway: Gateway, address: str) -> None:
    """Refuse a private address at once; where the name leads is checked again at each delivery.

    Raises:
        Refusal: 422.
    """
    if len(address) > LONGEST_URL:
        raise invalid([InvalidField("max_length", "webhook", f"Must have at most {LONGEST_URL:,} characters")])
    try:
        if any(each.isspace() or not each.isprintable() for each in address):
            raise httpx.InvalidURL("Does not match format 'uri'")
        url = httpx.URL(address)
        if not gateway.producer.settings.webhook_private:
            Addresses([]).address_of(url, is_proxied=False)
    except (AddressRefused, httpx.InvalidURL, UnicodeError) as error:
        raise invalid([InvalidField("format", "webhook", str(error))]) from None
    except httpx.HTTPError:  # a name that cannot be looked up now may be when it is called
        return


def _check_waiting(gateway: Gateway, tenant: Tenant) -> None:
    """Refuse more than the key's line takes.

    Raises:
        Refusal: 429.
    """
    redis, prefix = gateway.producer.redis, gateway.prefix
    name = keys.SERVED_OPEN.at(prefix, tenant.id)
    if redis.zcard(name) < tenant.max_waiting:
        return
    ids = cast("list[str]", redis.zrange(name, 0, -1))
    with redis.pipeline(transaction=False) as pipeline:
        for each in ids:
            pipeline.hmget(keys.GENERATION.at(prefix, each), ["state", "result"])
            pipeline.hmget(keys.SERVED.at(prefix, each), ["lane", "ended"])
        found = pipeline.execute()
    rows = zip(ids, found[::2], found[1::2], strict=True)
    # In a lane, what waits for its turn has no record.
    over = [each for each, (state, result), (lane, ended) in rows if result or ended or not (state or lane)]
    if over:
        redis.zrem(name, *over)
    if len(ids) - len(over) >= tenant.max_waiting:
        raise too_many(f"Request was throttled. {tenant.max_waiting:,} predictions of this key are not over yet.")


def _check_budget(gateway: Gateway, tenant: Tenant, prepared: RoutedRequest) -> None:
    """Refuse at once what the key's budget surely does not hold; the exact check is the limiter's, at the grant.

    Raises:
        Refusal: 402.
    """
    if not tenant.budget:
        return
    producer = gateway.producer
    model = producer.catalog.get(prepared.model)
    price = model.cost_usd({"prompt": prepared.prompt, **prepared.inputs})
    if price is None:
        raise over_budget(f"The price of {prepared.model} is not known, and this key has a budget")
    with producer.reaching():
        name = keys.BUDGET.at(gateway.prefix, tenant.budget)
        cap, spent, reserved = cast("list[str | None]", producer.redis.hmget(name, ["cap", "spent", "reserved"]))
    left = to_usd(int(cap or 0) - int(spent or 0) - int(reserved or 0))
    if cap is not None and price > left + 1e-9:
        raise over_budget(f"This key's budget has ${max(left, 0):.4f} left; the prediction could cost ${price:.4f}")
