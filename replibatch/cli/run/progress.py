"""Progress on stderr: live where that is a terminal, a line now and then where it is not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from replibatch.cli.formatting import dollars, duration, outcome
from replibatch.cli.run.tally import Tally, is_fallback
from replibatch.jobs.holds import BUDGET
from replibatch.limits import AccountStatus
from replibatch.limits.outages import Outage
from replibatch.requests import BatchResult

LOOK_SECONDS = 1.0
LINE_SECONDS = 15.0  # between two lines where there is no terminal
FRAMES_PER_SECOND = 5
LARGEST_WIDTH = 110


class LiveProgress:
    """Shows a tally until the `with` block ends.

    Args:
        tally: counted elsewhere.
        look: the account's state, and why the batch is held; asked once a second in a thread of its own.
        console: from `stderr()`.
    """

    def __init__(self, tally: Tally, look: Callable[[], tuple[AccountStatus, str]], console: Console) -> None:
        self.tally = tally
        self.note = ""  # what goes on beside the counts, such as a pause
        self._look = look
        self._console = console
        self._seen: tuple[AccountStatus, str] | None = None
        self._outages: dict[str, Outage] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._picture,
                console=self._console,
                refresh_per_second=FRAMES_PER_SECOND,
                transient=True,
                redirect_stdout=False,
            )
            self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._live:
            self._live.stop()
        self._thread.join(LOOK_SECONDS)

    def say(self, line: str) -> None:
        """A line above the picture; rich's markup."""
        self._console.print(line, no_wrap=True, overflow="ellipsis", soft_wrap=self._live is None)

    def tell(self, result: BatchResult) -> None:
        """A line about one result."""
        self.say(item(result, self._console))

    def _watch(self) -> None:
        looks = 0
        while not self._ended.wait(LOOK_SECONDS if looks else 0):
            looks += 1
            try:
                self._seen = self._look()
            except Exception:  # noqa: BLE001  # what waits for the results finds out, and says so
                self._seen = None
            self._say_outages()
            if self._live is None and looks % LINE_SECONDS == 0:
                self.say("  ".join((self._counts(), *filter(None, (self._pace(), self._standing())))))

    def _say_outages(self) -> None:
        """A line when something that everything waits for is out, and when it works again."""
        if not self._seen:
            return
        now = {outage.name: outage for outage in self._seen[0].outages}
        for name in now.keys() - self._outages.keys():
            what, to_go_on = escape(str(now[name])), escape(now[name].to_go_on)
            self._console.print(f"[yellow]{what}[/]\n  {to_go_on}", soft_wrap=self._live is None)  # uncut
        for name in self._outages.keys() - now.keys():
            self.say(f"[yellow]over: {escape(self._outages[name].what)}[/]")
        self._outages = now

    def _picture(self) -> RenderableType:
        """What the terminal shows: a bar, the pace, the account; exceptional outcomes only if there are any."""
        tally = self.tally
        width = min(self._console.width, LARGEST_WIDTH)
        top = Table.grid(padding=(0, 2), expand=False)
        share = tally.done / tally.total if tally.total else 1.0
        bar = ProgressBar(total=max(1, tally.total), completed=tally.done, width=max(10, width - 44))
        left = tally.seconds_left()
        top.add_row(
            bar,
            Text(f"{tally.done:,}/{tally.total:,}", style="bold"),
            Text(f"{share:4.0%}"),
            Text(f"{duration(left)} left" if left is not None and tally.done < tally.total else "", style="dim"),
        )
        lines = [Text("  ".join(filter(None, (self._pace(), self._standing()))), style="dim")]
        if special := self._special():
            lines.append(Text.from_markup(special))
        if self.note:
            lines.append(Text(self.note, style="yellow"))
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(Text(), top, *lines)

    def _counts(self) -> str:
        special = self._special()
        return f"{self.tally.done:,}/{self.tally.total:,} done" + (f" ({special})" if special else "")

    def _special(self) -> str:
        tally = self.tally
        counts = (
            (tally.fallbacks, "by a fallback", "cyan"),
            (tally.placeholders, "placeholder" if tally.placeholders == 1 else "placeholders", "yellow"),
            (tally.failed, "failed", "red"),
            (tally.canceled, "canceled", "red"),
        )
        return "  ".join(f"[{style}]{number:,} {name}[/]" for number, name, style in counts if number)

    def _pace(self) -> str:
        rate = self.tally.per_minute()
        return "  ".join(filter(None, (f"{rate:,.0f} a minute" if rate else "", dollars(self.tally.cost_usd))))

    def _standing(self) -> str:
        if not self._seen:
            return ""
        now, held = self._seen
        flight = f"in flight {now.in_flight} of {now.max_concurrent}"
        waits = waiting_for(now, held)
        return f"{flight}  {waits}" if waits else flight


def waiting_for(now: AccountStatus, held: str = "") -> str:
    """What keeps the next prediction from starting, if something does and something waits."""
    if now.stop or held == BUDGET:
        return f"stopped: {now.stop}" if now.stop else "the budget is used up"
    if now.outages:
        return "; ".join(outage.what for outage in now.outages)
    if now.cooling_down_seconds:
        return f"Replicate asks for a pause: {duration(now.cooling_down_seconds)}"
    return _line_of(now)


def _line_of(now: AccountStatus) -> str:
    """The limit that the line waits for; empty where nothing waits."""
    if not now.waiting:
        return ""
    if now.in_window >= now.per_window:
        return f"{now.waiting:,} wait for the window ({now.in_window} of {now.per_window} used)"
    if now.in_flight + now.creating >= now.max_concurrent:
        return f"{now.waiting:,} wait for a slot"
    return f"{now.waiting:,} wait"


def item(result: BatchResult, console: Console) -> str:
    """A result on one line, in rich's markup: mark, time, cost, how, prompt."""
    fancy = console.encoding.lower().startswith("utf")
    if result.success:
        style, mark = ("cyan", "↪" if fancy else ">") if is_fallback(result) else ("green", "✓" if fancy else "+")
    else:
        style, mark = ("yellow", "■" if fancy else "#") if result.placeholder else ("red", "✗" if fancy else "x")
    prompt = " ".join(result.prompt.split())
    prompt = prompt if len(prompt) <= 48 else f"{prompt[:47]}{'…' if fancy else '~'}"
    seconds = duration(result.duration)
    figures = f"[dim]{seconds:>8} {dollars(result.cost_usd):>7}[/]"
    return f"[{style}]{mark}[/] {figures}  {escape(f'{prompt:<48}')}  {escape(outcome(result))}"
