"""`.env` in the working directory."""

from __future__ import annotations

from pathlib import Path

from dotenv import dotenv_values

ENV_FILE = Path(".env")  # in the working directory


def of_env_file() -> dict[str, str]:
    """What `.env` in the working directory sets, by variable; letter for letter, without interpolation."""
    if not ENV_FILE.is_file():
        return {}
    values = dotenv_values(ENV_FILE, interpolate=False, encoding="utf-8")
    return {name.upper(): value for name, value in values.items() if value}
