"""The rest of the API: predictions, files, the account, the models."""

from __future__ import annotations

import base64
import bisect
import json
from datetime import datetime
from urllib.parse import urlencode

from tornado.httputil import HTTPFile, HTTPHeaders, parse_body_arguments
from tornado.web import stream_request_body

from replibatch.sandbox import replies, schemas
from replibatch.sandbox.files import File
from replibatch.sandbox.handlers import APIHandler
from replibatch.sandbox.predictions import Prediction, version_of
from replibatch.sandbox.replies import InvalidField

PAGE_ROWS = 100
BODY_ROOM_BYTES = 64 * 1024  # what a multipart body holds besides its file
LARGEST_BODY_BYTES = 2**40


class _OfPrediction(APIHandler):
    """A request about one prediction."""

    def prediction(self, prediction_id: str) -> Prediction:
        """The account's own prediction of that id."""
        prediction = self.service.predictions.get(prediction_id)
        if prediction is None or prediction.account is not self.account:
            raise replies.not_found()
        return prediction


class OnePrediction(_OfPrediction):
    """`GET /v1/predictions/{id}`."""

    kind = "get"

    def get(self, prediction_id: str) -> None:
        self.reply_text(self.service.text(self.prediction(prediction_id), self.base_url))


class Cancel(_OfPrediction):
    """`POST /v1/predictions/{id}/cancel`."""

    kind = "cancel"

    def post(self, prediction_id: str) -> None:
        prediction = self.prediction(prediction_id)
        self.service.cancel(prediction)
        self.reply_text(self.service.text(prediction, self.base_url))


class Listing(APIHandler):
    """`GET /v1/predictions`: newest first, 100 a page."""

    kind = "list"

    def get(self) -> None:
        predictions = self.account.predictions
        first = self._place_of("created_after", 0)
        end = self._place_of("created_before", len(predictions))
        newest = min(end, self._cursor(end))
        oldest = max(first, newest - PAGE_ROWS)
        rows = [] if newest <= first else predictions[oldest:newest][::-1]
        following = json.dumps(self._page(oldest) if oldest > first else None)
        previous = json.dumps(self._page(min(end, newest + PAGE_ROWS)) if newest < end else None)
        results = ",".join(self.service.text(prediction, self.base_url) for prediction in rows)
        self.reply_text(f'{{"previous":{previous},"next":{following},"results":[{results}]}}')

    def _place_of(self, name: str, otherwise: int) -> int:
        """How many of the account's predictions were created before the time that argument gives."""
        text = self.get_query_argument(name, "")
        if not text:
            return otherwise
        try:
            at = datetime.fromisoformat(text).astimezone().timestamp()
        except ValueError:
            raise replies.invalid([InvalidField("format", name, "Does not match format 'date-time'")]) from None
        return bisect.bisect_left(self.account.predictions, at, key=lambda prediction: prediction.created_at)

    def _cursor(self, otherwise: int) -> int:
        """Where the page begins, counted from the account's first prediction, so that new ones move nothing."""
        text = self.get_query_argument("cursor", "")
        if not text:
            return otherwise
        try:
            return int(base64.urlsafe_b64decode(text))
        except ValueError:
            raise replies.not_found("Invalid cursor") from None

    def _page(self, newest: int) -> str:
        arguments = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        arguments["cursor"] = base64.urlsafe_b64encode(str(newest).encode()).decode()
        return f"{self.base_url}/v1/predictions?{urlencode(arguments)}"


class AccountView(APIHandler):
    """`GET /v1/account`."""

    kind = "account"

    def get(self) -> None:
        name = self.account.username
        self.reply({"type": "user", "username": name, "name": name, "github_url": f"https://github.com/{name}"})


class ModelView(APIHandler):
    """`GET /v1/models/{owner}/{name}`."""

    kind = "model"

    def get(self, model_name: str) -> None:
        if model_name not in self.service.models:
            raise replies.not_found()
        self.reply(schemas.model_view(self.service.models[model_name]))


class VersionView(APIHandler):
    """`GET /v1/models/{owner}/{name}/versions/{id}`."""

    kind = "model"

    def get(self, model_name: str, version: str) -> None:
        model = self.service.models.get(model_name)
        if model is None or version_of(model) != version:
            raise replies.not_found()
        self.reply(schemas.model_view(model)["latest_version"])


@stream_request_body
class FileList(APIHandler):
    """`GET` and `POST /v1/files`. A body is taken in pieces, so that one too large is refused in words."""

    kind = "file"

    def prepare(self) -> None:
        self._body = bytearray()
        self._most_bytes = self.service.settings.max_upload_bytes + BODY_ROOM_BYTES
        connection = self.request.connection
        if connection is not None and hasattr(connection, "set_max_body_size"):
            connection.set_max_body_size(LARGEST_BODY_BYTES)
        super().prepare()

    def data_received(self, chunk: bytes) -> None:
        if len(self._body) <= self._most_bytes:
            self._body += chunk

    def get(self) -> None:
        rows = [file.view(self.base_url) for file in self.service.files.of(self.account)]
        self.reply({"previous": None, "next": None, "results": rows})

    def post(self) -> None:
        limit = self.service.settings.max_upload_bytes
        if len(self._body) > self._most_bytes:
            raise replies.too_large(limit)
        parts = self._parts()
        if "content" not in parts:
            raise replies.invalid([InvalidField("required", "(root)", "content is required")])
        content = parts["content"]
        if len(content.body) > limit:
            raise replies.too_large(limit)
        try:
            metadata = json.loads(parts["metadata"].body) if "metadata" in parts else {}
        except ValueError:
            raise replies.invalid([InvalidField("format", "metadata", "must be valid JSON")]) from None
        file = self.service.files.add(
            self.account, content.filename, content.content_type or "application/octet-stream", content.body, metadata
        )
        self.reply(file.view(self.base_url), 201)

    def _parts(self) -> dict[str, HTTPFile]:
        arguments: dict[str, list[bytes]] = {}
        files: dict[str, list[HTTPFile]] = {}
        headers = HTTPHeaders()
        parse_body_arguments(
            self.request.headers.get("Content-Type", ""), bytes(self._body), arguments, files, headers
        )
        parts = {name: found[0] for name, found in files.items()}
        for name, values in arguments.items():
            parts.setdefault(name, HTTPFile(filename=name, body=values[0], content_type="text/plain"))
        return parts


class OneFile(APIHandler):
    """`GET` and `DELETE /v1/files/{id}`."""

    kind = "file"

    def get(self, file_id: str) -> None:
        self.reply(self._file(file_id).view(self.base_url))

    def delete(self, file_id: str) -> None:
        self.service.files.remove(self._file(file_id))
        self.set_status(204)
        self.finish()

    def _file(self, file_id: str) -> File:
        file = self.service.files.find(file_id)
        if file is None or file.account is not self.account:
            raise replies.not_found("File not found")
        return file
