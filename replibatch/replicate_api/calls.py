"""The client: creates that are never sent twice, and reads that count against their own limit."""

from __future__ import annotations

import json
import mimetypes
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import httpx
import structlog
from pydantic import SecretStr

from replibatch.catalog.models import DEPLOYMENT
from replibatch.catalog.published import Published
from replibatch.errors import (
    ApiUnreachable,
    AttemptFailure,
    ModelMissing,
    NoList,
    NotThere,
    ReplibatchError,
    Throttled,
    TokenRefused,
    Unreadable,
)
from replibatch.replicate_api import answers, causes
from replibatch.replicate_api.answers import Answer
from replibatch.replicate_api.body import is_whole, page_of, parsed
from replibatch.replicate_api.client import BODY_SECONDS, Client, Refusal, check_before_sending
from replibatch.replicate_api.predictions import Prediction

T = TypeVar("T")

log = structlog.get_logger(__name__)

MOST_CREATES = 20  # under way at a time
LONGEST_POST_SECONDS = 15.0
SHORTEST_SECRET = 8  # characters
READ_SECONDS = 20.0
CONNECT_SECONDS = 5.0
ACCOUNT_SECONDS = 3.0  # for the account, which is asked before anything else: that nothing answers is said at once
PATIENT_SECONDS = 60.0  # for a page of the list, where nothing goes on without it
SKEW = timedelta(seconds=1)  # the list and a create's reply may show times that differ by some milliseconds


