"""Keys of the gateway, and those they stand for. A key is shown once; Redis holds its hash alone."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Self, cast

from redis import Redis

from replibatch.errors import SettingsError
from replibatch.jobs.holds import budget_of_key
from replibatch.limits import Limiter
from replibatch.redisdb import keys
from replibatch.request_checks import LONGEST_TAG
from replibatch.requests import new_id

PREFIX = "rbk_"
KEY_CHARACTERS = 40  # 200 bits
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MOST_WAITING = 1000
KEPT_SECONDS = 30 * 24 * 3600  # of a removed key's budget


@dataclass(frozen=True)
class Tenant:
    """Whoever holds a key.

    Attributes:
        id: what its predictions and files are kept under.
        name: for people.
        created: when the key was made, in Unix seconds.
        fallback: whether another model may stand in.
        max_concurrent: the most of its predictions in flight; None for no bound of its own.
        budget_usd: the most that its predictions may cost in all; None for any amount.
        max_waiting: the most predictions that are not over; more are refused with a 429.
        tags: words that its predictions are counted under, beside its name.
    """

    id: str
    name: str
    created: float = 0.0
    fallback: bool = True
    max_concurrent: int | None = None
    budget_usd: float | None = None
    max_waiting: int = MOST_WAITING
    tags: tuple[str, ...] = field(default=())

    @property
    def budget(self) -> str:
        """The name of its budget at the limiter; empty where it has none."""
        return budget_of_key(self.id) if self.budget_usd is not None else ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """From its JSON."""
        data: dict[str, Any] = json.loads(text)
        return cls(**{**data, "tags": tuple(data.get("tags", ()))})


LOCAL = Tenant("local", "local")  # whoever calls a gateway without keys, from this machine


def digest(key: str) -> str:
    """What Redis holds of a key. The key is random and long: a plain hash cannot be turned back."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


class Tenants:
    """The keys of one account.

    Args:
        redis: the fleet's.
        prefix: the account's.
        limiter: holds the budgets.
    """

    def __init__(self, redis: Redis, prefix: str, limiter: Limiter) -> None:
        self._redis = redis
        self._prefix = prefix
        self._name = keys.GATEWAY_KEYS.at(prefix)
        self._limiter = limiter

    def all(self) -> dict[str, Tenant]:
        """Every key's, by the key's hash, oldest first."""
        found = cast("dict[str, str]", self._redis.hgetall(self._name))
        tenants = {hashed: Tenant.parse(text) for hashed, text in found.items()}
        return dict(sorted(tenants.items(), key=lambda pair: pair[1].created))

    def add(
        self,
        name: str,
        *,
        fallback: bool = True,
        max_concurrent: int | None = None,
        budget_usd: float | None = None,
        max_waiting: int = MOST_WAITING,
        tags: tuple[str, ...] = (),
    ) -> str:
        """Make a key; returns it, and keeps its hash alone. Arguments as the attributes of `Tenant`.

        Raises:
            SettingsError: the name is none, or is taken.
        """
        if not NAME.fullmatch(name) or name == LOCAL.name:
            raise SettingsError(
                f"the key's name is {name[:80]!r}; expected: up to 64 letters, digits, '.', '_' and '-', "
                f"a letter or digit first, and not {LOCAL.name!r}"
            )
        if odd := [tag for tag in tags if not 0 < len(tag) <= LONGEST_TAG or not tag.isprintable()]:
            raise SettingsError(f"the tag is {odd[0][:80]!r}; expected: a word of at most {LONGEST_TAG} characters")
        if any(each.name == name for each in self.all().values()):
            raise SettingsError(f"there is a key {name!r} already; expected: another name, or remove that one first")
        key = PREFIX + new_id(KEY_CHARACTERS)
        tenant = Tenant(
            new_id(), name, round(time.time(), 3), fallback, max_concurrent, budget_usd, max_waiting, tags
        )
        if tenant.budget:
            self._limiter.set_budget(tenant.budget, budget_usd)
            # It outlives the batches that draw on it.
            self._redis.sadd(keys.SHARERS.at(self._prefix, tenant.budget), tenant.id)
        self._redis.hset(self._name, digest(key), json.dumps(asdict(tenant), separators=(",", ":")))
        return key

    def remove(self, name: str) -> bool:
        """Refuse a key from now on; what it has asked for is made. False where there is none of that name."""
        for hashed, tenant in self.all().items():
            if tenant.name == name:
                self._redis.hdel(self._name, hashed)
                for key in (keys.SHARERS, keys.BUDGET):  # what is on its way still draws on it
                    self._redis.expire(key.at(self._prefix, tenant.budget or "-"), KEPT_SECONDS)
                return True
        return False
