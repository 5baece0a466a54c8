"""Lua scripts, called by SHA, and by their text where Redis does not know them: from then on it does."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Self

from redis import Redis
from redis.exceptions import NoScriptError


class Script:
    """One Lua script, made of one or more `.lua` files of a package.

    Args:
        package: the package whose `lua` folder holds the files.
        names: the files without `.lua`, joined in this order.
    """

    def __init__(self, package: str, *names: str) -> None:
        folder = files(package) / "lua"
        self._set("\n".join((folder / f"{name}.lua").read_text("utf-8") for name in names))

    @classmethod
    def of_text(cls, text: str) -> Self:
        """A script of a text."""
        script = cls.__new__(cls)
        script._set(text)
        return script

    def _set(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, redis: Redis, keys: Sequence[str], args: Sequence[str | int | float]) -> Any:
        """Run it."""
        try:
            return redis.evalsha(self.sha, len(keys), *keys, *args)
        except NoScriptError:  # not loaded first: another restart could come in between
            return redis.eval(self.text, len(keys), *keys, *args)


Step = tuple[Script, Sequence[str], Sequence[str | int | float]]


def run_together(redis: Redis, *steps: Step) -> list[Any]:
    """Run several scripts in one round trip and one transaction; all of them again if Redis does not know one.

    Scripts are safe to repeat.
    """
    if len(steps) == 1:
        ((script, keys, args),) = steps
        return [script(redis, keys, args)]

    def attempt(*, by_text: bool) -> list[Any]:
        with redis.pipeline(transaction=True) as pipeline:
            for script, keys, args in steps:
                if by_text:
                    pipeline.eval(script.text, len(keys), *keys, *args)
                else:
                    pipeline.evalsha(script.sha, len(keys), *keys, *args)
            return list(pipeline.execute())

    try:
        return attempt(by_text=False)
    except NoScriptError:
        return attempt(by_text=True)
