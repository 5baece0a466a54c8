"""Flower's templates, ours beside them, and our page in the navigation of both."""

from __future__ import annotations

from pathlib import Path

from flower.urls import settings as flower_settings
from tornado.template import Loader, Template

PAGE = Path(__file__).parent / "page"
NAVIGATION = "navbar.html"
ENTRY = """
        <li class="nav-item">
          <a class="nav-link{% if active_tab == 'replibatch' %} active{% end %}"
            href="{{ reverse_url('replibatch') }}"
            {% if active_tab == 'replibatch' %}aria-current="page"{% end %}>Replibatch</a>
        </li>
"""
LIST_OPENS = '<ul class="app-nav navbar-nav">'  # of the pages; the second list has theme, links and log-out


class Templates(Loader):
    """Looks in the page's folder first; Flower's navigation gets one entry more, in front."""

    def __init__(self) -> None:
        super().__init__(flower_settings["template_path"])

    def _create_template(self, name: str) -> Template:
        own = PAGE / name
        source = own if own.is_file() else Path(self.root) / name
        text = source.read_text("utf-8")
        if name == NAVIGATION:
            before, opening, after = text.partition(LIST_OPENS)
            if not opening:
                raise ValueError(f"Flower's {NAVIGATION} has no {LIST_OPENS!r}: another version than it was made for")
            text = before + opening + ENTRY + after
        return Template(text, name=name, loader=self)
