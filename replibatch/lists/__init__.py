"""Lists of prompts: from any source to lines with their place, and from lines to the items of a run.

A list may be longer than memory: ids and names of outputs, which have to be compared, are kept on disk.
Values of CSV cells and of `-i key=value` stay text; routing reads them as the model's input asks for.
"""

from replibatch.lists.items import Asked, Item
from replibatch.lists.lines import Mistake, Mistakes
from replibatch.lists.listing import Listing, Options, opened
from replibatch.lists.prompts import Prompts
from replibatch.lists.read import ReadOptions
from replibatch.lists.understanding import Understanding, Understood

__all__ = [
    "Asked",
    "Item",
    "Listing",
    "Mistake",
    "Mistakes",
    "Options",
    "Prompts",
    "ReadOptions",
    "Understanding",
    "Understood",
    "opened",
]
