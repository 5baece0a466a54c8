"""Names of inputs: equal ones, and near misses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# What the inputs of image and video models are called elsewhere, as `plain` writes it.
ELSEWHERE = {
    "num_inference_steps": ("steps", "step", "numsteps", "inferencesteps", "samplingsteps"),
    "guidance": ("cfg", "cfgscale", "guidancescale"),
    "guidance_scale": ("cfg", "cfgscale", "guidance"),
    "negative_prompt": ("negative", "negprompt", "neg", "negatives"),
    "aspect_ratio": ("ar", "ratio", "aspect"),
    "output_format": ("format", "fileformat", "imageformat"),
    "output_quality": ("quality",),
    "num_outputs": ("numimages", "nimages", "batchsize", "numberofimages", "imagecount"),
    "seed": ("randomseed", "noiseseed", "rngseed"),
    "duration": ("seconds", "length", "durationseconds", "lengthseconds"),
    "prompt_strength": ("denoise", "denoisingstrength"),
    "strength": ("denoise", "denoisingstrength"),
    "model": ("modelname", "modelid", "replicatemodel"),
}

_BETWEEN = re.compile(r"[\s_\-]+")


def plain(name: str) -> str:
    """A name without case, spaces, `-` and `_`: names that are equal so are the same."""
    return _BETWEEN.sub("", unicodedata.normalize("NFKC", name).casefold())


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that a name is nearly: by a slip of the finger, or as other tools call it; None for none."""
    short = plain(name)
    best: tuple[int, str] | None = None
    for candidate in candidates:
        if short in ELSEWHERE.get(candidate, ()):
            return candidate
        other = plain(candidate)
        allowed = 0 if len(other) <= 3 else 1 if len(other) <= 7 else 2
        if abs(len(other) - len(short)) <= allowed and (slips := _slips(short, other)) <= allowed:
            best = min(best or (slips, candidate), (slips, candidate))
    return best[1] if best else None


def _slips(one: str, other: str) -> int:
    """How many letters were left out, added, changed or swapped with their neighbour."""
    earlier: list[int] = []
    above = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        current = [row]
        for column, expected in enumerate(other, 1):
            best = min(above[column] + 1, current[-1] + 1, above[column - 1] + (letter != expected))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == expected:
                best = min(best, earlier[column - 2] + 1)
            current.append(best)
        earlier, above = above, current
    return above[-1]
