"""From an output to files in their places, over real HTTP."""

import base64
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from replibatch.errors import NoOutput, NotSaved, OutputErased
from replibatch.outputs.download import Downloader
from replibatch.outputs.save import save
from replibatch.requests import OutputFile
from replibatch.storage.folder import Folder
from tests.support.file_server import FileServer, content, parts_of, status

MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isommp42" + bytes(4096)


def image(format_: str, colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(buffer, format_)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture(scope="module")
def downloader(server: FileServer) -> Iterator[Downloader]:
    downloader = Downloader(server.url, None, pause_seconds=0.001)
    yield downloader
    downloader.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "storage"


class Saver:
    """`save` with everything but the output and its key."""

    def __init__(self, root: Path, downloader: Downloader) -> None:
        self._storage = Folder(root)
        self._downloader = downloader

    def __call__(self, output: object, key: str) -> tuple[tuple[OutputFile, ...], tuple[str, ...]]:
        return save(output, key=key, storage=self._storage, downloader=self._downloader)


@pytest.fixture
def saver(root: Path, downloader: Downloader) -> Saver:
    return Saver(root, downloader)


def everything_under(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_file_of_the_promised_format_is_kept_byte_for_byte(saver: Saver, server: FileServer, root: Path) -> None:
    webp = image("WEBP")
    url = server.serve("/out.webp", content(webp))
    files, warnings = saver(url, "a/fox.webp")
    assert files == (OutputFile("a/fox.webp", url, hashlib.sha256(webp).hexdigest(), len(webp)),)
    assert warnings == ()
    assert everything_under(root) == {"a/fox.webp": webp}


@pytest.mark.parametrize(("name", "format_"), [("fox.jpg", "JPEG"), ("fox.JPEG", "JPEG"), ("fox.png", "PNG")])
def test_a_still_of_another_format_becomes_what_its_name_says(
    saver: Saver, server: FileServer, root: Path, name: str, format_: str
) -> None:
    files, warnings = saver(server.serve("/out.webp", content(image("WEBP"))), name)
    written = (root / name).read_bytes()
    with Image.open(io.BytesIO(written)) as made:
        assert made.format == format_
    assert (files[0].sha256, files[0].size_bytes) == (hashlib.sha256(written).hexdigest(), len(written))
    assert warnings == ()
    assert list(everything_under(root)) == [name]


@pytest.mark.parametrize(
    ("body", "name", "kind"),
    [
        (MP4, "fox.jpg", "MP4"),
        (image("PNG"), "clip.mp4", "PNG"),
        (b"<svg></svg>", "fox.png", "SVG"),
        (image("PNG"), "fox.heic", "PNG"),
    ],
)
def test_what_cannot_be_converted_is_kept_with_a_warning(
    saver: Saver, server: FileServer, root: Path, body: bytes, name: str, kind: str
) -> None:
    _, warnings = saver(server.serve("/out", content(body)), name)
    assert everything_under(root) == {name: body}
    assert warnings == (f"{name}: the output is {kind}, kept as it is",)


def test_an_animation_is_kept_and_the_reason_said(saver: Saver, root: Path) -> None:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    uri = "data:image/gif;base64," + base64.b64encode(buffer.getvalue()).decode()
    files, warnings = saver(uri, "fox.png")
    assert everything_under(root) == {"fox.png": buffer.getvalue()}
    assert warnings == ("fox.png: the output is GIF, kept as it is: it is animated",)
    assert files[0].sha256 == hashlib.sha256(buffer.getvalue()).hexdigest()


def test_a_name_without_an_extension_takes_anything(saver: Saver, server: FileServer, root: Path) -> None:
    _, warnings = saver(server.serve("/out.mp4", content(MP4)), "clip")
    assert everything_under(root) == {"clip": MP4}
    assert warnings == ()


def test_several_outputs_are_numbered_in_order(saver: Saver, server: FileServer, root: Path) -> None:
    colours = ["red", "green", "blue"]
    output = [server.serve(f"/{colour}.png", content(image("PNG", colour))) for colour in colours]
    files, _ = saver(output, "a/fox.png")
    assert [file.path for file in files] == ["a/fox_1.png", "a/fox_2.png", "a/fox_3.png"]
    assert [file.url for file in files] == output
    assert [everything_under(root)[file.path] for file in files] == [image("PNG", colour) for colour in colours]


def test_data_uris_and_texts_are_saved_without_an_address(saver: Saver, root: Path) -> None:
    png = image("PNG")
    files, warnings = saver("data:image/png;base64," + base64.b64encode(png).decode(), "fox.png")
    assert everything_under(root) == {"fox.png": png}
    assert files[0].url is None
    assert warnings == ()
    files, warnings = saver(["Ein ", "Füchslein", "\ud800"], "story.txt")
    assert (root / "story.txt").read_text() == "Ein Füchslein?"
    assert warnings == ()
    assert saver("no fox", "fox.png")[1] == ("fox.png: the output is text, kept as it is",)


def test_a_failure_leaves_nothing_of_any_part(saver: Saver, server: FileServer, root: Path) -> None:
    good = server.serve("/good.png", content(image("PNG")))
    bad = server.serve("/bad.png", status(503))
    with pytest.raises(NotSaved, match=r"/bad\.png answered HTTP 503"):
        saver([good, bad], "fox.png")
    assert everything_under(root) == {}


def test_a_failure_leaves_the_old_file(saver: Saver, server: FileServer, root: Path) -> None:
    saver(server.serve("/old.png", content(image("PNG"))), "fox.png")
    with pytest.raises(NotSaved):
        saver(server.serve("/new.png", parts_of(image("PNG", "blue"), most=20, ranges=False)), "fox.png")
    assert everything_under(root) == {"fox.png": image("PNG")}


def test_a_damaged_image_is_not_saved_under_another_format(saver: Saver, server: FileServer, root: Path) -> None:
    webp = image("WEBP")
    with pytest.raises(NotSaved, match="damaged"):
        saver(server.serve("/out.webp", content(webp[: len(webp) // 2])), "fox.png")
    assert everything_under(root) == {}


def test_twice_makes_the_same_files(saver: Saver, server: FileServer, root: Path) -> None:
    output = [server.serve(f"/{number}.webp", content(image("WEBP", "green"))) for number in range(2)]
    first = saver(output, "fox.jpg")
    before = everything_under(root)
    assert saver(output, "fox.jpg") == first
    assert everything_under(root) == before


@pytest.mark.parametrize("output", [None, [], "", "data:image/png;base64,", "data:image/png;base64,!"])
def test_nothing_to_save_writes_nothing(saver: Saver, root: Path, output: object) -> None:
    with pytest.raises(NoOutput):
        saver(output, "fox.png")
    assert everything_under(root) == {}


def test_an_erased_output_is_said_to_be(saver: Saver, server: FileServer) -> None:
    with pytest.raises(OutputErased):
        saver(server.serve("/gone.png", status(404)), "fox.png")


def test_a_key_that_leaves_the_storage_is_not_saved(saver: Saver, server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(NotSaved, match="outside the folder"):
        saver(server.serve("/fox.png", content(image("PNG"))), "../fox.png")
    assert not (tmp_path / "fox.png").exists()
