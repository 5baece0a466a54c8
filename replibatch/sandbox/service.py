"""The service itself: takes creates, runs predictions through their life, keeps the books."""

from __future__ import annotations

import asyncio
import math
import random
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from replibatch.catalog import Catalog
from replibatch.sandbox import echoes, hosting, outcomes, rows
from replibatch.sandbox.accounts import Account, Accounts
from replibatch.sandbox.books import Books
from replibatch.sandbox.clock import now
from replibatch.sandbox.failures import TEXTS
from replibatch.sandbox.faults import STUCK, Fault, Phase
from replibatch.sandbox.files import Files
from replibatch.sandbox.hosting import Hosted, ModelSpec
from replibatch.sandbox.outputs import Outputs
from replibatch.sandbox.predictions import Prediction, Request, Told
from replibatch.sandbox.replies import invalid_version, not_found
from replibatch.sandbox.rows import Look
from replibatch.sandbox.settings import SandboxSettings, Style
from replibatch.sandbox.strikes import Strikes
from replibatch.sandbox.webhooks import Webhooks

ENDED_KEPT = 2000
LISTED_LATE_SECONDS = 5


class Service:
    """Replicate, as far as it is imitated. Lives in one event loop.

    Args:
        settings: read whenever they matter, so that a change holds at once.
        catalog: the models it has, besides those in the settings.

    Attributes:
        predictions: all of every account, by id.
        base_url: the server's own address; webhooks name it.
    """

    def __init__(self, settings: SandboxSettings, catalog: Catalog) -> None:
        self.settings = settings
        self.books = Books()
        self.accounts = Accounts(settings)
        self.files = Files(settings)
        self.outputs = Outputs(settings)
        self.predictions: dict[str, Prediction] = {}
        self.base_url = ""
        self._rng = random.Random(settings.seed)  # noqa: S311  # nothing secret
        self.faults = Strikes(settings, self._rng)
        self.webhooks = Webhooks(settings, self.faults)
        self._of_catalog = {hosted.name: hosted for hosted in map(hosting.of_catalog, catalog.models.values())}
        # Most rows of a list are over and change no more.
        self._text_of_ended = lru_cache(ENDED_KEPT)(rows.text)
        self._registered: dict[str, tuple[ModelSpec, Hosted]] = {}

    def model(self, name: str) -> Hosted | None:
        """The model of that `owner/name`; None where there is none."""
        spec = self.settings.models.get(name)
        if spec is None:
            return self._of_catalog.get(name)
        if spec.missing:
            return None
        if name not in self._registered or self._registered[name][0] is not spec:
            self._registered[name] = spec, hosting.of_spec(name, spec)
        return self._registered[name][1]

    def official(self, name: str) -> Hosted:
        """The model of that `owner/name` that runs by its name.

        Raises:
            Refusal: 404.
        """
        model = self.model(name)
        if model is None or not model.official:
            raise not_found()
        return model

    def model_of(self, version: str) -> Hosted:
        """The model a create's `version` names: `owner/name`, `owner/name:id`, or an id.

        Raises:
            Refusal: 422, for one that does not exist.
        """
        name, _, version_id = version.rpartition(":")
        if name:
            model = self.model(name)
            if model and model.version == version_id:
                return model
        elif "/" in version:
            model = self.model(version)
            if model and model.official:
                return model
        else:
            for known in (*self.settings.models, *self._of_catalog):
                model = self.model(known)
                if model and model.version == version_id:
                    return model
        raise invalid_version()

    def create(self, account: Account, request: Request, at: float) -> Prediction:
        """Create a prediction and start it.

        Args:
            account: who pays.
            request: what was asked for.
            at: when the create arrived.
        """
        name, prompt = request.model.name, request.prompt
        echo = [fault.kind for fault in self.faults.draw_all(Phase.ECHO, name, prompt)]
        told, plain = _told(request, echo), _told(request, [])
        prediction = Prediction(request, told, plain, account, at, self._seconds_for(request.model))
        prediction.starting_seconds = prediction.expected_seconds * self.settings.starting_share
        prediction.course = self.faults.draw(Phase.COURSE, name, prompt)
        prediction.row = self.faults.draw(Phase.ROW, name, prompt)
        prediction.listed_from = at + self._lag_seconds(self.faults.draw(Phase.LISTED, name, prompt))
        self.predictions[prediction.id] = prediction
        account.predictions.append(prediction)
        account.in_flight += 1
        self.books.created(prediction)
        prediction.task = asyncio.create_task(self._run(prediction))
        return prediction

    def cancel(self, prediction: Prediction) -> None:
        """Cancel a prediction; one that is over, or stuck, stays as it is."""
        if not prediction.is_over and not prediction.stuck:
            self.books.canceled()
            self._end(prediction, "canceled")
            if prediction.task:
                prediction.task.cancel()

    def is_erased(self, prediction: Prediction) -> bool:
        """Whether its input and output are erased by now."""
        return prediction.is_erased(now(), self.settings.erase_after_seconds)

    def text(self, prediction: Prediction, base_url: str, style: Style) -> str:
        """The prediction as the API's JSON, with addresses that start with `base_url`."""
        write = self._text_of_ended if prediction.is_over else rows.text
        return write(prediction, base_url, Look.of(style, self.settings, erased=self.is_erased(prediction)))

    def stop(self) -> None:
        """Make no more files, deliver no more webhooks."""
        self.webhooks.stop()
        self.outputs.close()

    def _lag_seconds(self, fault: Fault | None) -> float:
        if fault is None:
            return self.settings.list_lag_seconds
        if fault.kind == "listed-never":
            return math.inf
        return LISTED_LATE_SECONDS if fault.number is None else fault.number

    def _seconds_for(self, model: Hosted) -> float:
        settings = self.settings
        usual = settings.latency_seconds
        if usual is None:
            usual = model.typical_seconds / settings.speed
        return usual * self._rng.uniform(1 - settings.jitter, 1 + settings.jitter)

    async def _run(self, prediction: Prediction) -> None:
        """One prediction's life, from `starting` to its end."""
        course = prediction.course.kind if prediction.course else ""
        deadline = None if course == "endless" or course in STUCK else prediction.request.deadline
        try:
            async with asyncio.timeout(None if deadline is None else deadline - now()):
                await self._work(prediction, course)
        except TimeoutError:
            self._end(prediction, "aborted" if prediction.started_at is None else "canceled")
            return
        self._finish(prediction, prediction.course)

    async def _work(self, prediction: Prediction, course: str) -> None:
        running = prediction.expected_seconds - prediction.starting_seconds
        if course == "stuck-starting":
            await _for_ever_or(prediction.course)
        await asyncio.sleep(prediction.starting_seconds)
        if course == "aborted":
            return
        prediction.status = "processing"
        prediction.started_at = now()
        self._tell(prediction, "start")
        if course in ("hang", "endless") or course in STUCK:
            await _for_ever_or(prediction.course)
        await asyncio.sleep(running / 2 if course == "canceled" else running)

    def _finish(self, prediction: Prediction, course: Fault | None) -> None:
        kind = course.kind if course else ""
        if kind in ("canceled", "aborted"):
            self._end(prediction, kind)
        elif kind in TEXTS:
            prediction.error = TEXTS[kind]
            self._end(prediction, "failed")
        elif prediction.request.model.data_uris_only and any(map(_is_of_files_api, prediction.input.values())):
            prediction.error = "Invalid image format ''"
            self._end(prediction, "failed")
        elif missing := self._missing_file(prediction):
            prediction.error = f"Could not read the input file {missing}: HTTP 404"
            self._end(prediction, "failed")
        else:
            prediction.value = outcomes.output_of(prediction.request, course)
            self._tell(prediction, "output")
            self._end(prediction, "succeeded")

    def _missing_file(self, prediction: Prediction) -> str | None:
        """An uploaded file the input names and that is gone: the model could not have read it."""
        for value in prediction.input.values():
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, str) and item.startswith("http"):
                    before, found, file_id = urlsplit(item).path.rpartition("/v1/files/")
                    if found and not before and self.files.find(file_id) is None:
                        return item
        return None

    def _end(self, prediction: Prediction, status: str) -> None:
        """A prediction is over: its slot is free, its price is due."""
        prediction.status = status
        prediction.completed_at = now()
        prediction.metrics = outcomes.metrics_of(prediction)
        cost_usd = outcomes.cost_usd(prediction)
        account = prediction.account
        account.in_flight -= 1
        account.spent_usd += cost_usd
        self.books.ended(prediction, prediction.completed_at, cost_usd)
        self._tell(prediction, "completed")

    def _tell(self, prediction: Prediction, event: str) -> None:
        if prediction.request.webhook:
            self.webhooks.tell(prediction, event, self.text(prediction, self.base_url, "get"))


def _is_of_files_api(value: Any) -> bool:
    """Whether an input is an address of the files API, or a list with one."""
    return any(
        isinstance(item, str) and "/v1/files/" in item for item in (value if isinstance(value, list) else [value])
    )


def _told(request: Request, kinds: list[str]) -> Told:
    return Told(
        echoes.told_model(request.model, kinds),
        echoes.told_version(request.version, kinds),
        echoes.told_input(request.input, request.model, kinds),
    )


async def _for_ever_or(course: Fault | None) -> None:
    """Wait for as many seconds as the fault says, or until something cancels it."""
    if course is None or course.number is None or course.kind not in STUCK:
        await asyncio.Event().wait()
    else:
        await asyncio.sleep(course.number)
