"""Connections to subscribers: each resolved address is checked, and the checked one is connected.

The check stands in the connection itself, behind the resolver and again at the socket. So there is
no instant between them at which a name could come to mean another address. Hosts and networks that
the operator allows pass (``webhooks.addresses``).
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import AddrInfoType, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

from izin.consent.errors import SourceError
from izin.sinks.ledger.webhooks.errors import RefusedUrlError
from izin.sinks.webhooks.addresses import AllowedTargets

_IDLE_SECONDS = 30.0
_SCHEMES = {"https": 443, "http": 80}
_LONGEST = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetUrl:
    """A URL of a subscriber, in its parts."""

    is_plain: bool
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> "TargetUrl":
        """Return the parts of ``url``.

        Raises:
            RefusedUrlError: no webhook can be posted to it; it says why.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise RefusedUrlError(f"{url} is no URL: {error}") from error
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise RefusedUrlError(f"{url} is no URL of a web server; write https://host/path")
        if parts.username is not None or parts.password is not None:
            raise RefusedUrlError(
                "the URL has credentials; every request is signed, leave them out"
            )
        if parts.fragment or len(url) > _LONGEST or not url.isascii() or not url.isprintable():
            raise RefusedUrlError(
                f"the URL has a fragment, other characters than ASCII, or more than {_LONGEST}"
            )
        return cls(
            is_plain=parts.scheme == "http",
            host=parts.hostname,
            port=port or _SCHEMES[parts.scheme],
        )


class RefusedAddressError(SourceError):
    """A subscriber's name resolves to an address to which nothing may be posted."""


class UnknownHostError(SourceError):
    """A subscriber's name that is not known."""


class CheckedResolver(AbstractResolver):
    """Resolves names to addresses that were checked, every one of them."""

    def __init__(self, allowed: AllowedTargets, *, is_plain: bool) -> None:
        self._allowed = allowed
        self._is_plain = is_plain

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``, in the resolver's order.

        Raises:
            RefusedAddressError: any of them may not be posted to.
            UnknownHostError: the name is not known.
        """
        addresses = await resolve(host, port, family)
        check(self._allowed, host, addresses, is_plain=self._is_plain)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Close nothing."""


def checked_connector(
    allowed: AllowedTargets, target: TargetUrl, tls: ssl.SSLContext, *, connections: int
) -> TCPConnector:
    """Return connections to one subscriber.

    The address of each connection is checked again where its socket is made: an address in the URL
    itself is not resolved.
    """

    def make_socket(address: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, where = address
        check(allowed, target.host, [str(where[0])], is_plain=target.is_plain)
        return socket.socket(family, kind, protocol)

    return TCPConnector(
        resolver=CheckedResolver(allowed, is_plain=target.is_plain),
        use_dns_cache=False,
        ssl=tls,
        limit=connections,
        keepalive_timeout=_IDLE_SECONDS,
        socket_factory=make_socket,
    )


async def resolve(
    host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
) -> Sequence[str]:
    """Return the addresses of ``host``; raises UnknownHostError where the name is not known."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
    except (OSError, UnicodeError) as error:
        raise UnknownHostError(f"the name is not known: {host}") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def check(allowed: AllowedTargets, host: str, addresses: Sequence[str], *, is_plain: bool) -> None:
    """Check every address of ``host``; raises RefusedAddressError."""
    for address in addresses:
        refusal = allowed.refusal(host, address, is_plain=is_plain)
        if refusal is not None:
            raise RefusedAddressError(refusal)


async def check_url(allowed: AllowedTargets, url: str) -> None:
    """Check the URL of a subscriber that is to be added.

    Raises:
        RefusedUrlError: nothing may be posted to it; it says why, and what to do.
    """
    target = TargetUrl.parse(url)
    try:
        addresses = await resolve(target.host, target.port)
        check(allowed, target.host, addresses, is_plain=target.is_plain)
    except UnknownHostError as error:
        raise RefusedUrlError(f"{error}; correct the URL, or its name server") from error
    except RefusedAddressError as error:
        raise RefusedUrlError(
            f"{error}; a server of your own is allowed by IZIN_WEBHOOK_ALLOWED"
        ) from error
