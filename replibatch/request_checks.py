"""What a request may hold: inputs that reach the model as the caller wrote them, and options with a meaning."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from replibatch.errors import RequestError
from replibatch.foreign_text import shown
from replibatch.money import LARGEST_PRICE_USD
from replibatch.steps import outputs_in, placed

DEPTH_LOOKED_AT = 40
PRIORITIES = ("high", "normal", "low")
LONGEST_TAG = 64
LONGEST_URL = 2048
LARGEST_WHOLE = 10**20  # seeds have up to 64 bits


def is_text(value: object) -> bool:
    """Whether it is a text with something in it that can be sent."""
    return isinstance(value, str) and bool(value.strip()) and _can_be_sent(value)


def _can_be_sent(value: object) -> bool:
    """Whether it is anything but a text with half a surrogate pair."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
    return True


def texts_in(value: object, depth: int = 0) -> Iterator[object]:
    """The values in an input's lists and objects, no deeper than the deepest input that is sent."""
    if isinstance(value, list | tuple | dict) and depth < DEPTH_LOOKED_AT:
        for each in (*value, *value.values()) if isinstance(value, dict) else value:
            yield from texts_in(each, depth + 1)
    else:
        yield value


def _is_http_url(value: object) -> bool:
    """Whether it is an address that can be called."""
    if not is_text(value) or len(str(value)) > LONGEST_URL:
        return False
    try:
        parts = urlsplit(str(value))
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _is_number_that_travels(value: object) -> bool:
    """Whether every reader of JSON takes it for the same number; anything else than a number does."""
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) < LARGEST_WHOLE


def check_fields(given: object) -> None:
    """Refuse what is no dict by name.

    Raises:
        RequestError: it is none.
    """
    is_named = isinstance(given, dict) and all(isinstance(key, str) for key in given)
    if given is not None and not is_named:
        raise RequestError(f"fields is {shown(given)}; allowed: a dict of your own data by name, or None")


def check_price(usd: object) -> None:
    """Refuse what is no price in dollars; None is one.

    Raises:
        RequestError: it is none.
    """
    if usd is None:
        return
    is_number = isinstance(usd, int | float) and not isinstance(usd, bool)
    if not is_number or not 0 <= usd <= LARGEST_PRICE_USD:  # type: ignore[operator]  # a number, by the first half
        raise RequestError(f"max_price_usd is {shown(usd)}; allowed: dollars from 0 to {LARGEST_PRICE_USD:,.0f}")


def check_input(name: str, value: object) -> None:
    """Refuse an input that no JSON can carry, or that stands for an output of a step before.

    Raises:
        RequestError: it is one.
    """
    if not all(_can_be_sent(text) for text in (name, *texts_in(value))):
        allowed = "Unicode text, without half a surrogate pair"
        raise RequestError(f"{shown(name)} is {shown(value)}; allowed: {allowed}")
    if any(outputs_in(placed(value))):
        raise RequestError(f"{name} is OUTPUT in the first step, with none before it; expected: a file")
    if not all(_is_number_that_travels(number) for number in texts_in(value)):
        raise RequestError(f"{shown(name)} is {shown(value)}; allowed: finite numbers of at most 20 digits")


def check_options(tags: Sequence[str], webhook: str | None, priority: str | None, max_retries: int | None) -> None:
    """Check the options for how it is made, apart from the model's inputs; arguments as of `BatchRequest`.

    Raises:
        RequestError: one of them has no meaning.
    """
    if isinstance(tags, str) or not all(is_text(tag) and len(tag) <= LONGEST_TAG for tag in tags):
        raise RequestError(f"tags is {tags!r}; expected: words of at most {LONGEST_TAG} characters each")
    if webhook is not None and not _is_http_url(webhook):
        raise RequestError(f"webhook is {webhook!r}; expected: an http:// or https:// address, or None")
    if priority not in (None, *PRIORITIES):
        raise RequestError(f"priority is {priority!r}; expected: 'high', 'normal', 'low' or None")
    if max_retries is not None and (
        isinstance(max_retries, bool) or not isinstance(max_retries, int) or not 0 <= max_retries <= 100
    ):
        raise RequestError(f"max_retries is {max_retries!r}; expected: a whole number from 0 to 100, or None")
