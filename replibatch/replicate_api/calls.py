"""The client: creates that nobody sends twice, and reads that count against their own limit."""

from __future__ import annotations

import json
import mimetypes
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import httpx
from pydantic import SecretStr
from pydantic_core import from_json

from replibatch.catalog.models import DEPLOYMENT
from replibatch.catalog.published import Published
from replibatch.errors import AttemptFailure, ModelMissing, ReplibatchError, TokenRefused
from replibatch.replicate_api.client import Client, check_before_sending
from replibatch.replicate_api.errors import Malformed, Refusal, of_create, of_read
from replibatch.replicate_api.predictions import Prediction

T = TypeVar("T")

MOST_CREATES = 20  # under way at a time
LONGEST_POST_SECONDS = 15.0
SHORTEST_SECRET = 8  # characters
READ_SECONDS = 20.0
CONNECT_SECONDS = 5.0


class ReplicateAPI:
    """The API of one account. Thread-safe; make one a process, after any fork.

    Args:
        base_url: the server, without `/v1`.
        token: the account's.
        await_read: called before each read; waits until the account may make one more.
        settle_seconds: a create's time-out stays below it.
        on_token_refused: called each time the token is not accepted, before the error is raised.
    """

    def __init__(
        self,
        base_url: str,
        token: SecretStr,
        *,
        await_read: Callable[[], None],
        settle_seconds: float,
        on_token_refused: Callable[[TokenRefused], None] = lambda _: None,
    ) -> None:
        self._await_read = await_read
        self._on_token_refused = on_token_refused
        self._client = Client(base_url, token, httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS))
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
            AttemptFailure: `Throttled`, `NotCreated`, `MaybeCreated`, `InvalidInput` or `ModelMissing`.
            AccountStopped: the token or the credit.
        """
        path, body = _create_of(model, inputs)
        # Holding the reply until the model is done would hide the id for up to a minute, so no `Prefer: wait`.
        headers = {"Cancel-After": f"{max(5, round(cancel_after_seconds))}s", "Prefer": "respond-async"}
        extensions = {"trace": check_before_sending(may_send), "timeout": self._post_timeout.as_dict()}
        with self._sending:
            try:
                response = self._client.request("POST", path, json=body, headers=headers, extensions=extensions)
                return self._parsed(response, Prediction.from_json)
            except (Refusal, Malformed, httpx.HTTPError) as error:
                raise self._noted(of_create(error, model)) from error

    def get(self, prediction_id: str) -> Prediction:
        """One prediction as it is now.

        Raises:
            AttemptFailure: it could not be read; `Throttled` where the account has to wait.
            AccountStopped: the token. Every other read raises the same.
        """
        return self._read(f"/v1/predictions/{prediction_id}", Prediction.from_json)

    def newest(
        self, *, created_after: datetime | None = None, created_before: datetime | None = None
    ) -> Iterator[list[Prediction]]:
        """The account's predictions, newest first, a page of up to 100 at a time; a page costs one read.

        Args:
            created_after: only those created at that time or later.
            created_before: only those created earlier.
        """
        bounds = {"created_after": created_after, "created_before": created_before}
        query = urlencode({name: at.astimezone(UTC).isoformat() for name, at in bounds.items() if at is not None})
        path: str | None = "/v1/predictions" + (f"?{query}" if query else "")
        while path:
            rows, following = self._read(path, _page)
            yield rows
            path = self._path_of(following) if following else None

    def now(self) -> datetime:
        """The time by Replicate's clock, which the times of predictions are told by; never later than it is there."""
        return self._client.now()

    def cancel(self, prediction_id: str, *, overdue: bool = False) -> Prediction:
        """Cancel a prediction; its state after that (over already, perhaps).

        Args:
            prediction_id: which.
            overdue: it must be over by its `Cancel-After`: one that Replicate does not know any more is then gone.
        """
        try:
            return self._read(f"/v1/predictions/{prediction_id}/cancel", Prediction.from_json, method="POST")
        except AttemptFailure as failure:
            if overdue and _is_missing(failure):
                return Prediction.gone(prediction_id)
            raise

    def account(self) -> str:
        """The user name of the account the token belongs to."""
        return self._read("/v1/account", lambda account: str(account["username"]))

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
        except AttemptFailure as failure:
            if _is_missing(failure):
                raise ModelMissing.of(address, str(failure)) from failure
            raise

    def _published(self, address: str) -> Published:
        if address.startswith(DEPLOYMENT):
            path = f"/v1/deployments/{address.removeprefix(DEPLOYMENT)}"
            release = self._read(path, lambda found: dict(found["current_release"]))
            version = self._read(f"/v1/models/{release['model']}/versions/{release['version']}", dict)
            return Published.of(address, {}, version)
        name, _, version_id = address.partition(":")
        if version_id:
            return Published.of(address, {}, self._read(f"/v1/models/{name}/versions/{version_id}", dict))
        model = self._read(f"/v1/models/{name}", dict)
        return Published.of(address, model, model.get("latest_version"))

    def has_file(self, url: str) -> bool:
        """Whether an uploaded file is still there."""
        try:
            self._read(self._path_of(url), dict)
        except AttemptFailure as failure:
            if _is_missing(failure):
                return False
            raise
        return True

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def _read(self, path: str, parse: Callable[[Any], T], *, method: str = "GET", **request: Any) -> T:
        """Any request but a create, and what `parse` makes of the JSON that answers it."""
        self._await_read()
        try:
            return self._parsed(self._client.request(method, path, **request), parse)
        except (Refusal, Malformed, httpx.HTTPError) as error:
            raise self._noted(of_read(error)) from error

    def _noted(self, error: ReplibatchError) -> ReplibatchError:
        if isinstance(error, TokenRefused):
            self._on_token_refused(error)
        return error

    def _parsed(self, response: httpx.Response, parse: Callable[[Any], T]) -> T:
        content = response.content
        for value, name in self._concealed.items():
            content = content.replace(value, name)
        try:
            return parse(_decoded(content))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise Malformed(response) from error

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


def _decoded(content: bytes) -> Any:
    """The JSON of an answer; half a surrogate pair, as in a text that was cut off within an emoji, becomes `?`."""
    try:
        return from_json(content)
    except ValueError:
        whole = json.dumps(json.loads(content), ensure_ascii=False).encode(errors="replace")
        return from_json(whole)


def _is_missing(failure: AttemptFailure) -> bool:
    """Whether Replicate says that it has no such thing; what a gateway on the way says in HTML tells nothing."""
    refusal = failure.__cause__
    return isinstance(refusal, Refusal) and refusal.status == 404 and bool(refusal.body)


def _page(listing: dict[str, Any]) -> tuple[list[Prediction], str | None]:
    return [Prediction.from_json(row) for row in listing["results"]], listing.get("next")
