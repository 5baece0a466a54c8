"""Flower's templates, ours beside them, and our page in the navigation of both."""

from __future__ import annotations

import re
from pathlib import Path

import structlog
from tornado.template import Loader, Template

from replibatch.monitoring import flower_internals

log = structlog.get_logger(__name__)

PAGE = Path(__file__).parent / "page_files"
NAVIGATION = "navbar.html"
ENTRY = """
        <li class="nav-item">
          <a class="nav-link{% if active_tab == 'replibatch' %} active{% end %}"
            href="{{ reverse_url('replibatch') }}"
            {% if active_tab == 'replibatch' %}aria-current="page"{% end %}>Replibatch</a>
        </li>
"""
# The list of the pages; a second list has theme, links and log-out.
LIST_OPENS = re.compile(r"""<ul\b[^>]*\bclass=["'][^"']*\bapp-nav\b[^>]*>""")


class Templates(Loader):
    """Searches the page's folder first, and adds our entry to Flower's navigation.

    Where the navigation has no list that we know, Flower is served without the entry: the page has its address.
    """

    def __init__(self) -> None:
        super().__init__(flower_internals.template_folder())

    def _create_template(self, name: str) -> Template:
        own = PAGE / name
        source = own if own.is_file() else Path(self.root) / name
        text = source.read_text("utf-8")
        if name == NAVIGATION:
            text = with_entry(text)
        return Template(text, name=name, loader=self)


def with_entry(navigation: str) -> str:
    """Flower's navigation with an entry for our page in front; as it is where its list of pages is not found."""
    found = LIST_OPENS.search(navigation)
    if found is None:
        log.warning("Flower's navigation has changed: the page is at /replibatch, without an entry there")
        return navigation
    return navigation[: found.end()] + ENTRY + navigation[found.end() :]
