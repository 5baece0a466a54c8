"""The pause before another try, however the machine's clock is set meanwhile."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from replibatch.execution.attempt import Work
from replibatch.execution.context import Running


def test_a_clock_that_is_set_back_makes_no_pause_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    work = cast("Any", Work.__new__(Work))
    work.running = Running("g:1")
    work.context = SimpleNamespace(waiting_room=SimpleNamespace(draining=False))
    began = time.time()
    wall = iter([began])
    monkeypatch.setattr(time, "time", lambda: next(wall, began - 3600.0))
    thread = threading.Thread(target=work.pause, args=(0.1,), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
