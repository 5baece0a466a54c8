"""Files are what their bytes say; still images take the format of their name; the black image stands in."""

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from replibatch import file_formats as formats
from replibatch.errors import NotSaved
from replibatch.file_formats import agrees, recognise
from replibatch.outputs import pixels as limits
from replibatch.outputs.images import NotConverted, convert
from replibatch.outputs.placeholder import placeholder

STILLS = [formats.JPEG, formats.PNG, formats.WEBP, formats.GIF, formats.AVIF, formats.BMP, formats.TIFF]


def picture(path: Path, format_: formats.Format, mode: str = "RGB", **options: object) -> Path:
    Image.linear_gradient("L").resize((64, 48)).convert(mode).save(path, format_.still, **options)
    return path


@pytest.mark.parametrize("format_", STILLS, ids=lambda format_: format_.name)
def test_stills_are_recognised_by_their_bytes(tmp_path: Path, format_: formats.Format) -> None:
    assert recognise(picture(tmp_path / "named.wrongly", format_)) is format_


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\0\0\0\x20ftypisom", formats.MP4),
        (b"\0\0\0\x20ftypqt  ", formats.QUICKTIME),
        (b"\0\0\0\x20ftypheic", formats.HEIC),
        (b"\x1aE\xdf\xa3\x01\0\0\0", formats.WEBM),
        (b"RIFF\0\0\0\0WAVEfmt ", formats.WAV),
        (b"RIFF\0\0\0\0ACON", None),
        (b"BMW makes cars.", formats.TEXT),
        (b"a text", formats.TEXT),
        (b"\xff\xfea\0", None),
        (b"", None),
    ],
)
def test_other_files_are_recognised_or_not(tmp_path: Path, head: bytes, expected: formats.Format | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(head)
    assert recognise(path) is expected


def test_a_name_agrees_with_what_it_promises() -> None:
    assert agrees("fox.jpg", formats.JPEG)
    assert agrees("fox.JPEG", formats.JPEG)
    assert agrees("fox", formats.WEBP)
    assert agrees("clip.m4v", formats.MP4)
    assert not agrees("fox.jpg", formats.WEBP)
    assert not agrees("fox.png", None)
    assert not agrees("fox.txt", formats.PNG)


@pytest.mark.parametrize("target", STILLS, ids=lambda format_: format_.name)
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_still_converts_to_every_other(tmp_path: Path, target: formats.Format, mode: str) -> None:
    source = tmp_path / "source"
    Image.new(mode, (64, 48), 1).save(source, formats.PNG.still)
    convert(source, tmp_path / "converted", target)
    assert recognise(tmp_path / "converted") is target
    with Image.open(tmp_path / "converted") as image:
        assert image.size == (64, 48)


def test_transparency_becomes_white_in_a_jpeg(tmp_path: Path) -> None:
    Image.new("RGBA", (32, 32), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    convert(tmp_path / "clear.png", tmp_path / "clear.jpg", formats.JPEG)
    with Image.open(tmp_path / "clear.jpg") as image:
        assert min(image.getpixel((16, 16))) > 250


def test_transparency_is_kept_where_the_format_has_it(tmp_path: Path) -> None:
    Image.new("RGBA", (32, 32), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    convert(tmp_path / "clear.png", tmp_path / "clear.webp", formats.WEBP)
    with Image.open(tmp_path / "clear.webp") as image:
        assert image.mode == "RGBA"
        assert image.getpixel((16, 16))[3] == 0


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    Image.new("I;16", (32, 32), 0x8000).save(tmp_path / "depth.png")
    convert(tmp_path / "depth.png", tmp_path / "depth.jpg", formats.JPEG)
    with Image.open(tmp_path / "depth.jpg") as image:
        assert abs(image.getpixel((16, 16)) - 128) <= 2


def test_exif_and_colour_profile_are_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0131] = "a model"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture(tmp_path / "a.webp", formats.WEBP, exif=exif.tobytes(), icc_profile=profile)
    for target in (formats.JPEG, formats.PNG, formats.AVIF):
        convert(tmp_path / "a.webp", tmp_path / target.name, target)
        with Image.open(tmp_path / target.name) as image:
            assert image.getexif()[0x0131] == "a model"
            assert image.info["icc_profile"] == profile


def test_a_profile_of_inks_does_not_go_on_colours_of_light(tmp_path: Path) -> None:
    picture(tmp_path / "print.jpg", formats.JPEG, "CMYK", icc_profile=b"inks")
    convert(tmp_path / "print.jpg", tmp_path / "print.png", formats.PNG)
    with Image.open(tmp_path / "print.png") as image:
        assert image.mode == "RGB"
        assert "icc_profile" not in image.info


def test_an_animation_stays_as_it_is(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(NotConverted, match="animated"):
        convert(tmp_path / "moving.gif", tmp_path / "moving.png", formats.PNG)


@pytest.mark.parametrize("limit", ["LARGEST_PIXELS", "LARGEST_FILE_BYTES"])
def test_an_image_beyond_the_limit_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    picture(tmp_path / "big.png", formats.PNG)
    monkeypatch.setattr(limits, limit, 50)
    with pytest.raises(NotConverted, match="too many"):
        convert(tmp_path / "big.png", tmp_path / "big.jpg", formats.JPEG)


@pytest.mark.parametrize("format_", STILLS, ids=lambda format_: format_.name)
def test_a_damaged_image_is_not_taken_for_whole(tmp_path: Path, format_: formats.Format) -> None:
    path = picture(tmp_path / "half", format_)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(NotSaved, match="damaged"):
        convert(path, tmp_path / "converted", formats.PNG)


def test_an_image_with_one_wrong_bit_is_not_taken_for_whole(tmp_path: Path) -> None:
    path = picture(tmp_path / "flipped.png", formats.PNG)
    content = bytearray(path.read_bytes())
    content[-17] ^= 1  # in the checksum of its pixels
    path.write_bytes(content)
    with pytest.raises(NotSaved, match="damaged"):
        convert(path, tmp_path / "converted", formats.JPEG)


@pytest.mark.parametrize(
    ("name", "format_"), [("x.jpg", "JPEG"), ("x.JPEG", "JPEG"), ("x.png", "PNG"), ("x.webp", "WEBP"), ("x", "PNG")]
)
def test_the_placeholder_is_a_black_image_of_the_format_asked_for(name: str, format_: str) -> None:
    content = placeholder(name)
    assert content is not None
    with Image.open(BytesIO(content)) as image:
        assert (image.format, image.size) == (format_, (1600, 900))
        assert max(high for _, high in image.convert("RGB").getextrema()) == 0


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "clip.MOV", "story.txt"])
def test_there_is_no_placeholder_for_what_is_no_still_image(name: str) -> None:
    assert placeholder(name) is None


def test_bombs_are_decoded_within_a_budget_of_memory(tmp_path: Path) -> None:
    """In a process of its own, whose peak is measured: many at a time, of sizes at and past the limit."""
    script = (
        "import sys, threading; from pathlib import Path; from PIL import Image\n"
        "from replibatch.file_formats import JPEG; from replibatch.outputs.images import NotConverted, convert\n"
        "folder = Path(sys.argv[1])\n"
        "for name, side in (('a', 4000), ('b', 9380), ('c', 1500)):\n"
        "    Image.new('L', (side, side)).save(folder / f'{name}.png')\n"
        "def one(number, name):\n"
        "    try: convert(folder / f'{name}.png', folder / f'{name}{number}.jpg', JPEG)\n"
        "    except NotConverted as reason: print(name, reason)\n"
        "threads = [threading.Thread(target=one, args=(n, 'abc'[n % 3])) for n in range(9)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        # Of this program alone: `ru_maxrss` has the parent's, too.
        "peak = next(line for line in Path('/proc/self/status').open() if line.startswith('VmHWM'))\n"
        "print(int(peak.split()[1]) // 1024, 'MiB')\n"
    )
    command = [sys.executable, "-P", "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.count("b 9380x9380 pixels are too many") == 3
    assert int(done.stdout.split()[-2]) < 400
