"""The page, the figures it asks for every second, its pictures; metrics; and what Revoke means here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.exceptions import RedisError
from tornado.ioloop import IOLoop
from tornado.routing import URLSpec
from tornado.web import HTTPError, StaticFileHandler, authenticated

from replibatch.broker.cancellation import cancel
from replibatch.monitoring.fleet import Fleet
from replibatch.monitoring.flower_internals import BaseHandler, ControlHandler, Metrics
from replibatch.monitoring.templates import PAGE
from replibatch.monitoring.thumbnails import Thumbnails
from replibatch.producer import Producer

# Nothing inline, nothing from elsewhere; Bootstrap's style sheet has its icons as data.
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
PICTURE = r"/replibatch/picture/([\w.@-]{1,200})/(\d{1,3})"  # a generation, the number of its file
PICTURE_SECONDS = 3600


async def _aside(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run what blocks in a thread."""
    return await IOLoop.current().run_in_executor(None, work, *arguments)


class FleetPage(BaseHandler):
    """The page itself; its script brings the figures."""

    @authenticated
    def get(self) -> None:
        """Show it."""
        self.set_header("Content-Security-Policy", POLICY)
        self.render("replibatch.html")


class FleetFigures(BaseHandler):
    """The figures, as JSON."""

    def initialize(self, fleet: Fleet) -> None:
        self._fleet = fleet

    @authenticated
    async def get(self) -> None:
        """The fleet now; 503 and one line where Redis does not answer."""
        self.set_header("Cache-Control", "no-store")
        try:
            self.write(await _aside(self._fleet.look))
        except RedisError as error:
            self.set_status(503)
            self.write({"error": f"Redis does not answer: {error}"})


class Picture(BaseHandler):
    """A small picture of one output."""

    def initialize(self, fleet: Fleet, thumbnails: Thumbnails) -> None:
        self._fleet = fleet
        self._thumbnails = thumbnails

    @authenticated
    async def get(self, generation_id: str, number: str) -> None:
        """A JPEG; 404 where there is none to show."""
        files = await _aside(self._fleet.outputs, generation_id)
        if int(number) >= len(files):
            raise HTTPError(404)
        picture = await _aside(self._thumbnails.of, *files[int(number)])
        if picture is None:
            raise HTTPError(404)
        self.set_header("Content-Type", "image/jpeg")
        self.set_header("Cache-Control", f"private, max-age={PICTURE_SECONDS}")
        self.write(picture)


class FleetMetrics(Metrics):
    """Flower's metrics and ours, collected in a thread: Redis may be slow to answer."""

    @authenticated
    async def get(self) -> None:
        """The text format of Prometheus."""
        self.application.purge_offline_worker_metrics()
        text = await _aside(generate_latest)
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(text)


class RevokeCancels(ControlHandler):
    """Revoke means cancel: it works with or without a running worker, and frees the slot."""

    def initialize(self, producer: Producer) -> None:
        self._producer = producer

    @authenticated
    async def post(self, task_id: str) -> None:
        """Cancel a generation, at Replicate if it runs."""
        if self.application.options.read_only:
            raise HTTPError(403, "Read only mode is enabled")
        if await _aside(cancel, self._producer.app, self._producer.jobs, task_id):
            self.write({"message": f"Canceled '{task_id}'"})
        else:
            self.write({"message": f"'{task_id}' is over, or unknown"})


def routes(producer: Producer, thumbnails: Thumbnails) -> list[URLSpec]:
    """The routes in front of Flower's own."""
    fleet = Fleet(producer)
    return [
        URLSpec(r"/replibatch", FleetPage, name="replibatch"),
        URLSpec(r"/replibatch/fleet\.json", FleetFigures, {"fleet": fleet}, name="replibatch-figures"),
        URLSpec(PICTURE, Picture, {"fleet": fleet, "thumbnails": thumbnails}),
        URLSpec(
            r"/replibatch/static/([a-z]+\.[a-z]+)",
            StaticFileHandler,
            {"path": str(PAGE / "static")},
            name="replibatch-static",
        ),
        URLSpec(r"/api/task/revoke/(.+)", RevokeCancels, {"producer": producer}),
        URLSpec(r"/metrics", FleetMetrics),
    ]
