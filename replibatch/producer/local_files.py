"""Requests that may name no file of this machine: web users', and all where `REPLIBATCH_LOCAL_FILES` is false."""

from __future__ import annotations

import re

from replibatch.catalog import Catalog
from replibatch.errors import ReferenceImageError
from replibatch.request_checks import texts_in
from replibatch.requests import BatchRequest
from replibatch.routing.files import takes_files
from replibatch.routing.references import shown
from replibatch.steps import output_of

_ADDRESS = re.compile(r"https?://|data:", re.IGNORECASE)
ADDRESSES = "an http(s) address or a data URI"


def refuse_local_files(request: BatchRequest, catalog: Catalog) -> None:
    """Refuse any value that could be a path, without checking whether it exists: that, too, is private.

    Raises:
        ReferenceImageError: naming the input.
    """
    model = catalog.get(request.model_name)
    for name, value in (request.kwargs or {}).items():
        spec = model.inputs.get(name)
        if not (takes_files(name, spec) or takes_files(name, None)):
            continue
        for text in texts_in(value):
            is_plain = text is None or isinstance(text, bool | int | float) or output_of(text)
            if not is_plain and not (isinstance(text, str) and _ADDRESS.match(text)):
                raise ReferenceImageError(f"{name} is {shown(str(text)[:200])!r}; expected: {ADDRESSES}")
