"""Flower's own parts that the page stands on; another version of Flower may move them.

Read in flower 2.0.1 and 2.2.0. Each is used here alone, and `tests/unit/test_internals.py` says which one is gone.
"""

from __future__ import annotations

from typing import Any

import flower.urls
from flower.api.control import ControlHandler
from flower.options import options
from flower.views import BaseHandler
from flower.views.auth import LoginHandler, LogoutHandler
from flower.views.monitor import Metrics
from tornado.template import BaseLoader

__all__ = ["BaseHandler", "ControlHandler", "LoginHandler", "LogoutHandler", "Metrics"]


def template_folder() -> str:
    """The folder of Flower's templates."""
    return str(flower.urls.settings["template_path"])


def routes() -> list[Any]:
    """Flower's routes, as `URLSpec`s and tuples."""
    return list(flower.urls.handlers)


def install(routes: list[Any], templates: BaseLoader, static: type) -> None:
    """Have Flower serve these routes, templates and static files."""
    flower.urls.handlers[:] = routes
    flower.urls.settings["template_loader"] = templates
    flower.urls.settings["static_handler_class"] = static


def option(name: str) -> Any:
    """One of Flower's options by its lower-case name: its `type`, and whether it takes `multiple` values."""
    known = options._options  # no public way to it
    return known.get(name) or known[name.replace("_", "-")]
