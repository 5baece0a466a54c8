"""Models outside the built-in catalogue with the inputs they publish themselves.

A user's TOML then need not list them; its entries override those that the model publishes. A process with the token
reads them, and keeps them for all other processes (`catalog.published`). Without a token or an answer the kept ones
hold, however old; without kept ones the inputs are sent as they are.
"""

from __future__ import annotations

from pathlib import Path

from redis import Redis

from replibatch import catalog
from replibatch.catalog import Catalog
from replibatch.catalog.published import InFolder, InRedis, Published, PublishedStore, folder_for
from replibatch.catalog.schemas import Table
from replibatch.errors import ReplibatchError
from replibatch.redisdb.connection import connect
from replibatch.settings import Settings


def load_catalog(settings: Settings, redis: Redis | None = None) -> Catalog:
    """The models as this process's settings have them, those of the user's own with the inputs they publish.

    Args:
        settings: name the user's file, the token and the fleet.
        redis: the fleet's, where it is connected to already.

    Raises:
        SettingsError: the user's file is malformed.
    """
    stores: list[PublishedStore] = []

    def published(address: str) -> Table:
        if not stores:
            stores.append(store_for(settings, redis))
        found = known(address, settings, stores[0])
        return found.table() if found else {}

    return catalog.load(settings.catalog, published=published)


def store_for(settings: Settings, redis: Redis | None = None) -> PublishedStore:
    """Where what models publish is kept: with the fleet, or in the state folder."""
    if settings.redis_url is None:
        return InFolder(folder_for(settings.state_dir, settings.replicate_base_url))
    return InRedis(redis or connect(settings.redis_url.get_secret_value()), settings.key_prefix)


def known(address: str, settings: Settings, store: PublishedStore) -> Published | None:
    """A model's published description, if known: reads it now if the kept one is old and the token is here."""
    kept = store.get(address)
    if (kept and kept.is_fresh) or settings.replicate_api_token is None:
        return kept
    try:
        found = read(address, settings)
    except ReplibatchError:
        return kept  # an older answer is better than none
    if found.inputs is None and kept is not None and kept.inputs is not None:
        return kept
    store.put(found)
    return found


def read(address: str, settings: Settings) -> Published:
    """What a model publishes now.

    Raises:
        ReplibatchError: there is no token, no answer, or no such model.
    """
    from replibatch.replicate_api.asking import asking  # noqa: PLC0415  # heavy, and seldom needed

    with asking(settings) as api:
        return api.published(address)


def user_file(settings: Settings) -> Path:
    """The user's own catalogue file, whether it is there or not."""
    return settings.catalog or catalog.USER_FILE
