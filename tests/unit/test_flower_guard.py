"""Whom Flower answers without a password: those who reach this machine by no name of somebody else's."""

from __future__ import annotations

import pytest

from replibatch.monitoring.guard import is_own_name


@pytest.mark.parametrize("host", ["127.0.0.1:5555", "localhost", "localhost:5555", "[::1]:5555", "10.0.0.5:5555"])
def test_own_names(host: str) -> None:
    assert is_own_name(host)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:5555", "localhost.evil.example", "", "127.0.0.1.nip.io"]
)
def test_names_of_others(host: str) -> None:
    assert not is_own_name(host)
