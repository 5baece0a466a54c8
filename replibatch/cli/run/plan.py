"""The items of a run: those of a list, checked, each with the key by which a later run knows it again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from replibatch import lists
from replibatch.catalog.prices import likely_usd
from replibatch.cli.found_files import name_changes, name_found_files
from replibatch.cli.run.folder import OutputFolder
from replibatch.cli.run.foreign import ForeignFiles
from replibatch.cli.run.made import Made
from replibatch.errors import RequestError
from replibatch.lists import Item, Listing, Mistake, Mistakes, Understanding
from replibatch.producer.published_inputs import load_catalog
from replibatch.settings import Settings

if TYPE_CHECKING:
    from replibatch.producer import Producer

NOT_READABLE_AGAIN = "the list has changed since it was checked; expected: the same command again"


@dataclass
class Survey:
    """The items to be made, counted.

    Attributes:
        understanding: how the list was understood.
        count: items to be made.
        further_steps: of all of them, the first of each apart.
        made: items of the list that an earlier run has made.
        by_model: predictions by the model that is tried first.
        cost_usd: if every item's first attempt succeeds.
        unpriced: items of models without a price, which are not in it.
        work_seconds: of all predictions together, by what their models usually take.
        longest_seconds: of the slowest.
    """

    understanding: Understanding = field(default_factory=Understanding)
    count: int = 0
    further_steps: int = 0
    made: int = 0
    by_model: Counter[str] = field(default_factory=Counter)
    cost_by_model: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    cost_usd: float = 0.0
    unpriced: int = 0
    work_seconds: float = 0.0
    longest_seconds: float = 0.0

    @property
    def predictions(self) -> int:
        """How many are made if every first attempt succeeds: one for each step of each item."""
        return self.count + self.further_steps

    def add(self, item: Item) -> None:
        """Count an item to be made."""
        costs: list[float | None] = []
        seconds = 0.0
        for routed in (item.routed, *(step.routed for step in item.steps)):
            model = routed.model
            costs.append(likely_usd(model, routed.inputs))
            self.by_model[model.name] += 1
            self.cost_by_model[model.name] += costs[-1] or 0.0
            seconds += model.typical_seconds
        self.count += 1
        self.further_steps += len(item.steps)
        self.unpriced += None in costs
        self.cost_usd += sum(cost or 0.0 for cost in costs)
        self.work_seconds += seconds
        self.longest_seconds = max(self.longest_seconds, seconds)

    def seconds(self, *, at_once: int, free_now: int, per_window: int, window_seconds: float) -> float:
        """How long it takes, by the limits.

        Args:
            at_once: predictions in flight at a time.
            free_now: creates that the window has left.
            per_window: creates a window.
            window_seconds: its length.
        """
        windows = max(0, -(-(self.predictions - free_now) // per_window))
        return max(
            self.work_seconds / max(1, min(at_once, self.count)), windows * window_seconds + self.longest_seconds
        )


@dataclass(frozen=True)
class Plan:
    """A list of prompts, to be made into a folder.

    Args:
        listing: the list.
        folder: where the files go.
        fresh: count no result made before.
        overwrite: whether files there that are not the items' own may be replaced.
    """

    listing: Listing
    folder: OutputFolder
    overwrite: bool = False

    def survey(self, made: Container[bytes], producer: Callable[[], Producer] | None = None) -> Survey:
        """Check the whole list and count the items to be made.

        Args:
            made: keys of the items that are made already.
            producer: opens the process's, where only the queue knows of what item a file is.

        Raises:
            ListError: with every mistake by its kind.
            RequestError: there is nothing in it.
        """
        survey = Survey()
        mistakes = Mistakes()
        foreign = None
        if isinstance(made, Made) and not self.overwrite and self.folder.path.exists():
            foreign = ForeignFiles(self.folder, made, producer)
        for each in self.listing.items(self.folder.identity, self.folder.asked_at):
            if isinstance(each, Mistake):
                mistakes.add(each)
                continue
            survey.understanding.add(each)
            if each.key in made:
                survey.made += 1
            elif foreign is not None and (reason := foreign.in_the_way_of(each)):
                mistakes.add(Mistake(each.file, each.number, reason))
            else:
                survey.add(each)
        survey.understanding.files = self.listing.understood
        mistakes.raise_any()
        if not survey.count + survey.made:
            raise RequestError("there is no prompt in the list")
        return survey

    def items(self) -> Iterator[Item]:
        """The items in order, as a stream, of a list that was checked.

        Raises:
            RequestError: it is another list by now.
        """
        for each in self.listing.items(self.folder.identity, self.folder.asked_at):
            if isinstance(each, Mistake):
                raise RequestError(f"{each.file}, line {each.number}: {each.reason} ({NOT_READABLE_AGAIN})")
            yield each


def name_of(files: Sequence[str]) -> str:
    """What a list is called."""
    first = "standard input" if files[0] == "-" else Path(files[0]).name
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more"


@contextmanager
def planned_for(
    settings: Settings,
    files: Sequence[str],
    options: lists.Options,
    output: Path,
    *,
    fresh: bool,
    overwrite: bool = False,
    play: bool = False,
) -> Iterator[tuple[Plan, Made]]:
    """What `run` and `submit` begin with: the plan that their arguments describe, and what was made of it before.

    Both can be read as long as the block lasts. What the working directory has a say in is named on stderr.

    Args:
        settings: say where the catalogue and the storage are.
        files: the list.
        options: how it is read, and which items it makes.
        output: the folder for the files.
        fresh: count no result made before.
        overwrite: whether files there that are not the items' own may be replaced.
        play: whether a stand-in makes the files.

    Raises:
        RequestError, SettingsError: an argument, or the user's catalogue, is malformed.
        OSError: whether a file made before is still there cannot be determined.
    """
    name_found_files(settings)
    models = load_catalog(settings)
    name_changes(models)
    with lists.opened(files, options, models) as listing:
        plan = Plan(listing, OutputFolder(output, settings, play=play), overwrite)
        with plan.folder.made(fresh=fresh) as made:
            yield plan, made
