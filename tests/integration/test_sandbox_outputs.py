"""The stand-in's files: uploads, and outputs that are real images and videos."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from tests.support.catalogue import FLUX, KONTEXT, NANO, VEO
from tests.support.sandbox_caller import Caller


def image(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


# Files


def test_a_file_past_the_limit_is_refused_in_words_whatever_its_size(call: Caller) -> None:
    call.sandbox.settings.max_upload_bytes = 1_000_000
    for size, status in ((1_000_000, 201), (1_000_001, 413), (20_000_000, 413)):
        response = call.http.post("/v1/files", files={"content": ("a.bin", bytes(size))})
        assert response.status_code == status
    assert response.json()["detail"] == "Files must be less than 1MB in size"
    assert len(call.http.get("/v1/files").json()["results"]) == 1


def test_a_file_keeps_its_name_type_and_metadata(call: Caller) -> None:
    upload = {
        "content": ("fox.png", b"png", "image/png"),
        "metadata": (None, '{"job": 7}', "application/json"),
    }
    file = call.http.post("/v1/files", files=upload).json()
    assert call.http.get(f"/v1/files/{file['id']}").json() == file
    assert (file["name"], file["content_type"], file["metadata"]) == ("fox.png", "image/png", {"job": 7})
    assert file["urls"]["get"] == f"{call.sandbox.url}/v1/files/{file['id']}"
    assert call.http.post("/v1/files", files={"other": b"x"}).status_code == 422
    broken = upload | {"metadata": (None, "{", "application/json")}
    assert call.http.post("/v1/files", files=broken).json()["invalid_fields"][0]["field"] == "metadata"


def test_a_prediction_with_a_file_that_is_gone_fails(call: Caller) -> None:
    call.sandbox.settings.keep_files_seconds = 0.0
    url = call.http.post("/v1/files", files={"content": b"png"}).json()["urls"]["get"]
    ended = call.ended("x", NANO, image_input=[url])
    assert ended["status"] == "failed" and url in ended["error"]


# Outputs


@pytest.mark.parametrize(
    ("model", "inputs", "kind", "size"),
    [
        (FLUX, {"aspect_ratio": "16:9"}, "WEBP", (768, 432)),
        (FLUX, {"output_format": "png"}, "PNG", (768, 768)),
        (KONTEXT, {"aspect_ratio": "9:16", "output_format": "jpg"}, "JPEG", (432, 768)),
    ],
)
def test_outputs_are_images_of_the_format_and_shape_asked_for(
    call: Caller, model: str, inputs: dict[str, Any], kind: str, size: tuple[int, int]
) -> None:
    output = call.ended("a red fox in fresh snow", model, **inputs)["output"]
    url = output[0] if isinstance(output, list) else output
    reply = call.anybody.get(url)
    picture = image(reply.content)
    assert (picture.format, picture.size) == (kind, size)
    assert reply.headers["content-type"] == f"image/{kind.lower()}"
    assert len(picture.resize((16, 16)).convert("RGB").getcolors() or []) > 50  # no flat surface
    assert call.anybody.get(url).content == reply.content


def test_pictures_differ_by_prompt_seed_and_number(call: Caller) -> None:
    call.sandbox.settings.long_edge_pixels = 64
    outputs = call.ended("a", num_outputs=2, seed=1)["output"] + call.ended("a", seed=2)["output"]
    outputs += call.ended("b", seed=1)["output"]
    assert len({call.anybody.get(url).content for url in outputs}) == 4


def test_a_video_is_an_mp4_of_its_length_and_shape(call: Caller) -> None:
    url = call.ended("waves", VEO, duration=8, aspect_ratio="9:16")["output"]
    content = call.anybody.get(url).content
    boxes, place = {}, 0
    while place < len(content):
        length = int.from_bytes(content[place : place + 4])
        boxes[content[place + 4 : place + 8]] = content[place + 8 : place + length]
        place += length
    assert list(boxes) == [b"ftyp", b"moov", b"mdat"] and place == len(content)
    timescale, duration = (int.from_bytes(boxes[b"moov"][at : at + 4]) for at in (20, 24))
    assert duration / timescale == pytest.approx(8, abs=0.01)
    entry = boxes[b"moov"].index(b"avc1") + 4 + 24
    assert [int.from_bytes(boxes[b"moov"][at : at + 2]) for at in (entry, entry + 2)] == [144, 256]
    first_unit = int.from_bytes(boxes[b"mdat"][:4])
    assert boxes[b"mdat"][4] == 0x65 and first_unit < len(boxes[b"mdat"])  # an IDR frame


def test_an_output_needs_no_token_and_the_books_tell_who_sent_one(call: Caller) -> None:
    ended = call.ended("x")
    assert call.anybody.get(ended["output"][0]).status_code == 200
    assert call.sandbox.books.outputs_with_token == []
    assert call.http.get(ended["output"][0]).status_code == 200
    assert call.sandbox.books.outputs_with_token == [ended["id"]]
    assert call.sandbox.books.outputs_served == {ended["id"]: 2}
    assert "some-token" not in call.anybody.get("/books").text


def test_a_download_resumes_from_a_byte(call: Caller) -> None:
    url = call.ended("x")["output"][0]
    whole = call.anybody.get(url).content
    part = call.anybody.get(url, headers={"Range": "bytes=100-"})
    assert (part.status_code, part.content) == (206, whole[100:])
    assert part.headers["content-range"] == f"bytes 100-{len(whole) - 1}/{len(whole)}"
    assert call.anybody.get(url, headers={"Range": "bytes=5-9"}).content == whole[5:10]
    assert call.anybody.get(url, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416


def test_an_hour_after_its_end_a_prediction_is_erased(call: Caller) -> None:
    ended = call.ended("x")
    call.sandbox.settings.erase_after_seconds = 0
    erased = call.get(ended)
    assert (erased["input"], erased["output"], erased["data_removed"]) == (None, None, True)
    assert erased["status"] == "succeeded"
    assert call.listed()["results"][0]["data_removed"] is True
    assert call.anybody.get(ended["output"][0]).status_code == 404
