"""Lua scripts, called by SHA, and by their text where Redis does not know them: from then on it does.

A user of Redis that may run any text can block it with an endless loop. Producers need no such right: workers load
every script (`load_all`), and a producer that comes before them waits for that.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Self

from redis import Redis
from redis.exceptions import NoPermissionError, NoScriptError
from redis.lock import Lock

LOADED_SECONDS = 10.0  # so long a user that may load no script waits for one who may
LOOK_SECONDS = 0.25

_all: list[Script] = []

COMMON = (files("replibatch.redisdb") / "lua" / "common.lua").read_text("utf-8")


class Script:
    """One Lua script, made of the common head and one or more `.lua` files of a package.

    Args:
        package: the package with the files in its `lua` folder.
        names: the files without `.lua`, joined in this order.
    """

    def __init__(self, package: str, *names: str) -> None:
        folder = files(package) / "lua"
        self._set("\n".join([COMMON, *((folder / f"{name}.lua").read_text("utf-8") for name in names)]))

    @classmethod
    def of_text(cls, text: str) -> Self:
        """A script of a text."""
        script = cls.__new__(cls)
        script._set(text)
        return script

    def _set(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        _all.append(self)

    def __call__(self, redis: Redis, keys: Sequence[str], args: Sequence[str | int | float]) -> Any:
        """Run it."""
        try:
            return redis.evalsha(self.sha, len(keys), *keys, *args)
        except NoScriptError:  # not loaded first: another restart could come in between
            pass
        try:
            return redis.eval(self.text, len(keys), *keys, *args)
        except NoPermissionError:
            return _when_loaded(lambda: redis.evalsha(self.sha, len(keys), *keys, *args))


# The client's own, of its locks: kombu's consumers use them, Flower's among them.
_OF_LOCKS = [Script.of_text(Lock.LUA_RELEASE_SCRIPT), Script.of_text(Lock.LUA_EXTEND_SCRIPT)]


def load_all(redis: Redis) -> None:
    """Load every script that this Redis does not know.

    Raises:
        NoPermissionError: this user may not; those of producers need not.
    """
    known = redis.script_exists(*(script.sha for script in _all))
    for script, is_known in zip(_all, known, strict=True):
        if not is_known:
            redis.script_load(script.text)


def _when_loaded(call: Callable[[], Any]) -> Any:
    """Make a call as soon as a worker has loaded its scripts.

    Raises:
        NoScriptError: none has in time.
    """
    until = time.monotonic() + LOADED_SECONDS
    while True:
        try:
            return call()
        except NoScriptError:
            if time.monotonic() > until:
                raise NoScriptError(
                    "Redis does not know the scripts, and this user may not load them; expected: a worker, which does"
                ) from None
            time.sleep(LOOK_SECONDS)


@dataclass(frozen=True)
class Step:
    """One call of a script that is still to be made. Building it changes nothing.

    Attributes:
        script: what to run.
        keys: its keys.
        args: its arguments.
        before: called once just before the call is sent; the process's own note of the call.
    """

    script: Script
    keys: Sequence[str]
    args: Sequence[str | int | float]
    before: Callable[[Step], object] | None = None

    def run(self, redis: Redis) -> Any:
        """Make the call, without what comes before it."""
        return self.script(redis, self.keys, self.args)


def run_together(redis: Redis, *steps: Step) -> list[Any]:
    """Run several steps in one round trip and one transaction; all again if Redis does not know a script.

    Scripts are safe to repeat.
    """
    for step in steps:
        if step.before:
            step.before(step)
    if len(steps) == 1:
        return [steps[0].run(redis)]

    def attempt(*, by_text: bool) -> list[Any]:
        with redis.pipeline(transaction=True) as pipeline:
            for step in steps:
                if by_text:
                    pipeline.eval(step.script.text, len(step.keys), *step.keys, *step.args)
                else:
                    pipeline.evalsha(step.script.sha, len(step.keys), *step.keys, *step.args)
            return list(pipeline.execute())

    try:
        return attempt(by_text=False)
    except NoScriptError:
        pass
    try:
        return attempt(by_text=True)
    except NoPermissionError:
        return list(_when_loaded(lambda: attempt(by_text=False)))
