"""Every public name has an example on its page, and every example runs: on a fake account, in a folder of its own."""

from __future__ import annotations

import asyncio
import re
import textwrap
import time
from pathlib import Path

import pytest

import replibatch
from docs.examples_of_names import EXAMPLES
from replibatch.testing import Fake
from replibatch.webhooks import sign

FENCE = re.compile(r"Example:\n\s+```python\n(.*?)```", re.DOTALL)


def example_of(name: str) -> str:
    """The code, from the docstring or from the table."""
    found = FENCE.search(getattr(replibatch, name).__doc__ or "")
    return textwrap.dedent(" " * 8 + found[1].lstrip()) if found else EXAMPLES.get(name, "")


@pytest.mark.parametrize("name", replibatch.__all__)
def test_its_example_runs(name: str, replibatch_fake: Fake) -> None:
    code = example_of(name)
    assert code, f"{name} has no example"
    names = {each: getattr(replibatch, each) for each in replibatch.__all__}
    exec(code, {**names, "asyncio": asyncio, "time": time, "sign": sign})
    assert list(Path().glob("*.webp")) == [], "outputs stay in the test's own folder"


def test_no_example_is_left_of_a_name_that_is_gone() -> None:
    assert EXAMPLES.keys() <= set(replibatch.__all__)
