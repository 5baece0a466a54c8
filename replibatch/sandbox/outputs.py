"""Output files, made when they are first asked for, away from the event loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from replibatch.sandbox import media, movie, pictures
from replibatch.sandbox.predictions import Prediction
from replibatch.sandbox.settings import SandboxSettings

CACHE_BYTES = 64 * 1024 * 1024
THREADS = 2


class Outputs:
    """Makes output files and keeps the latest.

    Args:
        settings: say how large images are.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="sandbox-output")
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._kept_bytes = 0

    async def content(self, prediction: Prediction, name: str) -> bytes:
        """The bytes of one of the prediction's `files`; the same each time."""
        key = prediction.id, name
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        content = await asyncio.get_running_loop().run_in_executor(self._pool, self._make, prediction, name)
        if key not in self._kept:
            self._kept[key] = content
            self._kept_bytes += len(content)
        while self._kept_bytes > CACHE_BYTES:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return content

    def close(self) -> None:
        """Stop making files."""
        self._pool.shutdown(cancel_futures=True)

    def _make(self, prediction: Prediction, name: str) -> bytes:
        number, _, extension = name.partition(".")
        prompt, model, inputs = prediction.prompt, prediction.model_name, prediction.input
        variant = f"{number} {inputs.get('seed', '')}"
        ratio = inputs.get("aspect_ratio", "16:9" if extension == "mp4" else None)
        if extension == "mp4":
            seconds = inputs.get("duration", movie.SECONDS)
            return movie.make(prompt, model, aspect_ratio=ratio, seconds=seconds, variant=variant)
        size = pictures.size_of(ratio, self._settings.long_edge_pixels)
        if make := media.MAKERS.get(extension):
            return make(prompt, model, size)
        return pictures.render(prompt, model, size, extension, variant=variant)
