"""The settings: environment variables, or a `.env` file in the working directory.

An argument of a call wins over the environment, the environment over `.env`; an empty value is an unset one.

A working directory may come from another person: nothing in its `.env` is interpolated, and an API address from there
never gets a token from the environment.
"""

from replibatch.settings.env_file import ENV_FILE
from replibatch.settings.loading import check, load, taken_from_env_file
from replibatch.settings.model import REPLICATE_URL, Settings

__all__ = ["ENV_FILE", "REPLICATE_URL", "Settings", "check", "load", "taken_from_env_file"]

Settings.__module__ = __name__  # its one name: the files are for readers
