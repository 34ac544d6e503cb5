"""Which addresses a webhook may be posted to: public ones, and those that the operator allows.

A subscriber's URL comes from outside. Without a check it could name a server of our own network,
which takes our requests for those of a neighbour (server-side request forgery). A name may resolve
to several addresses, and to others a second later: each address is checked at each connection
(``webhooks.network``). Addresses that have an IPv4 address in them are judged by that one.

Which ranges are nobody's is listed here, by IANA's registries of special-purpose addresses (RFC
6890): what Python's ``ipaddress`` knows of them depends on its version. A link-local address is
never posted to, whoever allows its name: clouds answer there with the credentials of the machine.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")
_6TO4_SHIFT = 80
_LINK_LOCAL: tuple[Network, ...] = (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"))
_REFUSED: tuple[Network, ...] = (
    *_LINK_LOCAL,
    IPv4Network("0.0.0.0/8"),  # this network
    IPv4Network("10.0.0.0/8"),  # private
    IPv4Network("100.64.0.0/10"),  # carrier-grade NAT
    IPv4Network("127.0.0.0/8"),  # loopback
    IPv4Network("172.16.0.0/12"),  # private
    IPv4Network("192.0.0.0/24"),  # protocol assignments
    IPv4Network("192.0.2.0/24"),  # documentation
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv4Network("192.168.0.0/16"),  # private
    IPv4Network("198.18.0.0/15"),  # benchmarks
    IPv4Network("198.51.100.0/24"),  # documentation
    IPv4Network("203.0.113.0/24"),  # documentation
    IPv4Network("224.0.0.0/3"),  # multicast, reserved, broadcast
    IPv6Network("2001::/23"),  # protocol assignments, Teredo among them
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("3fff::/20"),  # documentation
)
"""Beside IPv6 addresses that are no global unicast ones."""


def is_public(address: Address) -> bool:
    """Whether an address belongs to a host of the public Internet."""
    inner = _inner(address)
    if inner is not None:
        return is_public(inner)
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return not _is_in(address, _REFUSED)


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == one.version and address in one for one in networks)


def _inner(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for, if it stands for one."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _6TO4:
        return IPv4Address(int(address) >> _6TO4_SHIFT & 0xFFFF_FFFF)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedTargets:
    """Hosts and networks of our own to which webhooks may be posted, without TLS too."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = field(default=())

    @classmethod
    def parse(cls, listed: Iterable[str]) -> Self:
        """Return the targets of names, addresses and networks."""
        hosts, networks = set[str](), list[Network]()
        for one in listed:
            try:
                networks.append(ip_network(one, strict=False))
            except ValueError:
                hosts.add(one.lower())
        return cls(hosts=frozenset(hosts), networks=tuple(networks))

    def has(self, host: str, address: Address) -> bool:
        """Whether the operator allows this address of a host."""
        plain = _inner(address) or address
        if _is_in(plain, _LINK_LOCAL):
            return False
        return host.lower() in self.hosts or _is_in(plain, self.networks)

    def refusal(self, host: str, address: str, *, is_plain: bool) -> str | None:
        """Return why nothing may be posted to an ``address`` of ``host``; None: it may.

        ``is_plain``: without TLS.
        """
        found = ip_address(address.partition("%")[0])
        if self.has(host, found):
            return None
        if is_plain:
            return "http:// is allowed only to targets of IZIN_WEBHOOK_ALLOWED; use https://"
        if not is_public(found):
            return f"{host} is at {found}, which is no address of the public Internet"
        return None
