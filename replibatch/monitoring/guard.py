"""One rule for every route: who is not logged in reads nothing, the metrics and the style sheets included."""

from __future__ import annotations

from typing import Any, cast

from tornado.routing import URLSpec
from tornado.web import HTTPError, RequestHandler, StaticFileHandler, authenticated

from replibatch.monitoring.flower_internals import BaseHandler, LoginHandler, LogoutHandler


class Guard(BaseHandler):
    """Asks for the user before anything else of a handler runs."""

    def get_current_user(self) -> Any:
        """The user, as Flower finds it.

        Raises:
            HTTPError: 401, wrong or no password.
        """
        try:
            return super().get_current_user()
        except TypeError:  # a password of other than ASCII signs, which Flower cannot compare
            raise HTTPError(401) from None

    @authenticated
    def prepare(self) -> Any:
        """Let through who is logged in; send others to the log-in, or away."""
        return super().prepare()


class GuardedStatic(Guard, StaticFileHandler):
    """Style sheets, scripts and pictures of Flower, or of the page."""

    def set_default_headers(self) -> None:
        """As for every other answer."""
        Guard.set_default_headers(self)


def guarded(handlers: list[Any]) -> list[URLSpec]:
    """The same routes, each with the guard in front; the log-in itself stays open.

    Args:
        handlers: Flower's way of listing them: `URLSpec`s, and tuples of pattern, handler and arguments.
    """
    return [_guarded(each if isinstance(each, URLSpec) else URLSpec(*each)) for each in handlers]


def _guarded(route: URLSpec) -> URLSpec:
    handler = cast("type[RequestHandler]", route.handler_class)
    if issubclass(handler, StaticFileHandler):
        handler = GuardedStatic
    elif not issubclass(handler, Guard | LoginHandler | LogoutHandler):
        handler = type(handler.__name__, (Guard, handler), {})
    return URLSpec(route.regex.pattern, handler, route.kwargs, route.name)
