"""The one request that costs money: creating a prediction."""

from __future__ import annotations

import asyncio

from replibatch.catalog import Model
from replibatch.sandbox import replies, schemas
from replibatch.sandbox.clock import now
from replibatch.sandbox.durations import cancel_after_seconds, wait_seconds
from replibatch.sandbox.faults import Fault, Phase
from replibatch.sandbox.handlers import APIHandler
from replibatch.sandbox.predictions import Prediction, version_of
from replibatch.sandbox.replies import InvalidField, Refusal


class Create(APIHandler):
    """`POST /v1/predictions` and `POST /v1/models/{owner}/{name}/predictions`."""

    def count(self) -> None:
        """A create counts against the account's creates, once it is known what it asks for."""

    def prepare(self) -> None:
        """Note when it arrived."""
        self._arrived_at = now()
        self._gone = asyncio.Event()
        self.service.books.post_arrived(self._arrived_at)
        try:
            super().prepare()
        except Refusal as refusal:
            self.service.books.post_answered(str(refusal.status_code))
            raise

    def on_connection_close(self) -> None:
        """The client has given up."""
        self._gone.set()

    async def post(self, model_name: str | None = None) -> None:
        """Create, or refuse; then answer, unless a fault prevents it."""
        books = self.service.books
        try:
            if self._strike_on_arrival(model_name):
                books.post_answered("dropped")
                self.detach().close()
                return
            prediction = self._create(model_name)
        except Refusal as refusal:
            books.post_answered(str(refusal.status_code))
            raise
        fault = self.service.faults.draw(Phase.REPLY, prediction.model_name, prediction.prompt)
        if fault:
            await self._lose_reply(fault)
            return
        prefer = self.request.headers.get("Prefer", "")
        status = await self._status(prediction, prefer)
        books.post_answered(str(status))
        if not self._gone.is_set():
            self.reply_text(self.service.text(prediction, self.base_url), status)

    def _strike_on_arrival(self, model_name: str | None) -> bool:
        """Whether a fault drops the connection; raises the refusal of any other fault."""
        body = self.json_body()
        named = model_name or (body.get("version") if isinstance(body, dict) else None)
        inputs = body.get("input") if isinstance(body, dict) else None
        prompt = inputs.get("prompt") if isinstance(inputs, dict) else None
        fault = self.service.faults.draw(Phase.ARRIVAL, str(named).split(":", 1)[0], str(prompt))
        if fault is None:
            return False
        if fault.kind == "429":
            raise replies.throttled(1.0, self.service.settings.retry_after)
        if fault.kind == "drop-before":
            return True
        raise replies.broken(int(fault.kind.partition("-")[0]))

    def _create(self, model_name: str | None) -> Prediction:
        """The checks in Replicate's order, then the prediction."""
        self.account.admit_create(self._arrived_at)
        body = self.json_body()
        model = self._model(model_name)
        if problems := schemas.problems_of_body(body, version_wanted=model is None):
            raise replies.invalid(problems)
        if model is None:
            model = self.service.model_of(body["version"])
        if problems := schemas.problems_of_input(model, body["input"]):
            raise replies.invalid(problems)
        cancel_after = self._cancel_after()
        self.account.check_credit()
        by_name = self.service.official(body.get("version", model_name))
        return self.service.create(
            self.account,
            model,
            body["input"],
            at=self._arrived_at,
            version="hidden" if by_name else version_of(model),
            cancel_after=cancel_after,
        )

    def _model(self, model_name: str | None) -> Model | None:
        if model_name is None:
            return None
        model = self.service.official(model_name)
        if model is None:
            raise replies.not_found()
        return model

    def _cancel_after(self) -> float | None:
        header = self.request.headers.get("Cancel-After")
        if header is None:
            return None
        seconds = cancel_after_seconds(header)
        least = self.service.settings.minimum_cancel_after_seconds
        if seconds is None or seconds < least:
            words = f"must be a duration of at least {least:g} seconds, such as 30s, 5m or 1h30m"
            raise replies.invalid([InvalidField("format", "Cancel-After", words)])
        return seconds

    async def _lose_reply(self, fault: Fault) -> None:
        """The prediction exists, and its creator does not learn it."""
        books = self.service.books
        if fault.kind == "drop-after":
            books.post_answered("dropped")
            self.detach().close()
        elif fault.kind == "hang-reply":
            books.post_answered("no reply")
            await self._gone.wait()
        else:
            refusal = replies.broken(int(fault.kind.partition("-")[0]))
            books.post_answered(str(refusal.status_code))
            raise refusal

    async def _status(self, prediction: Prediction, prefer: str) -> int:
        """201, or 202 where the caller wants no output yet, or waited for it in vain."""
        seconds = wait_seconds(prefer)
        if not seconds or prediction.task is None:
            return 202 if "respond-async" in prefer else 201
        await asyncio.wait({prediction.task}, timeout=seconds)
        return 201 if prediction.is_over else 202
