"""What an attempt may cost and has cost, by the prices this worker believes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from replibatch.catalog import Model
from replibatch.catalog.prices import Ended, at_most_usd, settled_usd
from replibatch.errors import OverPrice, RequestError
from replibatch.replicate_api import Prediction


@dataclass(frozen=True)
class Quote:
    """What one attempt costs.

    Attributes:
        model: the model with the prices that hold: the request's own, or this worker's where those are higher.
        inputs: the model's inputs.
        most_usd: the most it can cost with these inputs; None if unknown.
        reserved_usd: the amount reserved; None where no price or setting gives one.
        refusal: why nothing may be created: an absurd amount.
    """

    model: Model
    inputs: dict[str, Any]
    most_usd: float | None
    reserved_usd: float | None
    refusal: RequestError | None = None

    def check(self, allowed_usd: float | None) -> None:
        """See that the attempt can be paid for.

        Args:
            allowed_usd: the most that the request allows for one prediction.

        Raises:
            RequestError: an amount among the inputs that cannot be meant.
            OverPrice: it could cost more than the request allows.
        """
        if self.refusal is not None:
            raise self.refusal
        if self.most_usd is not None and allowed_usd is not None and self.most_usd > allowed_usd:
            raise OverPrice(
                f"{self.model.name} could cost ${self.most_usd:g}; expected: at most max_price_usd, ${allowed_usd:g}"
            )

    def settled_usd(self, ended: Prediction) -> float | None:
        """What the prediction has cost; None where that is not known."""
        known = Ended(ended.status, ended.metrics, ended.output, ended.lasted_seconds)
        return settled_usd(self.model, self.inputs, known, self.most_usd)

    def booked_usd(self, ended: Prediction) -> float:
        """What budgets count: what it has cost, or as much as was reserved where that is not known."""
        usd = self.settled_usd(ended)
        return (self.reserved_usd or 0.0) if usd is None else usd


class PriceList:
    """The prices of one worker: a request brings its own, and may not go below these for a built-in model.

    Args:
        floor: the built-in models as this worker has them.
        longest_seconds: after which a prediction is ended.
    """

    def __init__(self, floor: Mapping[str, Model], longest_seconds: float) -> None:
        self._floor = floor
        self._longest_seconds = longest_seconds

    def quote(self, model: Model, inputs: dict[str, Any], max_price_usd: float | None) -> Quote:
        """What an attempt costs.

        Args:
            model: as it came with the request.
            inputs: what it is given.
            max_price_usd: reserved where the price is not known.
        """
        try:
            most_usd = at_most_usd(model, inputs, self._longest_seconds)
            own = self._floor.get(model.name)
            floor_usd = at_most_usd(own, inputs, self._longest_seconds) if own else None
        except RequestError as refusal:
            return Quote(model, inputs, None, None, refusal)
        if own and floor_usd is not None and (most_usd is None or most_usd < floor_usd):
            model, most_usd = own, floor_usd
        return Quote(model, inputs, most_usd, max_price_usd if most_usd is None else most_usd)
