"""Lists of prompts: `.txt`, `.csv` and `.jsonl`, read as a stream.

A list may be longer than memory: what is kept of a line, its id and the name of its output, is kept on disk. Values
of CSV cells and of `-i key=value` stay text; routing reads them as the model's input asks for.
"""

from replibatch.lists.items import ManifestLine, parse_inputs, read, rereadable

__all__ = ["ManifestLine", "parse_inputs", "read", "rereadable"]
