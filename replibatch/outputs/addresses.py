"""Which addresses outputs may be fetched from: public ones, and the API's own server.

An output's address is whatever a model says. The worker must not become a way into the network it runs in.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What some versions of Python call global: protocol assignments (Oracle's metadata service among them), the former
# 6to4 relays, Azure's metadata service, translation within a network.
NOT_PUBLIC = [
    ipaddress.ip_network(each) for each in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16", "64:ff9b:1::/48")
]
# With an IPv4 address in the last 32 bits:
TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))
LOCAL_NAMES = ("localhost", "local", "internal", "intranet", "lan")  # the last part of a name


class AddressRefused(Exception):
    """Nothing is fetched from there; the message says why."""


class Addresses:
    """Decides for one process.

    Args:
        own: addresses of servers the owner has named, such as the API's: their files are fetched from wherever they
            are.
    """

    def __init__(self, own: Iterable[str]) -> None:
        self._own = [httpx.URL(each) for each in own]

    def address_of(self, url: httpx.URL, *, is_proxied: bool) -> str | None:
        """Check where an address leads.

        Args:
            url: the output's, or one it is redirected to.
            is_proxied: whether a proxy makes the connection, and looks the name up.

        Returns:
            The IP address to connect to, so that it is the one that was checked; None for the host as it is named.

        Raises:
            AddressRefused: it is of a private network, or of this machine.
            httpx.ConnectError: the name could not be looked up.
        """
        host = url.raw_host.decode("ascii").strip("[]").rstrip(".").lower()
        if self._is_own(url, host):
            return None
        if literal := _literal(host):
            _refuse_private(literal, host)
            return None
        if host.rpartition(".")[2] in LOCAL_NAMES or host.endswith(".home.arpa") or "." not in host:
            raise AddressRefused(f"{host} is a name of a private network; expected: a public address")
        try:
            found = _look_up(host, url.port or {"http": 80}.get(url.scheme, 443))
        except OSError as error:
            if is_proxied:  # only the proxy may know names of the world
                return None
            raise httpx.ConnectError(f"{host} cannot be looked up: {error}") from error
        for address in found:
            _refuse_private(address, host)
        return None if is_proxied else str(found[0])

    def _is_own(self, url: httpx.URL, host: str) -> bool:
        for own in self._own:
            if (own.scheme, own.port) == (url.scheme, url.port):
                if own.raw_host == url.raw_host:
                    return True
                # A server on this machine may call itself by any of its names.
                if _is_loopback(own.raw_host.decode("ascii").strip("[]")) and _is_loopback(host):
                    return True
        return False


def is_public(address: Address) -> bool:
    """Whether an IP address is one of the open internet, whatever it is written as."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return is_public(address.ipv4_mapped)
        if address.sixtofour:
            return is_public(address.sixtofour)
        if address.teredo:
            return False
        if address in TRANSLATED[0]:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address in TRANSLATED[1] or address.is_site_local or address.scope_id:
            return False
    return (
        address.is_global
        and not (address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback)
        and not (address.is_private or address.is_link_local)
        and not any(address in network for network in NOT_PUBLIC)
    )


def _refuse_private(address: Address, host: str) -> None:
    if not is_public(address):
        shown = host if host == str(address) else f"{host} ({address})"
        raise AddressRefused(f"{shown} is no public address; expected: one of the open internet")


def _look_up(host: str, port: int) -> list[Address]:
    """Every address of a name; at least one."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(entry[4][0])) for entry in found]


def _literal(host: str) -> Address | None:
    """An IP address in any form that a resolver takes: `127.1`, `0x7f000001` and `2130706433` too."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    address = _literal(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address is not None and address.is_loopback
