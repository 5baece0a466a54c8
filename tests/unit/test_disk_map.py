"""Numbers by key, kept on disk."""

from __future__ import annotations

from replibatch.lists.disk_map import DiskMap


def test_it_is_a_map_of_numbers() -> None:
    with DiskMap() as numbers:
        assert numbers.get(b"a") is None and b"a" not in numbers
        numbers[b"b"] = 7
        assert numbers.setdefault(b"b", 8) == 7 and numbers.setdefault(b"a", 1) == 1
        assert [numbers.count(b"a"), numbers.count(b"c"), numbers.count(b"c")] == [2, 1, 2]
        assert list(numbers) == [b"a", b"b", b"c"] and b"c" in numbers
        numbers.discard(b"c")
        numbers.discard(b"never")
        assert b"c" not in numbers and "a" not in numbers


def test_it_holds_more_than_its_cache() -> None:
    with DiskMap() as numbers:
        for number in range(50_000):
            numbers[number.to_bytes(16, "big")] = number
        assert numbers.get((43_210).to_bytes(16, "big")) == 43_210
