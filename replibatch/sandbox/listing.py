"""The account's predictions, newest first, and how that list can mislead."""

from __future__ import annotations

import base64
import bisect
import json
from datetime import datetime
from urllib.parse import urlencode

from replibatch.sandbox import replies
from replibatch.sandbox.clock import now
from replibatch.sandbox.faults import Phase
from replibatch.sandbox.handlers import APIHandler
from replibatch.sandbox.predictions import Prediction
from replibatch.sandbox.replies import InvalidField


class Listing(APIHandler):
    """`GET /v1/predictions`: newest first, 100 a page."""

    kind = "list"
    place = Phase.LIST

    def get(self) -> None:
        settings = self.service.settings
        predictions = self.account.predictions
        paged = bool(self.get_query_argument("cursor", ""))
        unfiltered = paged and settings.drop_filter_on_pages
        first = 0 if settings.ignore_created_after or unfiltered else self._place_of("created_after", 0)
        end = len(predictions)
        if not settings.ignore_created_before:
            end = self._place_of("created_before", end)
        newest = min(end, self._cursor(end))
        rows, oldest = self._rows(first, newest)
        more = oldest > first or (settings.drop_filter_on_pages and oldest > 0)
        following = self._page(oldest) if more else None
        if following is None and settings.endless_pages and rows:
            following = self._page(newest)
        previous = self._page(min(end, newest + settings.list_page_rows)) if newest < end else None
        results = ",".join(self.service.text(prediction, self.base_url, "list") for prediction in rows)
        self.reply_text(f'{{"previous":{json.dumps(previous)},"next":{json.dumps(following)},"results":[{results}]}}')

    def _rows(self, first: int, newest: int) -> tuple[list[Prediction], int]:
        """A page of the newest places that the list shows by now, and the place where the page ends."""
        at, place = now(), newest
        rows: list[Prediction] = []
        while place > first and len(rows) < self.service.settings.list_page_rows:
            place -= 1
            prediction = self.account.predictions[place]
            if prediction.listed_from <= at:
                rows.append(prediction)
        return rows, place

    def _place_of(self, name: str, otherwise: int) -> int:
        """How many of the account's predictions were created before the time that argument gives."""
        text = self.get_query_argument(name, "")
        if not text:
            return otherwise
        try:
            at = datetime.fromisoformat(text).astimezone().timestamp()
        except ValueError:
            raise replies.invalid([InvalidField("format", name, "Does not match format 'date-time'")]) from None
        at -= self.service.settings.listed_created_later_seconds
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
