"""Whether a row of the account's list can be a create's: Replicate does not promise to show a request as it was sent.

Equality proves presence; inequality proves nothing, but for a prompt or a seed that is shown and is another.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, cast

from redis import Redis

from replibatch.redisdb import keys
from replibatch.replicate_api import Prediction

WORDS_OF_A_PROMPT = 3  # a text input of that many words is as good as a prompt
SHORTEST_CUT = 20  # characters of a prompt that is shown cut off
KEPT_SECONDS = 90 * 24 * 3600

_MASKED = re.compile(r"[\W_]*(redacted|hidden|secret|removed|masked|omitted)?[\W_x]*", re.IGNORECASE)
_FILE = re.compile(r"data:|https?://|file:", re.IGNORECASE)


class Likeness(IntEnum):
    """How much a row resembles a create."""

    OTHER = 0  # it shows another prompt or seed
    POSSIBLE = 1  # it shows nothing that speaks for or against it
    LIKELY = 2  # it shows the same prompt or seed
    EQUAL = 3  # it shows the whole create


@dataclass(frozen=True)
class Echo:
    """What creates have taught of one model's rows.

    Attributes:
        names: the models' names that its rows show.
        changed: the inputs that come back changed.
    """

    names: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Sent:
    """A create, as far as it is known after its reply was lost.

    Attributes:
        model: `owner/name`, `owner/name:version` or `deployment:…`.
        inputs: as they were sent; files may have had other addresses, and secrets are left out.
        fingerprint: of model and inputs exactly as they were sent; None where they were not.
        secrets: names of inputs that no row shows.
    """

    model: str
    inputs: Mapping[str, Any]
    fingerprint: str | None
    secrets: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """`owner/name` of the model."""
        return name_of(self.model)

    def likeness(self, row: Prediction, echo: Echo, names_of_others: Collection[str] = ()) -> Likeness:
        """How much a row resembles this create.

        Args:
            row: of the list, or read singly.
            echo: how the model's rows are known to show requests.
            names_of_others: the names of other models that this account uses; no row of this one has shown them.
        """
        if row.input is not None and fingerprint(row.model, self._without_secrets(row.input)) == self.fingerprint:
            return Likeness.EQUAL
        if row.model in names_of_others and echo.names:
            return Likeness.OTHER
        speaks_for, differs = False, False
        for name, sent in self.inputs.items():
            if name in echo.changed or row.input is None or name not in row.input or _is_file(sent):
                continue
            shown = row.input[name]
            if _plain(shown) == _plain(sent):
                speaks_for = speaks_for or _is_evidence(name, sent)
            elif _is_evidence(name, sent) and not _may_be_echo(sent, shown):
                return Likeness.OTHER
            else:
                differs = differs or not _may_be_echo(sent, shown)
        return Likeness.LIKELY if speaks_for and not differs else Likeness.POSSIBLE

    def changed_in(self, row: Prediction) -> frozenset[str]:
        """The inputs that a row of this very create shows changed."""
        shown = row.input
        if shown is None:
            return frozenset()
        return frozenset(
            name
            for name, sent in self.inputs.items()
            if name in shown and _is_evidence(name, sent) and _plain(shown[name]) != _plain(sent)
        )

    def _without_secrets(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in inputs.items() if name not in self.secrets}


class Echoes:
    """What the fleet has learned of the rows of its models.

    Args:
        redis: the fleet's.
        prefix: the account's.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._key = keys.ECHOES.at(prefix)
        self._known: dict[str, Echo] = {}

    def learn(self, sent: Sent, row: Prediction) -> None:
        """Learn from a row of a known create: remember the values it shows otherwise. Only new facts cost a call."""
        own = name_of(sent.model)
        known = self._known.get(own) or self.of(own)
        names = known.names | ({row.model} if row.model else set())
        changed = known.changed | sent.changed_in(row)
        if (names, changed) == (known.names, known.changed):
            return
        self._known[own] = Echo(frozenset(names), frozenset(changed))
        text = json.dumps({"names": sorted(names), "changed": sorted(changed)})
        self._redis.hset(self._key, own, text)
        self._redis.expire(self._key, KEPT_SECONDS)

    def of(self, model: str) -> Echo:
        """The known echo of a model."""
        return self.all().get(name_of(model), Echo())

    def all(self) -> dict[str, Echo]:
        """The known echoes, by model."""
        for model, text in cast("dict[str, str]", self._redis.hgetall(self._key)).items():
            found = json.loads(text)
            self._known[model] = Echo(frozenset(found["names"]), frozenset(found["changed"]))
        return dict(self._known)


def fingerprint(model: str, inputs: Mapping[str, Any]) -> str:
    """The name of a create, equal for equal requests. Without a version, as the list shows none; 1.0 is 1."""
    canonical = f"{name_of(model)} {json.dumps(_numbers(inputs), sort_keys=True, separators=(',', ':'), default=str)}"
    return hashlib.blake2b(canonical.encode(errors="replace"), digest_size=16).hexdigest()


def name_of(model: str) -> str:
    """`owner/name` of a model, however it is addressed."""
    kind, _, rest = model.partition(":")
    return rest if kind == "deployment" else kind


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _numbers(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_evidence(name: str, sent: Any) -> bool:
    """Whether a value is one that no echo turns into another: a prompt, another text of several words, a seed."""
    if isinstance(sent, bool) or sent is None:
        return False
    if isinstance(sent, int | float):
        return name.lower() == "seed"
    if not isinstance(sent, str) or _is_file(sent):
        return False
    return "prompt" in name.lower() or len(sent.split()) >= WORDS_OF_A_PROMPT


def _is_file(sent: Any) -> bool:
    """Whether a value is a file or several: their addresses are rewritten, or left out."""
    if isinstance(sent, list):
        return any(_is_file(each) for each in sent)
    return isinstance(sent, str) and _FILE.match(sent.strip()) is not None


def _plain(value: Any) -> str:
    """A value without what echoes change: the type of a number, spaces, the form of its letters."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(unicodedata.normalize("NFC", str(value)).split())


def _may_be_echo(sent: Any, shown: Any) -> bool:
    """Whether a value can be shown so, though it was sent otherwise: masked, cut off, or of another type."""
    if shown is None or isinstance(shown, dict | list) or isinstance(sent, dict | list | bool):
        return True
    if isinstance(sent, int | float):
        return not _is_number(shown)
    text, whole = _plain(shown), _plain(sent)
    if _MASKED.fullmatch(text):
        return True
    cut = text.rstrip(".… ")
    return len(cut) >= SHORTEST_CUT and whole.startswith(cut)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
