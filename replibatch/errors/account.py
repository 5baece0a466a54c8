"""What stops an account, as an error and as its state in Redis keeps it."""

from __future__ import annotations

from typing import NamedTuple, Self

from replibatch.errors.calls import ReplibatchError
from replibatch.foreign_text import quoted


class AccountStopped(ReplibatchError):
    """Nothing can be generated for this account at present; what waits stays resumable."""

    def __init__(self, message: str = "") -> None:
        super().__init__(quoted(message))


class TokenRefused(AccountStopped):
    """Replicate does not accept the token (HTTP 401)."""


class NoCredit(AccountStopped):
    """The account has no credit left (HTTP 402)."""


class Stop(NamedTuple):
    """Why an account is stopped, as its state in Redis and its batches keep it.

    Attributes:
        kind: the name of the error, as `NoCredit`.
        message: Replicate's words.
    """

    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"

    @classmethod
    def of(cls, error: AccountStopped) -> Self:
        """The stop that an error asks for."""
        return cls(type(error).__name__, str(error))

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `str(stop)`."""
        kind, _, message = text.partition(": ")
        return cls(kind, message)

    def error(self) -> AccountStopped:
        """The error that callers meet."""
        kinds: dict[str, type[AccountStopped]] = {kind.__name__: kind for kind in (TokenRefused, NoCredit)}
        return kinds.get(self.kind, AccountStopped)(self.message or self.kind)

    @property
    def to_go_on(self) -> str:
        """How to lift it."""
        ways = {
            TokenRefused.__name__: "start workers with a valid REPLICATE_API_TOKEN, then `replibatch resume`",
            NoCredit.__name__: "add credit at https://replicate.com/account/billing, then `replibatch resume`",
        }
        return ways.get(self.kind, "fix the cause, then `replibatch resume`")
