"""Every shape of an output becomes the parts that are to be saved, or says that there is nothing."""

import base64

import pytest

from replibatch.data_uris import CHUNK_CHARACTERS
from replibatch.errors import NoOutput
from replibatch.outputs.shapes import DataPart, TextPart, UrlPart, parts

A, B = "https://replicate.delivery/a.webp", "http://127.0.0.1:8000/b.png"
RED = "data:image/gif;base64,R0lGODdhAQABAIAAAP8AAAAAACwAAAAAAQABAAACAkQBADs="


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (A, [UrlPart(A)]),
        (f" {A}\n", [UrlPart(A)]),
        ([A, B], [UrlPart(A), UrlPart(B)]),
        ([[A], [None, B]], [UrlPart(A), UrlPart(B)]),
        (RED, [DataPart(RED)]),
        ([RED, A], [DataPart(RED), UrlPart(A)]),
        ({"image": A, "mask": {"url": B}, "seed": 7, "note": "fine"}, [UrlPart(A), UrlPart(B)]),
        ([{"file": A}, {"file": B}], [UrlPart(A), UrlPart(B)]),
        ("a fox", [TextPart("a fox")]),
        (["A", " red", "", " fox"], [TextPart("A red fox")]),
        (f"see {A} for more", [TextPart(f"see {A} for more")]),
        ("https://", [TextPart("https://")]),
        ("https://[half", [TextPart("https://[half")]),
        ("data: five, six", [TextPart("data: five, six")]),
        (42, [TextPart("42")]),
        (0, [TextPart("0")]),
        (False, [TextPart("false")]),
        ([1, 2], [TextPart("[\n  1,\n  2\n]")]),
        ({"caption": "ein Füchslein"}, [TextPart('{\n  "caption": "ein Füchslein"\n}')]),
    ],
)
def test_parts(output: object, expected: list[object]) -> None:
    assert parts(output).found == expected


@pytest.mark.parametrize("output", [None, "", "  \n", [], [None, ""], {}, {"image": None}, [[], {}]])
def test_nothing_to_save_is_said(output: object) -> None:
    with pytest.raises(NoOutput, match="its output is"):
        parts(output)


def decoded(uri: str) -> bytes:
    return b"".join(DataPart(uri).chunks())


def test_data_uris_are_decoded() -> None:
    assert decoded(RED).startswith(b"GIF87a")
    assert decoded("data:,a%20fox") == b"a fox"
    assert decoded("data:text/plain;charset=utf-8;base64,Zm\r\n94") == b"fox"
    assert decoded("data:;base64,Zm94eA") == b"foxx", "padding may be missing"
    assert decoded("data:;base64,Zm94eA%3D%3D") == b"foxx", "or percent-encoded"
    assert decoded("data:;base64,-_-_") == decoded("data:;base64,+/+/"), "or in the alphabet for addresses"


def test_a_long_data_uri_is_decoded_in_pieces() -> None:
    content = bytes(range(256)) * 4096
    pieces = list(DataPart("data:image/png;base64," + base64.b64encode(content).decode()).chunks())
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= CHUNK_CHARACTERS


@pytest.mark.parametrize("payload", ["Zm9!", "Z", "Zm9\N{SNOWMAN}", "Zm=9"])
def test_a_malformed_data_uri_is_no_output(payload: str) -> None:
    with pytest.raises(NoOutput, match="malformed"):
        decoded(f"data:image/png;base64,{payload}")


def test_a_list_with_gaps_keeps_the_places_of_its_files() -> None:
    made = parts(["https://a.b/0.png", None, None, "https://a.b/3.png"])
    assert (len(made.found), made.places, made.count) == (2, [0, 3], 4)
    whole = parts(["https://a.b/0.png", "https://a.b/1.png"])
    assert (whole.places, whole.count) == ([0, 1], 2)
    one = parts({"file": "https://a.b/0.glb", "note": None})
    assert (one.places, one.count) == ([0], 1)
