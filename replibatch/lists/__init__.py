"""Lists of prompts: any source as lines with their place, what they mean, and the items that become of them.

A list may be longer than memory: what is kept of a line, such as its id and the name of its output, is kept on disk.
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
