"""Outputs come from public addresses alone, however an address is written or looked up."""

from __future__ import annotations

import ipaddress
import socket

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replibatch.outputs import addresses
from replibatch.outputs.addresses import Addresses, AddressRefused, is_public

API = "https://api.replicate.com"
PRIVATE = [
    *("127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200"),
    *("0.0.0.0", "255.255.255.255", "224.0.0.1", "192.0.0.192", "198.18.0.1", "168.63.129.16", "240.0.0.1"),
    *("::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe"),
    *("64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "::127.0.0.1", "2001:db8::1", "fec0::1", "100::1"),
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(AddressRefused):
        Addresses([API]).address_of(httpx.URL(f"http://{host}/x"), is_proxied=False)


@pytest.mark.parametrize("address", ["1.1.1.1", "151.101.1.1", "2606:4700::1111", "64:ff9b::101:101"])
def test_public_ones_are_not(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST.", "x.localhost", "127.1", "0x7f000001", "2130706433", "017700000001", "0"),
        *("metadata.google.internal", "printer.local", "redis", "router.lan", "nas.home.arpa", "127.0.0.1."),
        "１２７.0.0.1",  # noqa: RUF001  # digits of full width, which some resolvers take
    ],
)
def test_names_and_spellings_of_private_ones_are_refused(host: str) -> None:
    with pytest.raises((AddressRefused, httpx.InvalidURL, httpx.ConnectError)):
        Addresses([API]).address_of(httpx.URL(f"http://{host}/x"), is_proxied=False)
    with pytest.raises((AddressRefused, httpx.InvalidURL)):
        Addresses([API]).address_of(httpx.URL(f"http://{host}/x"), is_proxied=True)


def names(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    entries = [(0, 0, 0, "", (each, 0)) for each in found]
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: entries)


def test_a_name_is_looked_up_and_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, "1.1.1.1", "1.0.0.1")
    assert Addresses([API]).address_of(httpx.URL("https://cdn.example.com/x"), is_proxied=False) == "1.1.1.1"
    assert Addresses([API]).address_of(httpx.URL("https://cdn.example.com/x"), is_proxied=True) is None


def test_one_private_address_of_a_name_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, "1.1.1.1", "10.0.0.1")
    for is_proxied in (False, True):
        with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
            Addresses([API]).address_of(httpx.URL("https://cdn.example.com/x"), is_proxied=is_proxied)


def test_a_name_that_only_the_proxy_knows_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror("unknown")

    monkeypatch.setattr(addresses.socket, "getaddrinfo", unknown)
    assert Addresses([API]).address_of(httpx.URL("https://cdn.example.com/x"), is_proxied=True) is None
    with pytest.raises(httpx.ConnectError):
        Addresses([API]).address_of(httpx.URL("https://cdn.example.com/x"), is_proxied=False)


def test_the_api_s_own_server_is_reached_wherever_it_is() -> None:
    own = Addresses(["http://127.0.0.1:8000"])
    for url in ("http://127.0.0.1:8000/x", "http://localhost:8000/x", "http://[::1]:8000/x"):
        assert own.address_of(httpx.URL(url), is_proxied=False) is None
    for url in (
        "http://127.0.0.1:8001/x",
        "https://127.0.0.1:8000/x",
        "http://10.0.0.1:8000/x",
        "http://127.0.0.1/x",
    ):
        with pytest.raises(AddressRefused):
            own.address_of(httpx.URL(url), is_proxied=False)


@given(st.ip_addresses())
def test_nothing_is_public_that_python_calls_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        assert not is_public(address) or getattr(address, "sixtofour", None)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_as_private_in_any_dress(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for dress in (f"::ffff:{address}", f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}"):
        assert is_public(ipaddress.ip_address(dress)) == is_public(address)
    for spelling in (str(number), hex(number), f"0{number >> 24:o}.{number & 0xFFFFFF}"):
        url = httpx.URL(f"http://{spelling}/x")
        try:
            Addresses([API]).address_of(url, is_proxied=True)
        except AddressRefused:
            assert not is_public(address)
        else:
            assert is_public(address)
