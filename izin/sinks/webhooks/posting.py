"""One request to a subscriber, and what came of it; no exception of httpcore leaves this module."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpcore

from izin.sinks.webhooks.addresses import AllowedTargets
from izin.sinks.webhooks.network import CheckedNetwork, RefusedAddressError, TargetUrl

MOST_OF_A_REPLY = 64 * 1024
"""Bytes of a reply's body that are read, and not kept; a longer one costs its connection."""
_IDLE_SECONDS = 30.0
_OF_CONNECTING = 0.4
"""Of the time limit for each of two steps, TCP and TLS. One that httpcore ends closes its socket,
one that is cancelled does not.
"""


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
    """Posts to one subscriber; close it when done."""

    def __init__(
        self,
        url: str,
        *,
        allowed: AllowedTargets,
        tls: ssl.SSLContext,
        timeout: float,
        parallel: int,
    ) -> None:
        target = TargetUrl.parse(url)
        self._url = httpcore.URL(url)
        self._timeout = timeout
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=parallel,
            max_keepalive_connections=parallel,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=CheckedNetwork(allowed, is_plain=target.is_plain),
        )

    async def post(self, headers: Sequence[tuple[str, str]], body: bytes) -> Reply:
        """Post ``body`` and return what came of it, within the time limit."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(headers, body)
        except TimeoutError:
            return Reply(None, f"no reply within {self._timeout:g} s")
        except RefusedAddressError as error:
            return Reply(None, f"address refused: {error}")
        except _FOREIGN as error:
            return Reply(None, f"{type(error).__name__}: {error}".removesuffix(": "))

    async def _post(self, headers: Sequence[tuple[str, str]], body: bytes) -> Reply:
        read = 0
        async with self._pool.stream(
            "POST",
            self._url,
            headers=list(headers),
            content=body,
            extensions={"timeout": {"connect": _OF_CONNECTING * self._timeout}},
        ) as response:
            async for chunk in response.aiter_stream():
                read += len(chunk)
                if read > MOST_OF_A_REPLY:
                    break
            return reply_of(response.status, response.headers)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()


_FOREIGN = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
    ssl.SSLError,
    OSError,
)
"""Everything that a request may raise."""


def reply_of(status: int, headers: Sequence[tuple[bytes, bytes]]) -> Reply:
    """Return the reply of a response."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Reply(status)
    kind = "a redirect, which is not followed" if status < HTTPStatus.BAD_REQUEST else "refused"
    wait = next((value for name, value in headers if name.lower() == b"retry-after"), None)
    return Reply(status, f"status {status}: {kind}", None if wait is None else _seconds(wait))


def _seconds(value: bytes) -> float | None:
    """Return the seconds of a header Retry-After, a number or a date; None where it is neither."""
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max((aware - datetime.now(UTC)).total_seconds(), 0.0)
