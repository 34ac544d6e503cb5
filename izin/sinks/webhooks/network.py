"""Connections to subscribers: each resolved address is checked, and the checked one is connected.

The check stands in the connection itself, behind the resolver. So there is no instant between them
at which a name could come to mean another address. There are no proxies and no redirects: httpcore
knows neither. The bare hosts and networks that the operator allows pass (``webhooks.addresses``).
"""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpcore

from izin.consent.errors import SourceError
from izin.sinks.record.errors import RefusedUrlError
from izin.sinks.webhooks.addresses import AllowedTargets

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


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked, and to no others."""

    def __init__(self, allowed: AllowedTargets, *, is_plain: bool) -> None:
        self._allowed = allowed
        self._is_plain = is_plain
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the library's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of ``host`` that answers.

        Raises:
            RefusedAddressError: any of its addresses may not be posted to.
            ConnectError: the name is not known, or none of its addresses answers.
        """
        addresses = await resolve(host, port)
        check(self._allowed, host, addresses, is_plain=self._is_plain)
        failure: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError("no address")

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of ``host``; raises ConnectError where the name is not known."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"the name is not known: {host}") from error
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
    except httpcore.ConnectError as error:
        raise RefusedUrlError(f"{error}; correct the URL, or its name server") from error
    except RefusedAddressError as error:
        raise RefusedUrlError(
            f"{error}; a server of your own is allowed by IZIN_WEBHOOK_ALLOWED"
        ) from error
