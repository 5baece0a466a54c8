"""What tests share: servers, processes, helpers."""

from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent
