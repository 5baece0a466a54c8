"""Keys that cannot leave the storage, and names that are unique, ordered and readable."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replibatch.errors import OutputPathError
from replibatch.storage.names import SLUG_CHARACTERS, made_up_name, numbered, safe_key, shard, slug


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("fox.png", "fox.png"),
        ("./a//b/./fox.png", "a/b/fox.png"),
        ("Füchse/狐 1.webp", "Füchse/狐 1.webp"),
        ("a..b/..fox.png", "a..b/..fox.png"),
        (".hidden", ".hidden"),
        ("no-extension", "no-extension"),
    ],
)
def test_safe_key_keeps_the_name_asked_for(name: str, key: str) -> None:
    assert safe_key(name) == key


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "names no file"),
        (".", "names no file"),
        ("a/", "names no file"),
        ("a/.", "names no file"),
        ("///", "names no file"),
        ("/etc/passwd", "absolute"),
        ("C:/fox.png", "absolute"),
        ("c:fox.png", "absolute"),
        ("../fox.png", "'..'"),
        ("a/../../fox.png", "'..'"),
        ("a/..", "'..'"),
        ("..\\fox.png", "backslash"),
        ("\\\\host\\share\\fox.png", "backslash"),
        ("fox\0.png", "control"),
        ("fox\n.png", "control"),
        ("fox\udcff.png", "control"),
        (".replibatch/inputs/x.png", "replibatch's own"),
        ("./.Replibatch/inputs/x.png", "replibatch's own"),
        ("x" * 251, "too long"),
        ("狐" * 84, "too long"),
        ("/".join(["folder"] * 200), "too long"),
    ],
)
def test_safe_key_refuses_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(OutputPathError, match=reason) as refused:
        safe_key(name)
    assert len(str(refused.value)) < 300


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("./\\"), max_size=40))
def test_no_name_leaves_the_storage(name: str) -> None:
    try:
        key = safe_key(name)
    except OutputPathError:
        return
    assert not key.startswith("/")
    assert not {"", ".", ".."} & set(key.split("/"))
    assert safe_key(key) == key


def test_several_outputs_are_numbered() -> None:
    assert numbered("a/fox.png", 1) == ["a/fox.png"]
    assert numbered("a/fox.v2.png", 3) == ["a/fox.v2_1.png", "a/fox.v2_2.png", "a/fox.v2_3.png"]
    assert numbered("/tmp/a.b/fox", 2) == ["/tmp/a.b/fox_1", "/tmp/a.b/fox_2"]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("A red fox, in snow!", "a-red-fox-in-snow"),
        ("../../etc/passwd", "etc-passwd"),
        ("雪の中の赤い狐", "雪の中の赤い狐"),
        ("लाल लोमड़ी", "लाल-लोमड़ी"),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER F}ull width ½", "full-width-1-2"),
        ("🦊🦊", ""),
        ("one two three four five six seven eight nine ten", "one-two-three-four-five-six-seven-eight"),
        ("x" * 100, "x" * 40),
        ("a-" + "y" * 100, "a-" + "y" * 38),
        ("क" * 39 + "मि" * 5, "क" * 39),
    ],
)
def test_slug(prompt: str, expected: str) -> None:
    assert slug(prompt) == unicodedata.normalize("NFKC", expected)


@given(st.text())
def test_slugs_are_short_and_make_safe_names(prompt: str) -> None:
    made = slug(prompt)
    assert len(made) <= SLUG_CHARACTERS
    assert made == made.strip("-")
    assert safe_key(made_up_name(3, prompt, "k3v9", "png")).startswith("0004-")


def test_made_up_names_are_readable_and_ordered() -> None:
    assert made_up_name(0, "A red fox in snow", "k3v9", ".jpg") == "0001-a-red-fox-in-snow-k3v9.jpg"
    assert made_up_name(0, "🦊", "k3v9", "jpg") == "0001-k3v9.jpg"
    indices = [0, 1, 9, 998, 9_998, 9_999, 10_000, 19_998, 19_999, 99_999, 123_456, 999_999]
    names = [made_up_name(index, "fox", "id", "png") for index in indices]
    for folder in {name.rpartition("/")[0] for name in names}:
        inside = [name for name in names if name.rpartition("/")[0] == folder]
        assert inside == sorted(inside)


def test_no_folder_of_made_up_names_holds_more_than_ten_thousand() -> None:
    assert {shard(index) for index in range(9_999)} == {""}
    assert {shard(index) for index in range(9_999, 19_999)} == {"00010000"}
    assert shard(19_999) == "00020000"
    assert shard(1_000_000) == "01000000"
