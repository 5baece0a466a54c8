"""How one attempt on one model fails, and what follows; for inside: callers see `BatchResult.attempts`."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Self

from replibatch.errors.calls import ReplibatchError
from replibatch.foreign_text import quoted


class Verdict(StrEnum):
    """What follows a failed attempt."""

    WAIT = "wait"  # the same attempt again, once the account may: it created nothing and is not counted
    RETRY = "retry"  # the same model again, after a pause
    NEXT_MODEL = "next_model"  # the model's answer stands; another may do better
    RECONCILE = "reconcile"  # find out what happened before anything else
    GIVE_UP = "give_up"  # no model would do better


class AttemptFailure(ReplibatchError):
    """One attempt on one model failed.

    Class attributes:
        reason: the word for it in results, catalogue conditions (`on = ["sensitive"]`) and Flower.
        verdict: what follows.
    """

    reason: ClassVar[str] = "failed"
    verdict: ClassVar[Verdict] = Verdict.NEXT_MODEL

    def __init__(self, message: str = "") -> None:
        super().__init__(quoted(message))


class Throttled(AttemptFailure):
    """HTTP 429: nothing was created; the whole account waits.

    Args:
        message: Replicate's words.
        retry_after_seconds: the wait Replicate asked for; None where it named none.
    """

    reason = "throttled"
    verdict = Verdict.WAIT

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class NotCreated(AttemptFailure):
    """A fault that surely created nothing: no connection, or an answer that says so."""

    reason = "unavailable"
    verdict = Verdict.RETRY


class ApiUnreachable(AttemptFailure):
    """No answer came, or one that is not the API's own: it says nothing of the request. Surely nothing was created.

    Args:
        message: the cause, in one line.
        kind: the cause in a word: `host`, `refused`, `timeout`, `tls`, `scheme`, `path`, `proxy`, `redirect`, `page`,
            `not_found`, `error`, `broken`.
        is_lasting: whether it cannot pass by itself: a setting is wrong.
        retry_after_seconds: the wait the answer asked for; None where it asked for none.
    """

    reason = "unreachable"
    verdict = Verdict.RETRY

    def __init__(
        self,
        message: str,
        kind: str = "broken",
        *,
        is_lasting: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        self.kind = kind
        self.is_lasting = is_lasting
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class Unreadable(AttemptFailure):
    """Replicate answered, with a prediction that cannot be read: it says nothing of any other."""

    reason = "unreadable"
    verdict = Verdict.RETRY


class NotThere(AttemptFailure):
    """HTTP 404, in Replicate's own words: it has no such prediction or file, or not any more."""

    reason = "not_there"


class NoList(NotThere):
    """The server has no list of the account's predictions: limits hold while Redis keeps its data."""

    reason = "no_list"


class MaybeCreated(AttemptFailure):
    """The reply to a create was lost: the prediction may exist, and be paid for.

    Args:
        message: the cause, in one line.
        unreachable: the same as an outage of the way there; None where Replicate itself answered with an error.
    """

    reason = "reply lost"
    verdict = Verdict.RECONCILE

    def __init__(self, message: str, unreachable: ApiUnreachable | None = None) -> None:
        self.unreachable = unreachable
        super().__init__(message)


class InvalidInput(AttemptFailure):
    """HTTP 422: Replicate refused the input; the message has its words."""

    reason = "invalid_input"
    verdict = Verdict.GIVE_UP


class ModelMissing(AttemptFailure):
    """HTTP 404: Replicate has no such model, or not for this account.

    Args:
        message: which kind of model is missing, and what to do.
        missing: `official`, `version` or `deployment`.
    """

    reason = "model_missing"
    verdict = Verdict.NEXT_MODEL

    def __init__(self, message: str, missing: str = "official") -> None:
        self.missing = missing
        super().__init__(message)

    @classmethod
    def of(cls, model: str, words: str) -> Self:
        """By what the create named.

        Args:
            model: `owner/name`, `owner/name:version` or `deployment:owner/name`.
            words: Replicate's.
        """
        kind, _, rest = model.partition(":")
        if kind == "deployment":
            return cls(f"this account has no deployment {rest}: {words}", "deployment")
        if rest:
            return cls(f"Replicate has no version {rest} of {kind}, or not for this account: {words}", "version")
        return cls(
            f"Replicate has no official model {model or 'of that name'}: {words} A community model is made by its "
            f"version alone; `replibatch models add {model or 'owner/name'}` pins the latest",
            "official",
        )


class Interrupted(AttemptFailure):
    """The model was overloaded or interrupted (E003, E004, PA …) and asks to be tried again."""

    reason = "interrupted"
    verdict = Verdict.RETRY


class InputDropped(AttemptFailure):
    """Replicate has dropped an uploaded file before the model read it; it is uploaded again."""

    reason = "input_dropped"
    verdict = Verdict.RETRY


class AddressRefused(AttemptFailure):
    """The model does not take the address of an uploaded file; it gets the file as a data URI."""

    reason = "address_refused"
    verdict = Verdict.RETRY


class OverPrice(AttemptFailure):
    """Not created: it could cost more than the request allows for one prediction."""

    reason = "over_price"


class WrongOutput(AttemptFailure):
    """The prediction succeeded and was paid for, but its output is not what the model makes: a page, for an image."""

    reason = "no_output"


class Sensitive(AttemptFailure):
    """The input or the output was flagged as sensitive (E005)."""

    reason = "sensitive"


class PredictionFailed(AttemptFailure):
    """The model failed; the message has its words."""


class PredictionTimedOut(AttemptFailure):
    """Not finished in the time it was given, at Replicate (`Cancel-After`) or here."""

    reason = "timeout"


class PredictionCanceled(AttemptFailure):
    """Canceled at Replicate, and not by its owner here."""

    reason = "canceled"


class NoOutput(AttemptFailure):
    """The prediction succeeded, yet with nothing that could be saved: null, an empty list, an empty file."""

    reason = "no_output"


class NotSaved(AttemptFailure):
    """The prediction succeeded and was paid for, but its file could not be brought home."""

    reason = "not_saved"
    verdict = Verdict.GIVE_UP


class OutputErased(AttemptFailure):
    """Replicate erased the output, an hour after it was made, before it could be saved."""

    reason = "erased"
    verdict = Verdict.GIVE_UP
