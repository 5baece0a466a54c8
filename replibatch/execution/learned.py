"""What workers find out about models, and tell the fleet: what they publish, and how they take files."""

from __future__ import annotations

import re

import structlog
from redis import Redis

from replibatch.catalog import Model
from replibatch.catalog.published import PublishedStore
from replibatch.errors import ReplibatchError
from replibatch.redisdb import keys
from replibatch.replicate_api import ReplicateAPI

KEPT_SECONDS = 30 * 24 * 3600
TRIAL_SECONDS = 15 * 60  # the file itself may be invalid

# "Invalid image format ''", "invalid image url", "image must be a base64 data URI"
_REFUSED = re.compile(
    r"invalid (input )?(image|picture|file|media|url)|(image|file) (must|should) be (a |an )?(base64|data)"
    r"|unsupported (image|file)( format| type)?|(only|expected?) (a )?(base64|data ur[il])",
    re.IGNORECASE,
)

log = structlog.get_logger(__name__)


def refuses_addresses(words: str) -> bool:
    """Whether a model's words for a failure can mean that it does not take the address of a file."""
    return _REFUSED.search(words) is not None


class Learned:
    """What one worker process finds out, and has heard of.

    Args:
        redis: the fleet's.
        prefix: the account's.
        api: asks what models publish.
        store: keeps what they publish.
    """

    def __init__(self, redis: Redis, prefix: str, api: ReplicateAPI, store: PublishedStore) -> None:
        self._redis = redis
        self._prefix = prefix
        self._api = api
        self._store = store
        self._asked: set[str] = set()

    def wants_data_uris(self, model: str) -> bool:
        """Whether files go to a model as data URIs, by what it has answered before."""
        return bool(self._redis.exists(keys.DATA_URIS.at(self._prefix, model)))

    def try_data_uris(self, model: str) -> None:
        """Send it files so for a while: it may be that it takes no addresses."""
        self._redis.set(keys.DATA_URIS.at(self._prefix, model), "tried", ex=TRIAL_SECONDS, nx=True)

    def remember_data_uris(self, model: str) -> None:
        """From now on files go to it so, as it has made something of one."""
        log.info("files go to this model as data URIs from now on", model=model)
        self._redis.set(keys.DATA_URIS.at(self._prefix, model), "made", ex=KEPT_SECONDS)

    def about(self, model: Model) -> None:
        """Find out what a model publishes, where the request came without; once a process. It fails in silence."""
        if model.inputs_known or model.address in self._asked:
            return
        self._asked.add(model.address)
        try:
            kept = self._store.get(model.address)
            if kept is None or not kept.is_fresh:
                self._store.put(self._api.published(model.address))
        except ReplibatchError as error:
            self._asked.discard(model.address)
            log.info("could not ask what a model publishes", model=model.address, error=str(error))
