"""The gallery of a run: written now and then beside the run itself, and once more at its end."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from replibatch.cli.run.folder import OutputFolder
from replibatch.gallery.page import write_gallery

PAUSE_SECONDS = 10.0  # between two pages, at least
SHARE = 0.05  # of the time, at most, goes into pages; thumbnails are made once, and go on at half speed


class GalleryWriter:
    """Writes the page of a run in a thread of its own, so that following the run waits for no picture.

    Args:
        folder: of the run.
        title: of the page.
    """

    def __init__(self, folder: OutputFolder, title: str) -> None:
        self._folder = folder
        self._title = title
        self._changed = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep_current, name="gallery", daemon=True)

    def changed(self) -> None:
        """There is a result that the page does not have yet."""
        self._changed = True
        if self._thread.ident is None:
            self._thread.start()

    def finish(self) -> None:
        """Write the last page, if there is anything new; returns when it is there."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._changed or not self._folder.gallery_is_current():
            write_gallery(self._folder.results, self._folder.gallery, self._title)

    def _keep_current(self) -> None:
        pause = PAUSE_SECONDS
        while not self._ending.wait(pause):
            began = time.monotonic()
            with suppress(OSError):  # the last page says so, if it still fails then
                write_gallery(self._folder.results, self._folder.gallery, self._title, keep_going=self._at_half_speed)
            pause = max(PAUSE_SECONDS, min((time.monotonic() - began) / SHARE, PAUSE_SECONDS * 12))

    def _at_half_speed(self) -> bool:
        """Whether to make another thumbnail, after a pause as long as one takes."""
        return not self._ending.wait(0.03)
