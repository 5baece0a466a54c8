"""What only a stand-in has: its books to read, its faults and settings to change while it runs. No token needed."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from replibatch.sandbox import replies
from replibatch.sandbox.handlers import JSONHandler
from replibatch.sandbox.settings import SandboxSettings


class BooksView(JSONHandler):
    """`GET /books?window_seconds=60`; with `summary=1` without what grows with the number of predictions."""

    def get(self) -> None:
        try:
            window_seconds = float(self.get_query_argument("window_seconds", "60"))
        except ValueError:
            raise _bad("window_seconds must be a number of seconds") from None
        self.reply(self.service.books.to_json(window_seconds, summary=bool(self.get_query_argument("summary", ""))))


class BooksReset(JSONHandler):
    """`POST /books/reset`."""

    def post(self) -> None:
        self.service.books.reset()
        self.reply(self.service.books.to_json(summary=True))


class SettingsView(JSONHandler):
    """`GET /settings`; `POST /settings` changes the settings it names, all or none."""

    def get(self) -> None:
        self.reply(self.service.settings.model_dump(mode="json"))

    def post(self) -> None:
        self.change(self.json_body())
        self.get()

    def change(self, changes: Any) -> None:
        """Check all, then set all."""
        settings = self.service.settings
        if not isinstance(changes, dict):
            raise _bad("a JSON object is wanted")
        try:
            checked = SandboxSettings.model_validate(settings.model_dump() | changes)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False)
            raise _bad("; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in problems)) from None
        for name in changes:
            setattr(settings, name, getattr(checked, name))


class FaultsView(SettingsView):
    """`GET /faults`; `POST /faults` sets the rates anew: `{"500-before": 0.02}`; a kind it leaves out is off."""

    def get(self) -> None:
        self.reply(self.service.settings.fault_rates)

    def post(self) -> None:
        self.change({"fault_rates": self.json_body()})
        self.get()


class ModelsDesk(SettingsView):
    """`GET /models`; `POST /models` registers some, `{"owner/name": {…}}`, in the place of what had that name."""

    def get(self) -> None:
        self.reply({name: spec.model_dump(mode="json") for name, spec in self.service.settings.models.items()})

    def post(self) -> None:
        registered = {name: spec.model_dump() for name, spec in self.service.settings.models.items()}
        added = self.json_body()
        self.change({"models": registered | added if isinstance(added, dict) else added})
        self.get()


def _bad(detail: str) -> replies.Refusal:
    return replies.Refusal(422, {"detail": detail, "status": 422})
