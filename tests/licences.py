"""The licences of everything that an installation brings along: python -m tests.licences [EXTRA…].

Follows the requirements of replibatch, with the extras named (none otherwise), through what is installed here. Prints
a table; the exit code is 1 where a licence is not known, or asks for more than its notice of those who pass it on.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What a licence's name has, in a word of it. MPL and LGPL bind the package's own files only.
PERMISSIVE = ("mit", "bsd", "apache", "isc", "psf", "python software foundation", "hpnd", "zlib", "unlicense", "cc0")
WEAK = ("mpl", "mozilla", "lgpl")
BY_HAND = {"replicate": "Apache-2.0"}  # its metadata name none; the file LICENSE that it installs does


def installed(name: str, extras: frozenset[str]) -> dict[str, Distribution]:
    """A package and all that it requires on this machine, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(name, extra) for extra in ("", *extras)]
    while waiting:
        package, extra = waiting.pop()
        if (package, extra) in seen:
            continue
        seen.add((package, extra))
        found[package] = distribution(package)
        for requirement in _required(found[package], extra):
            package = canonicalize_name(requirement.name)
            waiting += [(package, extra) for extra in ("", *requirement.extras)]
    return dict(sorted(found.items()))


def _required(package: Distribution, extra: str) -> Iterator[Requirement]:
    for text in package.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def licence(package: Distribution) -> str:
    """As the package's metadata say; empty where they say nothing."""
    metadata = package.metadata
    classified = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or () if "License ::" in line]
    told = (metadata.get("License") or "").strip()
    short = told if "\n" not in told and len(told) < 60 else ""
    name = metadata.get("License-Expression") or ", ".join(classified) or short
    return name or BY_HAND.get(canonicalize_name(metadata["Name"]), "")


def is_fine(name: str) -> bool:
    """Whether it asks for no more than its notice, or binds the package's own files only."""
    return re.search(rf"\b(?:{'|'.join((*PERMISSIVE, *WEAK))})", name, re.IGNORECASE) is not None


def main(extras: list[str]) -> int:
    """Print the table; the exit code."""
    try:
        packages = installed("replibatch", frozenset(extras))
    except PackageNotFoundError as error:
        print(f"{error.name} is not installed; expected: pip install -c constraints.txt '.[{','.join(extras)}]'")
        return 1
    doubtful = []
    for name, package in packages.items():
        said = licence(package)
        if not is_fine(said):
            doubtful.append(name)
        print(f"{name:24} {package.version:16} {said or '?'}")
    print(f"{len(packages)} packages; to be looked at: {', '.join(doubtful) or 'none'}")
    return 1 if doubtful else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
