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

from replibatch.errors.account import AccountStopped, NoCredit, Stop, TokenRefused
from replibatch.errors.attempts import (
    AddressRefused,
    ApiUnreachable,
    AttemptFailure,
    InputDropped,
    Interrupted,
    InvalidInput,
    MaybeCreated,
    ModelMissing,
    NoList,
    NoOutput,
    NotCreated,
    NotSaved,
    NotThere,
    OutputErased,
    OverPrice,
    PredictionCanceled,
    PredictionFailed,
    PredictionTimedOut,
    Sensitive,
    Throttled,
    Unreadable,
    Verdict,
    WrongOutput,
)
from replibatch.errors.calls import (
    AllModelsFailed,
    GenerationCanceled,
    GenerationFailed,
    IdempotencyConflict,
    ListError,
    NoSuchWork,
    OutputPathError,
    OverBudget,
    QueueUnavailable,
    ReferenceImageError,
    ReplibatchError,
    ReplibatchWarning,
    RequestError,
    ResultTimeout,
    SettingsError,
    StorageError,
    UnsupportedModel,
    WebhookRefused,
)

__all__ = [
    "AccountStopped",
    "AddressRefused",
    "AllModelsFailed",
    "ApiUnreachable",
    "AttemptFailure",
    "GenerationCanceled",
    "GenerationFailed",
    "IdempotencyConflict",
    "InputDropped",
    "Interrupted",
    "InvalidInput",
    "ListError",
    "MaybeCreated",
    "ModelMissing",
    "NoCredit",
    "NoList",
    "NoOutput",
    "NoSuchWork",
    "NotCreated",
    "NotSaved",
    "NotThere",
    "OutputErased",
    "OutputPathError",
    "OverBudget",
    "OverPrice",
    "PredictionCanceled",
    "PredictionFailed",
    "PredictionTimedOut",
    "QueueUnavailable",
    "ReferenceImageError",
    "ReplibatchError",
    "ReplibatchWarning",
    "RequestError",
    "ResultTimeout",
    "Sensitive",
    "SettingsError",
    "Stop",
    "StorageError",
    "Throttled",
    "TokenRefused",
    "Unreadable",
    "UnsupportedModel",
    "Verdict",
    "WebhookRefused",
    "WrongOutput",
]

# Their one name, in a traceback, in a result of Celery's, in a pickle: the files are for readers.
for _name in __all__:
    globals()[_name].__module__ = __name__
