"""The rest of the API: one prediction, files, the account, the models, deployments, the secret of webhooks."""

from __future__ import annotations

import json

from tornado.httputil import HTTPFile, HTTPHeaders, parse_body_arguments
from tornado.web import stream_request_body

from replibatch.sandbox import replies, schemas
from replibatch.sandbox.clock import iso, now
from replibatch.sandbox.faults import Phase
from replibatch.sandbox.files import File
from replibatch.sandbox.handlers import APIHandler
from replibatch.sandbox.predictions import Prediction
from replibatch.sandbox.replies import InvalidField

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

    def subject(self) -> tuple[str, str]:
        """The prediction's model and prompt."""
        prediction = self.service.predictions.get(self.path_args[0])
        return (prediction.model_name, prediction.prompt) if prediction else ("", "")


class OnePrediction(_OfPrediction):
    """`GET /v1/predictions/{id}`."""

    kind = "get"
    place = Phase.GET

    def get(self, prediction_id: str) -> None:
        self.reply_text(self.service.text(self.prediction(prediction_id), self.base_url, "get"))


class Cancel(_OfPrediction):
    """`POST /v1/predictions/{id}/cancel`."""

    kind = "cancel"
    place = Phase.CANCEL

    async def post(self, prediction_id: str) -> None:
        prediction = self.prediction(prediction_id)
        match prediction.stuck:
            case "stuck-404":
                raise replies.not_found()
            case "stuck-409":
                raise replies.conflict()
            case "stuck-500":
                raise replies.broken(500)
            case "stuck-hang":
                await self.gone.wait()
                return
        self.service.cancel(prediction)
        self.reply_text(self.service.text(prediction, self.base_url, "cancel"))


class AccountView(APIHandler):
    """`GET /v1/account`."""

    kind = "account"
    place = Phase.ACCOUNT

    def get(self) -> None:
        name = self.account.username
        self.reply({"type": "user", "username": name, "name": name, "github_url": f"https://github.com/{name}"})


class ModelView(APIHandler):
    """`GET /v1/models/{owner}/{name}`."""

    kind = "model"
    place = Phase.MODEL

    def subject(self) -> tuple[str, str]:
        """The model."""
        return self.path_args[0], ""

    def get(self, name: str) -> None:
        model = self.service.model(name)
        if model is None:
            raise replies.not_found()
        self.reply(schemas.model_view(model))


class VersionView(ModelView):
    """`GET /v1/models/{owner}/{name}/versions/{id}`."""

    def get(self, name: str, version: str) -> None:  # type: ignore[override]  # tornado's way of a longer path
        model = self.service.model(name)
        if model is None or model.version != version:
            raise replies.not_found()
        self.reply(schemas.model_view(model)["latest_version"])


class DeploymentView(APIHandler):
    """`GET /v1/deployments/{owner}/{name}`."""

    kind = "deployment"

    def get(self, deployment: str) -> None:
        model = self.service.model(self.service.settings.deployments.get(deployment, ""))
        if model is None:
            raise replies.not_found()
        owner, _, name = deployment.partition("/")
        release = {
            "number": 1,
            "model": model.name,
            "version": model.version,
            "created_at": iso(now()),
            "created_by": {"type": "user", "username": owner},
            "configuration": {"hardware": "gpu-t4", "min_instances": 0, "max_instances": 1},
        }
        self.reply({"owner": owner, "name": name, "current_release": release})


class WebhookSecret(APIHandler):
    """`GET /v1/webhooks/default/secret`."""

    kind = "account"

    def get(self) -> None:
        self.reply({"key": self.service.settings.webhook_secret.get_secret_value()})


@stream_request_body
class FileList(APIHandler):
    """`GET` and `POST /v1/files`. A body is taken in pieces, so that one too large is refused in words."""

    kind = "file"

    async def prepare(self) -> None:
        self._body = bytearray()
        self._most_bytes = self.service.settings.max_upload_bytes + BODY_ROOM_BYTES
        connection = self.request.connection
        if connection is not None and hasattr(connection, "set_max_body_size"):
            connection.set_max_body_size(LARGEST_BODY_BYTES)
        await super().prepare()

    def data_received(self, chunk: bytes) -> None:
        if len(self._body) <= self._most_bytes:
            self._body += chunk

    async def get(self) -> None:
        if not await self.strike(Phase.FILE):
            return
        rows = [file.view(self.base_url) for file in self.service.files.of(self.account)]
        self.reply({"previous": None, "next": None, "results": rows})

    async def post(self) -> None:
        if not await self.strike(Phase.FILE):  # not before the body is read, or its sender is cut off
            return
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
    place = Phase.FILE

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