class ReplicateAPI:
    """The API of one account. Thread-safe; make one a process, after any fork.

    Args:
        base_url: the server, without `/v1`.
        token: the account's.
        await_read: called before each read; waits until the account may make one more.
        settle_seconds: a create's time-out stays below it.
        longest_pause_seconds: the longest wait of a 429 that is believed.
        on_token_refused: called each time the token is not accepted, before the error is raised.
    """

    def __init__(
        self,
        base_url: str,
        token: SecretStr,
        *,
        await_read: Callable[[], None],
        settle_seconds: float,
        longest_pause_seconds: float = 300.0,
        on_token_refused: Callable[[TokenRefused], None] = lambda _: None,
    ) -> None:
        self._await_read = await_read
        self._on_token_refused = on_token_refused
        self._client = Client(base_url, token, httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS))
        self._base_url = base_url
        self._longest_pause_seconds = longest_pause_seconds
        self._base_path = urlsplit(base_url).path.rstrip("/")
        post_seconds = min(LONGEST_POST_SECONDS, 0.8 * settle_seconds)
        self._post_timeout = httpx.Timeout(post_seconds, connect=min(CONNECT_SECONDS, post_seconds))
        self._sending = threading.BoundedSemaphore(MOST_CREATES)
        self._concealed: dict[bytes, bytes] = {}

    def conceal(self, secrets: dict[str, str]) -> None:
        """Have no answer show these any more, whichever text of a model holds one.

        Args:
            secrets: by value, what stands for each; one of fewer than 8 characters could be part of anything.
        """
        quoted = {json.dumps(value)[1:-1].encode(): name.encode() for value, name in secrets.items()}
        self._concealed |= {value: name for value, name in quoted.items() if len(value) >= SHORTEST_SECRET}

    def create(
        self, model: str, inputs: dict[str, Any], cancel_after_seconds: float, *, may_send: Callable[[], bool]
    ) -> Prediction:
        """Create a prediction; sent once, whatever happens.

        Args:
            model: `owner/name` of an official model, `owner/name:version`, or `deployment:owner/name`.
            inputs: the model's inputs.
            cancel_after_seconds: Replicate ends it that long after its creation.
            may_send: asked right before the create is written to its socket; False: it must not be sent any more.

        Raises:
            AttemptFailure: `Throttled`, `ApiUnreachable`, `NotCreated`, `MaybeCreated`, `InvalidInput` or
                `ModelMissing`.
            AccountStopped: the token or the credit.
        """
        path, body = _create_of(model, inputs)
        # No `Prefer`: holding the reply until the model is done would hide the id for up to a minute.
        headers = {"Cancel-After": f"{max(5, round(cancel_after_seconds))}s"}
        extensions = {
            "trace": check_before_sending(may_send),
            "timeout": self._post_timeout.as_dict(),
            BODY_SECONDS: CONNECT_SECONDS,
        }
        with self._sending:
            try:
                answer = self._client.request("POST", path, json=body, headers=headers, extensions=extensions)
            except Refusal as refusal:
                raise self._noted(answers.of_create(refusal.answer, model)) from None
            except httpx.HTTPError as error:
                raise causes.of_create(error, self._base_url) from error
        try:
            return Prediction.from_json(self._parsed(answer))
        except ValueError:
            raise answers.of_create(answer, model) from None

    def get(self, prediction_id: str) -> Prediction:
        """One prediction as it is now.

        Raises:
            NotThere: Replicate does not know it any more.
            Unreadable: its row cannot be read.
            AttemptFailure: `ApiUnreachable`, or `Throttled` where the account has to wait.
            AccountStopped: the token. Every other read raises the same.
        """
        return self._prediction(self._request(f"/v1/predictions/{prediction_id}"), prediction_id)

    def newest(
        self,
        *,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        page_seconds: float = READ_SECONDS,
    ) -> Iterator[list[Prediction]]:
        """The account's predictions, newest first, a page of up to 100 at a time; a page costs one read.

        It ends by the rows' own times, too: a server that ignores a bound, or drops it on later pages, is not read to
        its beginning. Rows that cannot be read are left out.

        Args:
            created_after: only those created at that time or later.
            created_before: only those created earlier.
            page_seconds: the longest a page may take.

        Raises:
            NoList: the server has no such list.
        """
        bounds = {"created_after": created_after, "created_before": created_before}
        query = urlencode({name: at.astimezone(UTC).isoformat() for name, at in bounds.items() if at is not None})
        path: str | None = "/v1/predictions" + (f"?{query}" if query else "")
        seen: set[str] = set()
        asked: set[str] = set()
        while path and path not in asked:
            asked.add(path)
            rows, path = self._page(path, page_seconds)
            fresh = [row for row in rows if row.id not in seen]
            seen |= {row.id for row in fresh}
            yield [row for row in fresh if not _is_outside(row, created_after, created_before)]
            times = [row.created_at for row in rows if row.created_at]
            if (rows and not fresh) or (created_after and times and max(times) < created_after):
                return

    def now(self) -> datetime:
        """The time by Replicate's clock, as the times of predictions are; never later than it is there."""
        return self._client.now()

    def cancel(self, prediction_id: str) -> Prediction | None:
        """Cancel a prediction; its state after that (over already, perhaps). None where the answer does not show it.

        A 404 on a cancel, or a 409, says nothing of the prediction: it may be over, and paid for.
        """
        try:
            return self._prediction(
                self._request(f"/v1/predictions/{prediction_id}/cancel", method="POST"), prediction_id
            )
        except (Throttled, ApiUnreachable):
            raise
        except AttemptFailure:
            return None

    def account(self) -> str:
        """The user name of the account the token belongs to."""
        timeout = httpx.Timeout(ACCOUNT_SECONDS, connect=ACCOUNT_SECONDS).as_dict()
        extensions = {"timeout": timeout, BODY_SECONDS: ACCOUNT_SECONDS}
        try:
            return self._read("/v1/account", lambda account: _word(account["username"]), extensions=extensions)
        except NotThere as missing:
            raise causes.wrong_path(self._base_url, str(missing)) from missing
        except ApiUnreachable as failure:
            if failure.kind == "not_found" and self._base_path:
                raise causes.wrong_path(self._base_url, "HTTP 404") from failure
            if failure.kind in ("timeout", "tls") and causes.speaks_plain_http(self._base_url):
                raise causes.no_tls(self._base_url) from failure
            raise

    def upload(self, path: Path, name: str) -> str:
        """Upload a file of at most 100 MB under a name; returns its URL, good for about 24 hours."""
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        with path.open("rb") as file:
            # The client's own `files.create` knows no time-out.
            content = {"content": (name, file, kind)}
            return self._read("/v1/files", lambda made: str(made["urls"]["get"]), method="POST", files=content)

    def published(self, address: str) -> Published:
        """What a model publishes: its latest version, the one named (`owner/name:version`), or that of a deployment.

        Args:
            address: as a create names the model.

        Raises:
            ModelMissing: Replicate has none of that name, or not for this account.
        """
        try:
            return self._published(address)
        except NotThere as missing:
            raise ModelMissing.of(address, str(missing)) from missing

    def _published(self, address: str) -> Published:
        if address.startswith(DEPLOYMENT):
            path = f"/v1/deployments/{address.removeprefix(DEPLOYMENT)}"
            release = self._read(path, lambda found: dict(found["current_release"]))
            version = self._read(f"/v1/models/{release['model']}/versions/{release['version']}", _object)
            return Published.of(address, {}, version)
        name, _, version_id = address.partition(":")
        if version_id:
            return Published.of(address, {}, self._read(f"/v1/models/{name}/versions/{version_id}", _object))
        model = self._read(f"/v1/models/{name}", _object)
        return Published.of(address, model, model.get("latest_version"))

    def has_file(self, url: str) -> bool:
        """Whether an uploaded file is still there."""
        try:
            self._read(self._path_of(url), _object)
        except NotThere:
            return False
        return True

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def _read(self, path: str, parse: Callable[[Any], T], *, method: str = "GET", **content: Any) -> T:
        """Any request but a create, and what `parse` makes of the JSON that answers it."""
        answer = self._request(path, method=method, **content)
        try:
            return parse(self._parsed(answer))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise answers.of_read(answer) from None

    def _request(self, path: str, *, method: str = "GET", **content: Any) -> Answer:
        self._await_read()
        try:
            return self._client.request(method, path, **content)
        except Refusal as refusal:
            raise self._noted(answers.of_read(refusal.answer)) from None
        except httpx.HTTPError as error:
            raise causes.of_read(error, self._base_url) from error

    def _prediction(self, answer: Answer, prediction_id: str) -> Prediction:
        try:
            row = self._parsed(answer)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            if row is None and is_whole(answer.content) and prediction_id.encode() in answer.content:
                raise Unreadable(f"Replicate's row of the prediction {prediction_id} cannot be read")
            raise answers.of_read(answer)
        if row.get("id") != prediction_id:
            raise answers.of_read(answer)
        try:
            return Prediction.from_json(row)
        except ValueError as error:
            raise Unreadable(f"Replicate's row of the prediction {prediction_id} cannot be read: {error}") from None

    def _page(self, path: str, page_seconds: float) -> tuple[list[Prediction], str | None]:
        """One page of the list, and the path of the next."""
        try:
            timeout = httpx.Timeout(page_seconds, connect=CONNECT_SECONDS).as_dict()
            answer = self._request(path, extensions={"timeout": timeout, BODY_SECONDS: page_seconds})
        except NotThere as missing:
            raise NoList(f"the server has no list of predictions ({missing})") from missing
        try:
            rows, following, left_out = page_of(self._concealing(answer.content))
        except ValueError:
            raise answers.of_read(answer) from None
        found = []
        for row in rows:
            try:
                found.append(Prediction.from_json(row))
            except ValueError:
                left_out += 1
        if left_out:
            log.warning("rows of the account's list cannot be read; they are left out", rows=left_out)
        return found, self._path_of(following) if following else None

    def _noted(self, error: ReplibatchError) -> ReplibatchError:
        if isinstance(error, TokenRefused):
            self._on_token_refused(error)
        if isinstance(error, Throttled) and error.retry_after_seconds is not None:
            error.retry_after_seconds = min(error.retry_after_seconds, self._longest_pause_seconds)
        return error

    def _parsed(self, answer: Answer) -> Any:
        return parsed(self._concealing(answer.content))

    def _concealing(self, content: bytes) -> bytes:
        for value, name in self._concealed.items():
            content = content.replace(value, name)
        return content

    def _path_of(self, url: str) -> str:
        """A URL of the API as a path for this client, which puts the base URL's own path before it."""
        parts = urlsplit(url)
        return f"{parts.path.removeprefix(self._base_path)}?{parts.query}"


def _create_of(model: str, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The path and the body of a create: each kind of model has its own."""
    if model.startswith(DEPLOYMENT):
        return f"/v1/deployments/{model.removeprefix(DEPLOYMENT)}/predictions", {"input": inputs}
    if ":" in model:
        return "/v1/predictions", {"version": model, "input": inputs}
    return f"/v1/models/{model}/predictions", {"input": inputs}


def _is_outside(row: Prediction, after: datetime | None, before: datetime | None) -> bool:
    """Whether a server that ignores the bounds has shown it; a row without a time is shown."""
    at = row.created_at
    return at is not None and ((after is not None and at < after) or (before is not None and at >= before + SKEW))


def _object(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict) or not found:
        raise ValueError("no object")
    return found


def _word(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("no text")
    return value
