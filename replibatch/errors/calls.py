"""What callers meet: what is refused, a Redis or a storage that is away, a generation that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
