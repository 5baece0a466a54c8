"""The service itself: takes creates, runs predictions through their life, keeps the books."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from replibatch.catalog import Catalog, Model
from replibatch.sandbox import replies
from replibatch.sandbox.accounts import Account, Accounts
from replibatch.sandbox.books import Books
from replibatch.sandbox.clock import now
from replibatch.sandbox.faults import Fault, Phase
from replibatch.sandbox.files import Files
from replibatch.sandbox.predictions import Prediction, version_of
from replibatch.sandbox.settings import SandboxSettings
from replibatch.sandbox.strikes import Strikes

ERRORS = {
    "failed": "Prediction failed.",
    "sensitive": "The input or output was flagged as sensitive. Please try again with different inputs. (E005)",
    "interrupted": "Prediction interrupted; please retry (code: PA)",
}
DEFAULT_MANY = 3
ENDED_KEPT = 2000
# A small grey picture (PNG), for an output that travels inside its prediction.
_GREY = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000010000000090802000000b4483b6500000017494441"
        "5478da63ace859c0400a606220118c6aa0890600e16c01b63c49111a0000000049454e44ae426082"
    )
).decode()


class Service:
    """Replicate, as far as it is imitated. Lives in one event loop.

    Args:
        settings: read whenever they matter, so that a change holds at once.
        catalog: the models it has.

    Attributes:
        predictions: all of every account, by id.
        models: by `owner/name`.
    """

    def __init__(self, settings: SandboxSettings, catalog: Catalog) -> None:
        self.settings = settings
        self.books = Books()
        self.accounts = Accounts(settings)
        self.files = Files(settings)
        self.predictions: dict[str, Prediction] = {}
        self._rng = random.Random(settings.seed)  # noqa: S311  # nothing secret
        self.faults = Strikes(settings, self._rng)
        self.models = {model.name.partition(":")[0]: model for model in catalog.models.values()}
        # Most rows of a list are over and change no more.
        self._text_of_ended = lru_cache(ENDED_KEPT)(_text)
        self._by_version = {version_of(model): model for model in catalog.models.values()}

    def model_of(self, version: str) -> Model:
        """The model a create's `version` names: `owner/name`, `owner/name:id`, or an id.

        Raises:
            Refusal: 422, for one that does not exist.
        """
        name, _, version_id = version.rpartition(":")
        if name:
            model = self._by_version.get(version_id)
            if model is not None and model.name.partition(":")[0] == name:
                return model
        elif model := self._by_version.get(version_id) or self.official(version_id):
            return model
        raise replies.invalid_version()

    def official(self, name: str) -> Model | None:
        """The model of that `owner/name` that runs without a version; None where there is none."""
        model = self.models.get(name)
        return None if model is None or ":" in model.name else model

    def create(
        self,
        account: Account,
        model: Model,
        inputs: dict[str, Any],
        *,
        at: float,
        version: str,
        cancel_after: float | None,
    ) -> Prediction:
        """Create a prediction and start it.

        Args:
            account: who pays.
            model: what runs.
            inputs: checked already.
            at: when the create arrived.
            version: what the API will show.
            cancel_after: seconds from then to its deadline, or None.
        """
        prediction = Prediction(model, inputs, account, at, self._seconds_for(model), version=version)
        prediction.starting_seconds = prediction.expected_seconds * self.settings.starting_share
        prediction.course = self.faults.draw(Phase.COURSE, prediction.model_name, prediction.prompt)
        prediction.deadline = None if cancel_after is None else at + cancel_after
        self.predictions[prediction.id] = prediction
        account.predictions.append(prediction)
        account.in_flight += 1
        self.books.created(prediction)
        prediction.task = asyncio.create_task(self._run(prediction))
        return prediction

    def cancel(self, prediction: Prediction) -> None:
        """Cancel a prediction; one that is over stays as it is."""
        if not prediction.is_over:
            self.books.canceled()
            self._end(prediction, "canceled")
            if prediction.task:
                prediction.task.cancel()

    def is_erased(self, prediction: Prediction) -> bool:
        """Whether its input and output are erased by now."""
        return prediction.is_erased(now(), self.settings.erase_after_seconds)

    def text(self, prediction: Prediction, base_url: str) -> str:
        """The prediction as the API's JSON, with URLs that start with `base_url`."""
        write = self._text_of_ended if prediction.is_over else _text
        return write(prediction, base_url, self.is_erased(prediction))

    def _seconds_for(self, model: Model) -> float:
        settings = self.settings
        usual = settings.latency_seconds
        if usual is None:
            usual = model.typical_seconds / settings.speed
        return usual * self._rng.uniform(1 - settings.jitter, 1 + settings.jitter)

    async def _run(self, prediction: Prediction) -> None:
        """One prediction's life, from `starting` to its end."""
        course = prediction.course.kind if prediction.course else ""
        running = prediction.expected_seconds - prediction.starting_seconds
        left = None if prediction.deadline is None or course == "endless" else prediction.deadline - now()
        try:
            async with asyncio.timeout(left):
                await asyncio.sleep(prediction.starting_seconds)
                if course == "aborted":
                    self._end(prediction, "aborted")
                    return
                prediction.status = "processing"
                prediction.started_at = now()
                if course in ("hang", "endless"):
                    await asyncio.Event().wait()
                await asyncio.sleep(running / 2 if course == "canceled" else running)
        except TimeoutError:
            self._end(prediction, "aborted" if prediction.started_at is None else "canceled")
            return
        self._finish(prediction, prediction.course)

    def _finish(self, prediction: Prediction, course: Fault | None) -> None:
        kind = course.kind if course else ""
        if kind == "canceled":
            self._end(prediction, "canceled")
        elif kind in ERRORS:
            prediction.error = ERRORS[kind]
            self._end(prediction, "failed")
        elif missing := self._missing_file(prediction):
            prediction.error = f"Could not read the input file {missing}: HTTP 404"
            self._end(prediction, "failed")
        else:
            self._give_output(prediction, course)
            self._end(prediction, "succeeded")

    def _give_output(self, prediction: Prediction, course: Fault | None) -> None:
        model, inputs = prediction.model, prediction.input
        match course.kind if course else model.output:
            case "null-output":
                return
            case "empty-list":
                prediction.value = []
                return
            case "data-uri":
                prediction.value = f"data:image/png;base64,{_GREY}"
                return
            case "text":
                prediction.value = f"A text about: {prediction.prompt}"
                return
            case "text-pieces":
                prediction.value = ["A text", " about:", f" {prediction.prompt}"]
                return
            case "many":
                count = DEFAULT_MANY if course is None or course.number is None else course.number
            case _:
                count = inputs.get("num_outputs", 1) if "num_outputs" in model.inputs else 1
        prediction.files = tuple(f"{number}.{model.extension(inputs)}" for number in range(int(count)))

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
        cost_usd = self._cost_usd(prediction)
        account = prediction.account
        account.in_flight -= 1
        account.spent_usd += cost_usd
        self.books.ended(prediction, prediction.completed_at, cost_usd)

    @staticmethod
    def _cost_usd(prediction: Prediction) -> float:
        """What a public model charges: a success its price, a canceled run the share of its usual time it ran."""
        price_usd = prediction.model.cost_usd(prediction.input, prediction.ran_seconds()) or 0.0
        if prediction.status == "succeeded":
            return price_usd
        if prediction.status == "canceled":
            return price_usd * min(1.0, prediction.ran_seconds() / max(prediction.expected_seconds, 0.001))
        return 0.0


def _text(prediction: Prediction, base_url: str, erased: bool) -> str:
    return json.dumps(prediction.view(base_url, erased=erased), separators=(",", ":"))
