"""The package `workers` of this installation, whatever `workers` the working directory may hold."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import replibatch
from replibatch.errors import SettingsError


def own_workers(module: str) -> Any:
    """A module of our own `workers`, as `app` or `flower_page.run`.

    Raises:
        SettingsError: the package is not installed.
    """
    home = Path(replibatch.__file__).parent.parent / "workers"
    spec = spec_from_file_location("workers", home / "__init__.py", submodule_search_locations=[str(home)])
    if spec is None or spec.loader is None or not home.is_dir():
        raise SettingsError(f"the package `workers` is missing from {home.parent}; install replibatch again")
    package = sys.modules["workers"] = module_from_spec(spec)
    spec.loader.exec_module(package)
    return import_module(f"workers.{module}")
