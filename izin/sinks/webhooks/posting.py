"""One request to a subscriber, signed by Standard Webhooks, and what came of it.

No exception of aiohttp leaves this module. aiohttp parses in C: a request costs a fraction of what
it costs with httpx.
"""

import base64
import secrets
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
)
from standardwebhooks import Webhook
from yarl import URL

from izin.runtime.settings import WebhookSettings
from izin.sinks.ledger.webhooks.subscriber import WebhookSubscriber
from izin.sinks.webhooks.targets import (
    AllowedTargets,
    RefusedAddressError,
    TargetUrl,
    UnknownHostError,
    checked_connector,
)

MOST_OF_A_REPLY = 64 * 1024
"""Bytes of a reply's body that are read, and not kept; a longer one costs its connection."""
_LONGEST_LINE = 8190
SECRET_BYTES = 32
"""Standard Webhooks asks for 24 to 64."""


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
        except (RefusedAddressError, UnknownHostError) as error:
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
