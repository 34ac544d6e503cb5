"""Who may push: İYS, with the credentials of the settings, or those that it was given before.

While the credentials change, some processes have the old ones and some the new, and İYS has either.
The ledger has the fingerprints of both, so that each process accepts both.
"""

import base64
import binascii
import hmac
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import SecretStr

from izin.consent.errors import OurError
from izin.runtime.observe import get_logger
from izin.runtime.settings import SinkSettings
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.push_registrations import Fingerprint, accepted
from izin.sinks.record.errors import LedgerUnavailableError

_READ_EVERY = timedelta(seconds=1)
"""A stranger's attempts must not become as many queries."""
_ALERT_EVERY = timedelta(hours=1)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The credentials of İYS at our receiver."""

    username: str
    password: SecretStr

    @property
    def secret(self) -> str:
        """User and password, as HTTP Basic has them."""
        return f"{self.username}:{self.password.get_secret_value()}"


class NoPushCredentialsError(OurError):
    """A push address is set without the credentials that İYS needs there."""

    def __init__(self) -> None:
        super().__init__("IZIN_PUSH_URL is set: set IZIN_PUSH_USERNAME and IZIN_PUSH_PASSWORD too")


def push_credentials(sink: SinkSettings) -> Credentials | None:
    """Return the credentials of the settings, if they have any; raises NoPushCredentialsError."""
    if sink.push_username is not None and sink.push_password is not None:
        return Credentials(username=sink.push_username, password=sink.push_password)
    if sink.push_url is not None:
        raise NoPushCredentialsError
    return None


class AcceptedCredentials:
    """The credentials of the settings, and those that the ledger has fingerprints of."""

    def __init__(
        self, credentials: Credentials | None, ledger: Ledger, *, clock: Callable[[], datetime]
    ) -> None:
        self._expected = None if credentials is None else credentials.secret.encode()
        self._ledger = ledger
        self._clock = clock
        self._others: Sequence[Fingerprint] = ()
        self._read_at: datetime | None = None

    async def admits(self, header: str | None) -> bool:
        """Return whether an ``Authorization`` header has accepted credentials.

        Without credentials in the settings, nobody is admitted.
        """
        given = _basic(header)
        if not given or self._expected is None:
            return False
        if hmac.compare_digest(given, self._expected):
            return True
        await self._read()
        return any(one.is_of(given) for one in self._others)

    async def _read(self) -> None:
        now = self._clock()
        if self._read_at is not None and now - self._read_at < _READ_EVERY:
            return
        self._read_at = now
        with suppress(LedgerUnavailableError):  # those read before are accepted meanwhile
            self._others = await accepted(self._ledger, now=now)


@dataclass(slots=True)
class RefusedPushes:
    """Alerts that pushes are refused, once an hour: İYS may have a password that we have not."""

    _pushes: int = 0
    _alerted_at: datetime | None = None

    def note(self, now: datetime) -> None:
        """Note a push with wrong credentials."""
        self._pushes += 1
        if self._alerted_at is not None and now - self._alerted_at < _ALERT_EVERY:
            return
        self._alerted_at = now
        _log.critical(
            "pushes refused",
            pushes=self._pushes,
            reason="wrong user or password",
            remedy="compare IZIN_PUSH_USERNAME and IZIN_PUSH_PASSWORD of every sink worker, and "
            "restart one of them: it registers its own at İYS; or a stranger is trying",
        )
        self._pushes = 0


def _basic(header: str | None) -> bytes:
    scheme, _, text = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""
