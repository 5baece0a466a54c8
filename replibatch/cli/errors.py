"""One line and an exit code for whatever goes wrong; a traceback is for bugs alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from replibatch.errors import NoSuchWork, ReplibatchError, RequestError, SettingsError
from replibatch.foreign_text import visible

LONGEST_LINE = 2000  # characters of a message: what it quotes may be of any length
FAILED, MISUSED, INTERRUPTED = 1, 2, 130


class Failure(click.ClickException):
    """What ends the command: lines for people on stderr, and the exit code.

    Args:
        message: each of its lines is shown after the program's name.
        exit_code: `FAILED` or `MISUSED`.
    """

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        for line in self.message.splitlines() or [""]:
            click.echo(f"replibatch: {visible(line)[:LONGEST_LINE]}", file=file, err=file is None)


@contextmanager
def explained() -> Iterator[None]:
    """Turn the errors people can do something about into a `Failure`.

    A mistake found before anything was spent is `MISUSED`; all else is `FAILED`; Ctrl-C is `INTERRUPTED`.
    """
    try:
        yield
    except (SettingsError, RequestError, NoSuchWork) as error:
        raise Failure(str(error), MISUSED) from None
    except ReplibatchError as error:
        raise Failure(str(error)) from None
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        raise  # the reader of our output has left; click ends in silence
    except Exception as error:
        if line := _about_redis(error) or _about_a_file(error):
            raise Failure(line) from None
        raise


def _about_redis(error: Exception) -> str | None:
    if not {"redis", "kombu"} & {module.__module__.partition(".")[0] for module in type(error).__mro__}:
        return None
    from replibatch.settings import load  # noqa: PLC0415  # needed after a failure only

    return f"Redis ({load().redis_address}): {error}"


def _about_a_file(error: Exception) -> str | None:
    if not isinstance(error, OSError) or error.filename is None:
        return None
    return f"{error.filename}: {error.strerror}"
