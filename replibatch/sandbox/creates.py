"""The one request that costs money: creating a prediction."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import Any

from replibatch.sandbox import answers, forms, replies, schemas
from replibatch.sandbox.clock import now
from replibatch.sandbox.downloads import content_type
from replibatch.sandbox.durations import cancel_after_seconds, wait_seconds
from replibatch.sandbox.faults import Fault, Phase
from replibatch.sandbox.forms import FileRef
from replibatch.sandbox.handlers import APIHandler
from replibatch.sandbox.hosting import Hosted
from replibatch.sandbox.predictions import Prediction, Request, Webhook
from replibatch.sandbox.replies import InvalidField, Refusal
from replibatch.sandbox.throttles import FORMS

PREFER = re.compile(r"wait(=([1-9]|[1-5][0-9]|60))?")


class Create(APIHandler):
    """`POST /v1/predictions`, and of an official model by its name."""

    def count(self) -> None:
        """A create counts against the account's creates, once it is known what it asks for."""

    async def prepare(self) -> None:
        """Note when it arrived."""
        self._arrived_at = now()
        self.service.books.post_arrived(self._arrived_at)
        try:
            await super().prepare()
        except Refusal as refusal:
            self.service.books.post_answered(str(refusal.status_code))
            raise

    async def post(self, name: str | None = None) -> None:
        """Create, or refuse; then answer, unless a fault prevents it.

        Args:
            name: `owner/name` from the path.
        """
        books = self.service.books
        try:
            if not await self._arrives(name):
                return
            prediction = self._create(name)
        except Refusal as refusal:
            books.post_answered(str(refusal.status_code))
            raise
        fault = self.service.faults.draw(Phase.REPLY, prediction.model_name, prediction.prompt)
        if fault and not await self._replies(fault):
            return
        status, text = await self._answer(prediction)
        books.post_answered(str(status))
        if not self.gone.is_set():
            self.tell_limit(self.account.creates_left())
            self.reply_text(text, status)

    def model_of(self, name: str | None, _body: dict[str, Any]) -> tuple[Hosted, str]:
        """The model that is asked for, and the version that rows tell.

        Raises:
            Refusal: there is none.
        """
        if name is not None:
            return self.service.official(name), "hidden"
        version = _body["version"]
        model = self.service.model_of(version)
        return model, "hidden" if version == model.name else model.version

    async def _arrives(self, name: str | None) -> bool:
        """Whether the request is to be handled: False where a fault drops it; raises the refusal of any other."""
        body = self.json_body()
        named = name or (body.get("version") if isinstance(body, dict) else None)
        inputs = body.get("input") if isinstance(body, dict) else None
        prompt = inputs.get("prompt") if isinstance(inputs, dict) else None
        fault = self.service.faults.draw(Phase.ARRIVAL, str(named).split(":", 1)[0], str(prompt))
        if fault is None:
            return True
        if fault.kind == "429":
            raise replies.throttled(1.0, self.service.settings.retry_after)
        if fault.kind in FORMS:
            raise replies.throttled_as(fault.kind)
        return await self._strike(answers.order(fault.kind), fault)

    async def _replies(self, fault: Fault) -> bool:
        """Whether the client still receives an answer that names the prediction."""
        try:
            return await self._strike(answers.order(fault.kind), fault)
        except Refusal as refusal:
            self.service.books.post_answered(str(refusal.status_code))
            raise

    async def _strike(self, order: answers.Order | None, fault: Fault) -> bool:
        """What one fault does to a create or to its reply; the kinds with names of their own are older."""
        books = self.service.books
        status = fault.kind.partition("-")[0]
        if order is None and status.isdigit():
            raise replies.broken(int(status))
        if order is None:
            order = answers.Order("", None, "drop" if status == "drop" else "hang")
        if order.behaviour in ("drop", "hang"):
            books.post_answered("dropped" if order.behaviour == "drop" else "no reply")
        return await self.behave(order)

    def _create(self, name: str | None) -> Prediction:
        """The checks in Replicate's order, then the prediction."""
        self.account.admit_create(self._arrived_at)
        body = self.json_body()
        if name is not None:
            self.model_of(name, {})
        if problems := schemas.problems_of_body(body, version_wanted=name is None):
            raise replies.invalid(problems)
        model, version = self.model_of(name, body)
        if problems := schemas.problems_of_input(model, body["input"]):
            raise replies.invalid(problems)
        self._check_prefer()
        request = Request(
            model,
            body["input"],
            version=version,
            deadline=self._deadline(),
            deployment=self.deployment(name),
            webhook=_webhook(body),
        )
        self.account.check_credit()
        return self.service.create(self.account, request, self._arrived_at)

    def deployment(self, _name: str | None) -> str | None:
        """The deployment it is created through."""
        return None

    def _check_prefer(self) -> None:
        prefer = self.request.headers.get("Prefer")
        if self.service.settings.strict_prefer and prefer is not None and not PREFER.fullmatch(prefer):
            raise replies.invalid([InvalidField("pattern", "Prefer", f"Does not match pattern '^{PREFER.pattern}$'")])

    def _deadline(self) -> float | None:
        header = self.request.headers.get("Cancel-After")
        if header is None:
            return None
        seconds = cancel_after_seconds(header)
        least = self.service.settings.minimum_cancel_after_seconds
        if seconds is None or seconds < least:
            words = f"must be a duration of at least {least:g} seconds, such as 30s, 5m or 1h30m"
            raise replies.invalid([InvalidField("format", "Cancel-After", words)])
        return self._arrived_at + seconds

    async def _answer(self, prediction: Prediction) -> tuple[int, str]:
        """201, or 202 where the caller wants no output yet, or waited for it in vain."""
        prefer = self.request.headers.get("Prefer", "")
        seconds = wait_seconds(prefer)
        if not seconds or prediction.task is None:
            status = 202 if "respond-async" in prefer else 201
            return status, self.service.text(prediction, self.base_url, "created")
        self.set_header("Preference-Applied", prefer)
        await asyncio.wait({prediction.task}, timeout=seconds)
        if not prediction.is_over:
            return 202, self.service.text(prediction, self.base_url, "created")
        return 201, await self._held(prediction)

    async def _held(self, prediction: Prediction) -> str:
        """What a held reply tells of a prediction that is done: not its end yet, and its files within."""
        if self.service.settings.wait_status == "succeeded" or prediction.status != "succeeded":
            return self.service.text(prediction, self.base_url, "created")
        row = json.loads(self.service.text(prediction, self.base_url, "created"))
        refs = {ref: await self._data_uri(prediction, ref) for ref in forms.file_refs(prediction.value)}
        for name in ("completed_at", "metrics"):
            row.pop(name, None)
        return json.dumps(row | {"status": "processing", "output": forms.told(prediction.value, refs.__getitem__)})

    async def _data_uri(self, prediction: Prediction, ref: FileRef) -> str:
        content = await self.service.outputs.content(prediction, ref.name)
        return f"data:{content_type(ref.name)};base64,{base64.b64encode(content).decode()}"


class CreateByDeployment(Create):
    """`POST /v1/deployments/{owner}/{name}/predictions`."""

    def model_of(self, name: str | None, _body: dict[str, Any]) -> tuple[Hosted, str]:
        """The model the deployment runs, official or not, and its version."""
        model = self.service.model(self.service.settings.deployments.get(name or "", ""))
        if model is None:
            raise replies.not_found()
        return model, model.version

    def deployment(self, name: str | None) -> str | None:
        """The deployment itself."""
        return name


def _webhook(body: dict[str, Any]) -> Webhook | None:
    if not body.get("webhook"):
        return None
    return Webhook(body["webhook"], tuple(body.get("webhook_events_filter") or schemas.EVENTS))
