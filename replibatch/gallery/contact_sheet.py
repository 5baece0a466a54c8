"""Contact sheets: all pictures of a batch on a few pages, a row a prompt and a column a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from replibatch.file_formats import STILLS, extension_of
from replibatch.gallery.results_lines import Line
from replibatch.gallery.thumbnails import thumbnail
from replibatch.outputs.images import DAMAGED
from replibatch.storage.atomic import staged

PAGE_PIXELS = (2480, 3508)  # A4 at 300 dots an inch
MARGIN = 120
GAP = 24
LABEL = 76  # pixels beneath a picture
WIDEST = 560  # pixels of a picture, at most
MOST_ACROSS = 8
FLOW_ACROSS = 5
PAPER, INK, QUIET, MATTE = "#ffffff", "#1e1b17", "#6a645b", "#ede8df"
FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "Helvetica.ttc")

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class _Cell:
    """A place on a page: its picture, or why there is none, and its words."""

    picture: Path | None
    label: str
    detail: str


def write_contact_sheets(lines: Iterable[Line], folder: Path, destination: Path, title: str) -> list[Path]:
    """Write the pages; `sheet.jpg`, or `sheet-1.jpg`, `sheet-2.jpg`, … where one is not enough.

    Args:
        lines: the results.
        folder: where the paths of their files start.
        destination: `.jpg` or `.png`; its name is that of the pages.
        title: on top of each page.

    Returns:
        The pages.

    Raises:
        OSError: a page cannot be written.
    """
    rows, across = _rows(list(lines), folder)
    width = min(WIDEST, (PAGE_PIXELS[0] - 2 * MARGIN - GAP * (across - 1)) // across)
    height = round(width * 0.75)
    fitting = max(1, (PAGE_PIXELS[1] - 2 * MARGIN - 120) // (height + LABEL + GAP))
    pages = [rows[at : at + fitting] for at in range(0, len(rows), fitting)] or [[]]
    written = []
    for number, page in enumerate(pages, 1):
        name = destination if len(pages) == 1 else destination.with_stem(f"{destination.stem}-{number}")
        heading = title if len(pages) == 1 else f"{title}   {number} of {len(pages)}"
        _save(_drawn(page, heading, (width, height)), name)
        written.append(name)
    return written


def _rows(lines: list[Line], folder: Path) -> tuple[list[list[_Cell | None]], int]:
    """The cells by row, and how many there are in each: a column a model, where prompts have several."""
    models = list(dict.fromkeys(line.result.model_name for line in lines))
    prompts = list(dict.fromkeys(line.result.prompt or "" for line in lines))
    cells = {(line.result.prompt or "", line.result.model_name) for line in lines}
    if not 1 < len(models) <= MOST_ACROSS or len(cells) < 1.5 * len(prompts) or len(cells) < len(lines):
        flow: list[_Cell | None] = [_cell(line, folder, line.result.model_used or "") for line in lines]
        return [flow[at : at + FLOW_ACROSS] for at in range(0, len(flow), FLOW_ACROSS)], FLOW_ACROSS
    grid: dict[str, list[_Cell | None]] = {prompt: [None] * len(models) for prompt in prompts}
    for line in lines:
        column = models.index(line.result.model_name)
        grid[line.result.prompt or ""][column] = _cell(line, folder, line.result.model_name)
    return list(grid.values()), len(models)


def _cell(line: Line, folder: Path, model: str) -> _Cell:
    result = line.result
    picture = next((folder / each.path for each in result.files if extension_of(each.path) in STILLS), None)
    made = "" if line.state == "succeeded" else f"   {line.state}"
    return _Cell(picture, result.prompt or "", f"{model.rpartition('/')[2]}{made}")


def _drawn(rows: list[list[_Cell | None]], title: str, size: tuple[int, int]) -> Image.Image:
    width, height = size
    bottom = 2 * MARGIN + 120 + len(rows) * (height + LABEL + GAP)
    across = max(map(len, rows), default=1)
    right = max(PAGE_PIXELS[0] // 2, 2 * MARGIN + across * (width + GAP) - GAP)
    page = Image.new("RGB", (right, bottom), PAPER)
    draw = ImageDraw.Draw(page)
    large, small = _font(52), _font(24)
    draw.text((MARGIN, MARGIN), _fitted(draw, title, large, right - 2 * MARGIN), INK, large)
    for row, cells in enumerate(rows):
        top = MARGIN + 120 + row * (height + LABEL + GAP)
        for column, cell in enumerate(cells):
            left = MARGIN + column * (width + GAP)
            if cell:
                _draw_cell(page, draw, cell, (left, top, width, height), small)
    return page


def _draw_cell(
    page: Image.Image, draw: ImageDraw.ImageDraw, cell: _Cell, place: tuple[int, int, int, int], font: Font
) -> None:
    left, top, width, height = place
    draw.rectangle((left, top, left + width, top + height), MATTE)
    small = _small(cell.picture, max(width, height))
    if small:
        small.thumbnail((width, height))
        page.paste(small, (left + (width - small.width) // 2, top + (height - small.height) // 2))
    draw.text((left, top + height + 8), _fitted(draw, cell.label, font, width), INK, font)
    draw.text((left, top + height + 40), _fitted(draw, cell.detail, font, width), QUIET, font)


def _small(picture: Path | None, longest_edge: int) -> Image.Image | None:
    if picture is None:
        return None
    try:
        return thumbnail(picture, longest_edge)
    except (*DAMAGED, Image.DecompressionBombError):
        return None


def _fitted(draw: ImageDraw.ImageDraw, text: str, font: Font, width: int) -> str:
    """As much of a text as fits on a line, its control characters made visible."""
    line = "".join(each if each.isprintable() else " " for each in text[:400])
    if draw.textlength(line, font) <= width:
        return line
    while line and draw.textlength(f"{line}…", font) > width:
        line = line[: max(0, min(len(line) - 1, round(len(line) * 0.95)))]
    return f"{line}…"


def _font(size: int) -> Font:
    """A font of this machine that has more than Latin letters, or Pillow's own."""
    for name in FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _save(page: Image.Image, path: Path) -> None:
    kind = STILLS[extension_of(path.name)]
    with staged(path) as stage:
        page.save(stage.path, kind.still, quality=90)
        stage.commit()
