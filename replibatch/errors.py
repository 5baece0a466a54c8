"""Everything replibatch raises, as one tree.

::

    ReplibatchError
    ├── SettingsError (ValueError)         a setting, or the set-up, is not usable
    ├── RequestError (ValueError)          a request is refused before any money is spent
    │   ├── UnsupportedModel               the model is in no catalogue
    │   ├── ReferenceImageError            a reference image is missing, empty, not an image, or one too many
    │   ├── OutputPathError                a file cannot be written where the request asks for it
    │   ├── IdempotencyConflict            the same request_id stands for another request already
    │   └── ListError                      a list of prompts is not understood
    ├── QueueUnavailable (ConnectionError)  Redis cannot be reached; `.accepted` says what became of the work
    ├── StorageError (OSError)             the storage of outputs and reference images cannot be read or written
    ├── WebhookRefused (ValueError)        a webhook is not signed with the secret, or is too old
    ├── NoSuchWork (LookupError)           no job or batch of that id
    ├── ResultTimeout (TimeoutError)       a result was not there in the time the caller gave
    ├── AccountStopped                     nothing can be generated for this account at present
    │   ├── TokenRefused                   Replicate does not accept the token (401)
    │   └── NoCredit                       the account has no credit left (402)
    ├── GenerationFailed                   a generation ended without a file; `.result` says what happened
    │   ├── AllModelsFailed                every model of the chain refused; `.result` has the placeholder
    │   ├── OverBudget                     not started: it could have cost more than the budget leaves
    │   └── GenerationCanceled             canceled by its owner
    └── AttemptFailure                     one attempt on one model failed; `.verdict` says what follows
        ├── Throttled                      429: nothing was created, the whole account waits
        ├── NotCreated                     a fault that surely created nothing
        ├── ApiUnreachable                 no answer came, or one that is not Replicate's: nothing was created
        ├── Unreadable                     Replicate answered with a prediction that cannot be read
        ├── NotThere                       404: Replicate has no such prediction or file
        │   └── NoList                     the server has no list of predictions
        ├── MaybeCreated                   the reply was lost: created or not, unknown
        ├── InvalidInput                   422: Replicate refused the input
        ├── ModelMissing                   404: Replicate has no such model
        ├── Interrupted                    the model was overloaded or interrupted and says: try again
        ├── InputDropped                   Replicate has dropped an uploaded file before the model read it
        ├── AddressRefused                 the model takes files as data URIs alone
        ├── OverPrice                      it could cost more than the request allows
        ├── WrongOutput                    succeeded, with an output that is not what the model makes
        ├── Sensitive                      the input or the output was flagged as sensitive
        ├── PredictionFailed               the model failed
        ├── PredictionTimedOut             not finished in the time it was given
        ├── PredictionCanceled             canceled at Replicate, not by its owner here
        ├── NoOutput                       succeeded, yet with nothing that could be saved
        ├── NotSaved                       succeeded and paid for, but the file could not be brought home
        └── OutputErased                   Replicate erased the output before it was saved

An `AttemptFailure` is for inside; callers see the groups above it, and `BatchResult.attempts`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from replibatch.foreign_text import quoted

if TYPE_CHECKING:
    from replibatch.requests import BatchResult


class ReplibatchError(Exception):
    """Base of every error replibatch raises. The message is one line for people."""


class ReplibatchWarning(UserWarning):
    """Something of a request will not be as it was written; said at the call, before anything is spent."""


class SettingsError(ReplibatchError, ValueError):
    """A setting, or the set-up, is not usable; the message names it, the value found and the allowed ones."""


class RequestError(ReplibatchError, ValueError):
    """A request is refused before any money is spent."""


class UnsupportedModel(RequestError):
    """The model is neither in the built-in catalogue nor in the user's own."""


class ReferenceImageError(RequestError):
    """A reference image is missing, empty, not an image, or one more than any model takes."""


class OutputPathError(RequestError):
    """A file cannot be written where the request asks for it."""


class IdempotencyConflict(RequestError):
    """The same `request_id` stands for another request already; `differs` names the fields that are not the same.

    Args:
        request_id: the caller's.
        differs: `prompt`, `model_name`, `output_filepath`, or an input's name.
    """

    def __init__(self, request_id: str, differs: tuple[str, ...]) -> None:
        self.request_id = request_id
        self.differs = differs
        super().__init__(
            f"request_id {request_id!r} stands for another request, with another {' and '.join(differs)}; "
            "expected: the same request again, or a request_id of its own"
        )


class QueueUnavailable(ReplibatchError, ConnectionError):
    """Redis cannot be reached, or refuses to write.

    Args:
        message: one line for people.
        accepted: what became of the work that was to be accepted. True: it is in the queue, and made once Redis
            is back. False: it is not. None: not known; asking again with the same `request_id` gives one job.
            For a call that accepts nothing, False.
        job_id: the job's, where there is one.
    """

    def __init__(self, message: str, accepted: bool | None = False, job_id: str | None = None) -> None:
        self.accepted = accepted
        self.job_id = job_id
        super().__init__(message)


class ListError(RequestError):
    """A list of prompts is not understood; `mistakes` has a line for each kind of mistake.

    Args:
        mistakes: for people: the list, the line, how many more there are, the mistake and what to type.
    """

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(mistakes))


class StorageError(ReplibatchError, OSError):
    """The storage cannot be read or written; its files stay there."""


class WebhookRefused(ReplibatchError, ValueError):
    """A webhook was not signed with the secret, or is too old."""


class NoSuchWork(ReplibatchError, LookupError):
    """No job or batch of that id: never submitted to this account, or its records have expired."""


class ResultTimeout(ReplibatchError, TimeoutError):
    """A result was not there in the time the caller gave; the generation goes on."""


class AccountStopped(ReplibatchError):
    """Nothing can be generated for this account at present; what waits stays resumable."""

    def __init__(self, message: str = "") -> None:
        super().__init__(quoted(message))


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


class TokenRefused(AccountStopped):
    """Replicate does not accept the token (HTTP 401)."""


class NoCredit(AccountStopped):
    """The account has no credit left (HTTP 402)."""


class GenerationFailed(ReplibatchError):
    """A generation ended without the file it was asked for; `result` says what happened.

    Args:
        message: one line for people.
        result: the whole outcome, with every attempt.
    """

    def __init__(self, message: str, result: BatchResult) -> None:
        self.result = result
        super().__init__(message)


class AllModelsFailed(GenerationFailed):
    """Every model of the chain refused; `result.file_paths` holds the placeholder, where one was written."""


class OverBudget(GenerationFailed):
    """Not started: it could have taken the spend past a budget."""


class GenerationCanceled(GenerationFailed):
    """Canceled by its owner."""


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
