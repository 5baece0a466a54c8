"""Routing: which model takes the reference images, and what is refused before anything is spent."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from replibatch.errors import ReferenceImageError
from replibatch.requests import BatchRequest
from replibatch.routing import located, route
from replibatch.routing.references import check_image
from tests.support.catalogue import FLUX, IMAGEN, KLING, KONTEXT, NANO, QWEN, ULTRA, VEO
from tests.support.routes import CATALOG, A, B, C, D, refused, routed


@pytest.mark.parametrize(
    ("asked", "kwargs", "taker", "references"),
    [
        (FLUX, {"input_image": A}, KONTEXT, [A]),
        (QWEN, {"image_input": [A]}, KONTEXT, [A]),
        (IMAGEN, {"reference_image": A}, KONTEXT, [A]),
        (IMAGEN, {"image": A}, KONTEXT, [A]),
        (FLUX, {"image_input": [A, B]}, NANO, [A, B]),
        (QWEN, {"image_input": [A, B, C]}, NANO, [A, B, C]),
        (FLUX, {"input_image": A, "start_image": B}, NANO, [A, B]),
        (KONTEXT, {"input_image": A}, KONTEXT, [A]),
        (KONTEXT, {"image": A}, KONTEXT, [A]),
        (KONTEXT, {"image_prompt": [A]}, KONTEXT, [A]),
        (KONTEXT, {"input_image": [A, B]}, NANO, [A, B]),
        (ULTRA, {"image_prompt": A}, ULTRA, [A]),
        (ULTRA, {"reference_images": [A, B]}, NANO, [A, B]),
        (NANO, {"image_input": A}, NANO, [A]),
        (NANO, {"input_image": A, "reference_image": B}, NANO, [A, B]),
        (NANO, {"image_input": []}, NANO, []),
        (NANO, {"image_input": json.dumps([A, B])}, NANO, [A, B]),
        (VEO, {"image": A}, VEO, [A]),
        (VEO, {"start_image": A}, VEO, [A]),
        (KLING, {"image": A}, KLING, [A]),
        (KLING, {"reference_image": [A]}, KLING, [A]),
        (FLUX, {"input_image": None}, FLUX, []),
        (FLUX, {"image": A, "input_image": B}, NANO, [B, A]),
    ],
)
def test_reference_images_find_a_model(asked: str, kwargs: dict[str, Any], taker: str, references: list[str]) -> None:
    way = routed(asked, **kwargs)
    assert (way.model.name, way.references) == (taker, references)
    assert not way.inputs.keys() & kwargs.keys(), "a reference image is sent once"
    assert bool(way.warnings) == (taker != asked)


@pytest.mark.parametrize("asked", [FLUX, QWEN])
def test_own_image_input_is_image_to_image(asked: str) -> None:
    way = routed(asked, image=A)
    assert (way.model.name, way.references, way.inputs["image"], way.warnings) == (asked, [], A, [])


@pytest.mark.parametrize(
    ("asked", "kwargs", "said"),
    [
        (FLUX, {"image_input": [A, B, C, D]}, f"4 reference images for {NANO}; allowed: at most 3"),
        (NANO, {"image_input": [A, B, C, D]}, f"4 reference images for {NANO}; allowed: at most 3"),
        (VEO, {"image": [A, B]}, f"2 reference images for {VEO}; allowed: at most 1"),
        (KLING, {"start_image": A, "image": B}, f"2 reference images for {KLING}; allowed: at most 1"),
        (FLUX, {"input_image": ""}, "input_image is ''; allowed: a path, an http(s) URL or a data URI"),
        (FLUX, {"input_image": 5}, "input_image is 5; allowed"),
        (FLUX, {"input_image": [A, 5]}, "input_image is 5; allowed"),
        (FLUX, {"input_image": "s3://bucket/a.png"}, "input_image is 's3://bucket/a.png'; allowed"),
        (FLUX, {"input_image": "data:image/png;base64,"}, "a data URI without data"),
        (FLUX, {"image": [A, B]}, "image holds 2 files; allowed: one"),
        (QWEN, {"image": {}}, "image is {}; allowed"),
    ],
)
def test_images_that_nobody_takes(asked: str, kwargs: dict[str, Any], said: str) -> None:
    assert said in refused(ReferenceImageError, asked, **kwargs)


def test_places_of_images(tmp_path: Path) -> None:
    picture = tmp_path / "a b.png"
    Image.new("RGB", (2, 2)).save(picture)
    data = "data:image/png;base64,AAAA"
    with picture.open("rb") as file:
        way = routed(NANO, image_input=[Path("a b.png"), picture.as_uri(), data])
        assert way.references == [str(picture), str(picture), data]
        assert routed(NANO, image_input=file).references == [str(picture)]
    assert way.files == [str(picture)]
    with pytest.raises(ReferenceImageError):
        routed(NANO, image_input=io.BytesIO(b"..."))


def test_relative_paths_start_where_told(tmp_path: Path) -> None:
    request = BatchRequest("a fox", NANO, None, {"image_input": ["refs/a.png", A]})
    way = route(request, CATALOG, folder=tmp_path / "lists")
    assert way.references == [str(tmp_path / "lists/refs/a.png"), A]
    assert located({"image_input": "a.png", "mask": "a.png", "image": None}, CATALOG, tmp_path) == {
        "image_input": [str(tmp_path / "a.png")],
        "mask": "a.png",
        "image": None,
    }


def test_every_local_file_is_found_and_carried(tmp_path: Path) -> None:
    own = str(tmp_path / "own.png")
    way = routed(FLUX, image="own.png", aspect_ratio="3:2")
    assert way.files == [own]
    carried = way.with_files({own: "file:abc.png"})
    assert (carried.inputs["image"], carried.inputs["aspect_ratio"]) == ("file:abc.png", "3:2")
    reference = str(tmp_path / "ref.png")
    way = routed(NANO, image_input=["ref.png", A, "ref.png"])
    assert way.files == [reference]
    assert way.with_files({reference: "file:abc.png"}).references == ["file:abc.png", A, "file:abc.png"]


def test_local_images_are_looked_at(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save("good.png")
    Path("good").write_bytes(Path("good.png").read_bytes())
    Path("empty.png").touch()
    Path("text.png").write_text("not an image")
    Path("cut.png").write_bytes(Path("good.png").read_bytes()[:40])
    Path("folder.png").mkdir()
    for good in ("good.png", "good"):
        check_image(good)
        routed(FLUX, image=good).check_files()
        routed(KONTEXT, input_image=good).check_files()
    for bad, said in (
        ("missing.png", "no such file"),
        ("empty.png", "an empty file"),
        ("text.png", "not an image"),
        ("cut.png", "not an image"),
        ("folder.png", "a folder"),
    ):
        for way in (routed(FLUX, image=bad), routed(KONTEXT, input_image=bad)):
            with pytest.raises(ReferenceImageError) as caught:
                way.check_files()
            assert str(caught.value).startswith(f"{tmp_path / bad}: {said}")
