"""One rule for every route: who is not logged in reads nothing, the metrics and the style sheets included."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any, cast
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest
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
        except TypeError:  # a password with non-ASCII characters, which Flower cannot compare
            raise HTTPError(401) from None

    def prepare(self) -> Any:
        """Let through who is logged in, and asks from here; send others to the log-in, or away.

        Raises:
            HTTPError: 403, a page of another site asks.
        """
        options = self.application.options
        is_open = not (options.basic_auth or options.auth or options.unix_socket)
        if is_open and not is_own_name(self.request.host):
            raise HTTPError(403, "without a password Flower answers by IP address or localhost alone")
        if self.request.method not in ("GET", "HEAD", "OPTIONS") and not _is_of_this_site(self.request):
            raise HTTPError(403, "asked by a page of another site")
        return self._for_users()

    @authenticated
    def _for_users(self) -> Any:
        return super().prepare()


def is_own_name(host: str) -> bool:
    """Whether a `Host` header names this machine by a name that no outsider could point here.

    Otherwise a page of a site could change its name to 127.0.0.1 and read everything.
    """
    name = (urlsplit(f"//{host}").hostname or "").rstrip(".").lower()
    if name == "localhost" or name in (socket.gethostname().lower(), socket.getfqdn().lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_of_this_site(request: HTTPServerRequest) -> bool:
    """Whether what changes something is asked for by Flower's own pages, or by no browser."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return False
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host


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
