"""Delivers the webhooks that are owed: in threads of their own, a few at a time, apart from all generations."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urlsplit

import httpx
import structlog

from replibatch.execution.served_webhooks import body_for, body_of_start, served_of
from replibatch.http_connections import Connections
from replibatch.jobs import Jobs
from replibatch.jobs.webhooks import OwedWebhooks, Webhook
from replibatch.outputs.addresses import Addresses, AddressRefused
from replibatch.redisdb.loop import Loop
from replibatch.served import Served
from replibatch.settings import Settings
from replibatch.storage.storage import Storage
from replibatch.webhooks import key_of, secret_of, sign

THREADS = 8
MOST_OF_A_HOST = 4  # a host that is slow does not keep the others waiting
LOOK_SECONDS = 0.5
TIMEOUT_SECONDS = 15.0
REFUSED = (404, 405, 410)  # no receiver there, now or later

log = structlog.get_logger(__name__)


class WebhookDelivery:
    """One worker process's.

    Args:
        jobs: the account's records.
        settings: how webhooks are signed, and where they may go.
        storage: where outputs are; None for a process without the gateway's predictions.

    Raises:
        SettingsError: the secret is not usable.
    """

    def __init__(self, jobs: Jobs, settings: Settings, storage: Storage | None = None) -> None:
        self._jobs = jobs
        self._storage = storage
        self._owed = OwedWebhooks(jobs.redis, jobs.prefix)
        self._secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else ""
        if self._secret:
            key_of(self._secret)
        addresses = Addresses([])
        self._client = httpx.Client(
            transport=Connections(
                idle_seconds=30,
                head_seconds=TIMEOUT_SECONDS,
                address_of=None
                if settings.webhook_private
                else lambda url, is_proxied: addresses.address_of(url, is_proxied=is_proxied),
            ),
            timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook")
        self._busy: Counter[str] = Counter()
        self._loop = Loop("webhooks", self._step)

    def start(self) -> None:
        """Begin."""
        self._loop.start()

    def stop(self) -> None:
        """End; a delivery under way is left to another worker, which may repeat it."""
        self._loop.stop(1)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _step(self) -> float:
        free = THREADS - self._busy.total()
        for webhook in self._owed.claim(free) if free > 0 else ():
            host = urlsplit(webhook.url).netloc
            if self._busy[host] >= MOST_OF_A_HOST:
                self._owed.put_off(webhook)
                continue
            self._busy[host] += 1
            self._pool.submit(self._deliver, webhook, host)
        return LOOK_SECONDS

    def _deliver(self, webhook: Webhook, host: str) -> None:
        try:
            self._post(webhook)
        except Exception:  # the claim lapses, and it is tried again
            log.exception("a webhook could not be delivered", generation=webhook.job)
        finally:
            self._busy[host] -= 1

    def _post(self, webhook: Webhook) -> None:
        served = served_of(self._jobs, webhook.job) if self._storage is not None else None
        body = self._body(webhook, served)
        if body is None:
            self._owed.failed(webhook, "its result is kept no more", for_good=True)
            return
        secret = self._secret and (secret_of(self._secret, served.owner) if served else self._secret)
        headers = _headers(webhook, body, secret)
        try:
            with self._client.stream("POST", webhook.url, content=body, headers=headers) as answer:
                status = answer.status_code
        except AddressRefused as error:
            self._fail(webhook, str(error), for_good=True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            self._fail(webhook, f"{type(error).__name__}: {error}")
        else:
            if 200 <= status < 300:
                self._owed.delivered(webhook)
            else:
                self._fail(webhook, f"it answered {status}", for_good=status in REFUSED and webhook.tries > 2)

    def _body(self, webhook: Webhook, served: Served | None) -> bytes | None:
        """What is told; None where nothing is kept of it."""
        if webhook.is_start:
            return body_of_start(served, webhook.since) if served else None
        _, _, result = self._jobs.outcome(webhook.job)
        if result is None:
            return None
        if served and self._storage is not None:
            return body_for(served, result, self._storage)
        return json.dumps({"job_id": webhook.job, **result.to_json()}, ensure_ascii=False).encode()

    def _fail(self, webhook: Webhook, error: str, *, for_good: bool = False) -> None:
        log.warning("a webhook was not taken", generation=webhook.job, host=urlsplit(webhook.url).hostname, why=error)
        self._owed.failed(webhook, error, for_good=for_good)


def _headers(webhook: Webhook, body: bytes, secret: str) -> dict[str, str]:
    stamp = int(time.time())
    headers = {
        "content-type": "application/json",
        "user-agent": "replibatch",
        "webhook-id": webhook.id,
        "webhook-timestamp": str(stamp),
    }
    if secret:
        headers["webhook-signature"] = sign(secret, webhook.id, stamp, body)
    return headers
