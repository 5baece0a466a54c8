"""What made a file is written into it without touching the picture, and read back; Content Credentials stay whole."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from replibatch.file_formats import JPEG, PNG, WEBP
from replibatch.outputs import embedded
from replibatch.outputs.embedded import NotEmbedded
from replibatch.outputs.images import convert
from replibatch.outputs.provenance import Provenance, embed, read

REQUEST = {"prompt": 'a <red> fox & "co"\n\x07 雪 ]]>', "seed": 7, "guidance": 3.0, "sizes": [1, {"a": None}]}
MADE = Provenance("owner/model", "p1", REQUEST, cost_usd=0.025)
ALREADY = (
    b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="uuid:1" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:format>image/x</dc:format></rdf:Description></rdf:RDF>'
    b"</x:xmpmeta>"
)
STILLS = ("jpg", "png", "webp", "lossless.webp", "alpha.webp", "exif.jpg", "animated.webp")


def still(folder: Path, name: str) -> Path:
    path = folder / name
    image = Image.effect_mandelbrot((61, 40), (-2, -1, 1, 1), 40).convert("RGB")
    options: dict[str, object] = {}
    if name == "lossless.webp":
        options["lossless"] = True
    elif name == "alpha.webp":
        image.putalpha(100)
        options["lossless"] = True
    elif name == "exif.jpg":
        exif = Image.Exif()
        exif[0x010E] = "a description"
        options["exif"] = exif
    elif name == "animated.webp":
        options.update(save_all=True, append_images=[image.rotate(90)])
    image.save(path if "." in name else path.with_suffix(f".{name}"), **options)
    return path if "." in name else path.with_suffix(f".{name}")


def mp4(folder: Path, *more: bytes) -> Path:
    boxes = [b"ftypisom\0\0\2\0isomiso2", b"moov" + bytes(40), b"mdat" + b"picture" * 40, *more]
    path = folder / "clip.mp4"
    path.write_bytes(b"".join(struct.pack(">I", len(box) + 4) + box for box in boxes))
    return path


@pytest.mark.parametrize("name", STILLS)
def test_what_is_written_is_read_back_and_the_picture_is_the_same(tmp_path: Path, name: str) -> None:
    source = still(tmp_path, name)
    told = tmp_path / f"told-{source.name}"
    embed(source, told, MADE)
    found = read(told)
    assert found is not None
    assert (found.model, found.prediction_id, found.request, found.cost_usd) == ("owner/model", "p1", REQUEST, 0.025)
    with Image.open(source) as before, Image.open(told) as after:
        assert before.tobytes() == after.tobytes()
        assert (before.mode, before.size, getattr(before, "n_frames", 1)) == (
            after.mode,
            after.size,
            getattr(after, "n_frames", 1),
        )
        assert dict(before.getexif()) == dict(after.getexif())
        elements = {
            each.tag.partition("}")[2]: each.text for each in ElementTree.fromstring(after.info["xmp"]).iter()
        }
        assert str(elements["DigitalSourceType"]).endswith("/trainedAlgorithmicMedia")  # where Pillow finds XMP too
        assert elements["AISystemUsed"] == "owner/model"


@pytest.mark.parametrize("name", STILLS)
def test_written_twice_it_is_there_once_and_the_newest_is_read(tmp_path: Path, name: str) -> None:
    source = still(tmp_path, name)
    once, twice = tmp_path / f"1-{source.name}", tmp_path / f"2-{source.name}"
    embedded.write(source, once, ALREADY)
    embed(once, twice, MADE)
    packet = embedded.read(twice).packet
    assert packet is not None
    assert packet.count(b"dc:format") == 2  # the beginning and the end of the one that was there
    assert twice.read_bytes().count(b"<dc:format>") == 1
    assert packet.count(b'about="uuid:1"') == 2
    assert read(twice) is not None


def test_a_video_carries_it_at_its_end(tmp_path: Path) -> None:
    clip = mp4(tmp_path)
    embed(clip, tmp_path / "told.mp4", MADE)
    assert (tmp_path / "told.mp4").read_bytes().startswith(clip.read_bytes())
    found = read(tmp_path / "told.mp4")
    assert found and found.request == REQUEST


def test_made_from_pictures(tmp_path: Path) -> None:
    embed(still(tmp_path, "jpg"), tmp_path / "told.jpg", Provenance("m", "p", from_pictures=True))
    assert b"compositeWithTrainedAlgorithmicMedia" in (tmp_path / "told.jpg").read_bytes()
    assert b"replibatch:Request" not in (tmp_path / "told.jpg").read_bytes()


def with_credentials(folder: Path, kind: str) -> Path:
    """A file with a C2PA block, in the place that its format has for one."""
    manifest = b"\0\0\0\x20jumb\0\0\0\x18jumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71" + bytes(20)
    if kind == "mp4":
        return mp4(folder, b"uuid" + bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + manifest)
    source = still(folder, kind)
    content = source.read_bytes()
    if kind == "jpg":
        segment = b"JP\0\1\0\0\0\1" + manifest
        content = content[:2] + b"\xff\xeb" + struct.pack(">H", len(segment) + 2) + segment + content[2:]
    elif kind == "png":
        chunk = b"caBX" + manifest
        at = 33
        whole = struct.pack(">I", len(manifest)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        content = content[:at] + whole + content[at:]
    else:
        chunk = b"C2PA" + struct.pack("<I", len(manifest)) + manifest + b"\0" * (len(manifest) % 2)
        content = content[:4] + struct.pack("<I", len(content) - 8 + len(chunk)) + content[8:] + chunk
    source.write_bytes(content)
    return source


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "mp4"])
def test_a_file_with_content_credentials_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    source = with_credentials(tmp_path, kind)
    before = source.read_bytes()
    assert embedded.read(source).has_c2pa
    with pytest.raises(NotEmbedded, match="C2PA"):
        embed(source, tmp_path / "told", MADE)
    assert source.read_bytes() == before
    assert not (tmp_path / "told").exists()


def test_credentials_kept_elsewhere_and_named_in_xmp_count_too(tmp_path: Path) -> None:
    remote = ALREADY.replace(b"dc:format", b"dcterms:provenance")
    embedded.write(still(tmp_path, "jpg"), tmp_path / "remote.jpg", remote)
    with pytest.raises(NotEmbedded, match="C2PA"):
        embed(tmp_path / "remote.jpg", tmp_path / "told.jpg", MADE)


@pytest.mark.parametrize(("name", "target"), [("png", WEBP), ("webp", JPEG), ("jpg", PNG)])
def test_a_conversion_keeps_xmp(tmp_path: Path, name: str, target: object) -> None:
    embedded.write(still(tmp_path, name), tmp_path / f"x.{name}", ALREADY)
    assert convert(tmp_path / f"x.{name}", tmp_path / "converted", target) == []
    assert embedded.read(tmp_path / "converted").packet == ALREADY


def test_a_conversion_says_what_it_could_not_keep(tmp_path: Path) -> None:
    source = with_credentials(tmp_path, "png")
    assert convert(source, tmp_path / "converted", JPEG) == ["Content Credentials (C2PA)"]
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_text("parameters", "steps: 20")
    Image.new("RGB", (9, 9)).save(tmp_path / "texts.png", pnginfo=texts)
    assert convert(tmp_path / "texts.png", tmp_path / "texts.jpg", JPEG) == ["text 'parameters'"]


@pytest.mark.parametrize("cut", [5, 13, 40, 200])
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "mp4"])
def test_a_file_that_ends_early_is_no_crash(tmp_path: Path, kind: str, cut: int) -> None:
    source = mp4(tmp_path) if kind == "mp4" else still(tmp_path, kind)
    source.write_bytes(source.read_bytes()[:cut])
    assert read(source) is None
    with pytest.raises(NotEmbedded):
        embed(source, tmp_path / "told", MADE)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"<x",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b"\xff\xfe<\0",
        ALREADY.replace(b"<dc:format>image/x</dc:format>", b'<r:Model xmlns:r="urn:replibatch:provenance:1#"/>'),
        ALREADY.replace(
            b"<dc:format>image/x</dc:format>",
            b'<r:Model xmlns:r="urn:replibatch:provenance:1#">m</r:Model>'
            b'<r:Request xmlns:r="urn:replibatch:provenance:1#">[1]</r:Request>',
        ),
    ],
)
def test_what_others_wrote_is_no_more_than_text(tmp_path: Path, packet: bytes) -> None:
    embedded.write(still(tmp_path, "jpg"), tmp_path / "odd.jpg", packet)
    assert read(tmp_path / "odd.jpg") is None


def test_what_is_too_long_for_a_jpeg_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotEmbedded, match="more than a JPEG takes"):
        embed(still(tmp_path, "jpg"), tmp_path / "told.jpg", Provenance("m", "p", {"prompt": "x" * 70_000}))
