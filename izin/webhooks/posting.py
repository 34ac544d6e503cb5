"""One request to a subscriber, signed by Standard Webhooks, and what came of it.

No exception of aiohttp leaves this module. aiohttp parses in C: a request costs a fraction of what
it costs with httpx.

Webhooks may be posted to public addresses, and to those that the operator allows. A subscriber's
URL comes from outside. Without a check it could name a server of our own network,
which takes our requests for those of a neighbour (server-side request forgery). A name may resolve
to several addresses, and to others a second later: each address is checked in the connection
itself, behind the resolver and again at the socket, and the checked one is connected. So there is
no instant between them at which a name could come to mean another address. Addresses that have an
IPv4 address in them are judged by that one.

Which ranges are nobody's is listed here, by IANA's registries of special-purpose addresses (RFC
6890): what Python's ``ipaddress`` knows of them depends on its version. A link-local address is
never posted to, whoever allows its name: clouds answer there with the credentials of the machine.
"""

import asyncio
import base64
import secrets
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Self
from urllib.parse import urlsplit

from aiohttp import (
    AddrInfoType,
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook
from yarl import URL

from izin.consent import SourceError
from izin.ledger.webhooks.registry import WebhookSubscriber
from izin.runtime.settings import WebhookSettings
from izin.runtime.sockets import RESET

MOST_OF_A_REPLY = 64 * 1024
"""Bytes of a reply's body that are read, and not kept; a longer one costs its connection."""
_LONGEST_LINE = 8190
SECRET_BYTES = 32
"""Standard Webhooks asks for 24 to 64."""
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
_IDLE_SECONDS = 30.0
_SCHEMES = {"https": 443, "http": 80}
_LONGEST = 2000


class RefusedUrlError(SourceError):
    """A URL to which no webhook may be posted, or a name that is not known; it says what to do."""


def is_public(address: Address) -> bool:
    """Whether an address belongs to a host of the public Internet."""
    inner = _inner(address)
    if inner is not None:
        return is_public(inner)
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return not _is_in(address, _REFUSED)


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


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
            RefusedUrlError: any of them may not be posted to, or the name is not known.
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
        made = socket.socket(family, kind, protocol)
        made.setsockopt(*RESET)
        return made

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
    """Return the addresses of ``host``; raises RefusedUrlError where the name is not known."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
    except (OSError, UnicodeError) as error:
        raise RefusedUrlError(
            f"the name is not known: {host}; correct the URL, or its name server"
        ) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def check(allowed: AllowedTargets, host: str, addresses: Sequence[str], *, is_plain: bool) -> None:
    """Check every address of ``host``; raises RefusedUrlError."""
    for address in addresses:
        refusal = allowed.refusal(host, address, is_plain=is_plain)
        if refusal is not None:
            raise RefusedUrlError(
                f"{refusal}; a server of your own is allowed by IZIN_WEBHOOK_ALLOWED"
            )


async def check_url(allowed: AllowedTargets, url: str) -> None:
    """Check the URL of a subscriber that is to be added.

    Raises:
        RefusedUrlError: nothing may be posted to it; it says why, and what to do.
    """
    target = TargetUrl.parse(url)
    addresses = await resolve(target.host, target.port)
    check(allowed, target.host, addresses, is_plain=target.is_plain)


def new_secret(chance: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Return a new secret in its textual form, ``whsec_`` and base64."""
    return "whsec_" + base64.b64encode(chance(SECRET_BYTES)).decode()


def signed(
    secret_texts: Sequence[str], webhook_id: str, at: datetime, body: bytes
) -> list[tuple[str, str]]:
    """Return the headers of an attempt at the instant ``at`` (UTC): the id of the event, the
    instant, and for each secret a signature of both with the body.
    """
    text = body.decode()
    signatures = [Webhook(secret).sign(webhook_id, at, text) for secret in secret_texts]
    return [
        ("content-type", "application/json"),
        ("user-agent", "izin-webhooks"),
        ("webhook-id", webhook_id),
        ("webhook-timestamp", str(int(at.timestamp()))),
        ("webhook-signature", " ".join(signatures)),
    ]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request."""

    status: int | None
    """None: there was no reply."""
    failure: str | None = None
    """Why it is not an acknowledgement; None: it is one."""
    retry_after: float | None = None
    """Seconds that the subscriber asked for."""

    @property
    def is_acknowledgement(self) -> bool:
        """Whether the subscriber has taken the event: a status of 2xx."""
        return self.failure is None

    @property
    def is_gone(self) -> bool:
        """Whether the subscriber wants no more."""
        return self.status == HTTPStatus.GONE

    @property
    def is_of_the_endpoint(self) -> bool:
        """Whether the failure tells of the subscriber as a whole, and not of one event."""
        return self.failure is not None and (
            self.status is None
            or self.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
        )


class Poster:
    """Posts to one subscriber; close it when done. Made in a running event loop."""

    def __init__(
        self,
        url: str,
        *,
        allowed: AllowedTargets,
        tls: ssl.SSLContext,
        timeout: float,
        parallel: int,
    ) -> None:
        self._url = URL(url, encoded=True)
        self._timeout = timeout
        self._session = ClientSession(
            connector=checked_connector(allowed, TargetUrl.parse(url), tls, connections=parallel),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=timeout),
            trust_env=False,
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding",),
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
        )

    @classmethod
    def to(
        cls, subscriber: WebhookSubscriber, settings: WebhookSettings, tls: ssl.SSLContext
    ) -> "Poster":
        """Return what posts to ``subscriber``."""
        return cls(
            subscriber.url,
            allowed=AllowedTargets.parse(settings.allowed),
            tls=tls,
            timeout=settings.timeout.total_seconds(),
            parallel=subscriber.parallel,
        )

    async def post(self, headers: Sequence[tuple[str, str]], body: bytes) -> Reply:
        """Post ``body`` and return what came of it, within the time limit."""
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, allow_redirects=False
            ) as response:
                # Of a longer body the rest is not read: its connection is closed.
                await response.content.read(MOST_OF_A_REPLY)
                return reply_of(response.status, response.headers.get("Retry-After"))
        except TimeoutError:
            return Reply(None, f"no reply within {self._timeout:g} s")
        except RefusedUrlError as error:
            return Reply(None, f"address refused: {error}")
        except ClientConnectorError as error:
            # Its own text has the state of TLS too, also of a URL that has none.
            why = error.strerror or type(error.os_error).__name__
            return Reply(None, f"no connection to {error.host}:{error.port}: {why}")
        except (ClientError, OSError, ValueError) as error:
            return Reply(None, f"{type(error).__name__}: {error}".removesuffix(": "))

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def reply_of(status: int, wait: str | None) -> Reply:
    """Return the reply of a response, whose header Retry-After is ``wait``."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Reply(status)
    kind = "a redirect, which is not followed" if status < HTTPStatus.BAD_REQUEST else "refused"
    return Reply(status, f"status {status}: {kind}", None if wait is None else _seconds(wait))


def _seconds(value: str) -> float | None:
    """Return the seconds of a header Retry-After, a number or a date; None where it is neither."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max((aware - datetime.now(UTC)).total_seconds(), 0.0)
