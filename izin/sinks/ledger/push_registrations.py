"""With which credentials İYS pushes the movements of a brand, as fingerprints.

They are written before they are registered, so that every process accepts them when İYS tests them.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from psycopg.rows import DictRow

from izin.consent.model import Channel
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements

FORMER_FOR = timedelta(days=1)
"""How long the credentials before are accepted once İYS has the new ones: it may push again what
failed."""

_SALT_BYTES = 32

_SQL = statements("push_registrations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """An HMAC-SHA-256 of a secret, with a random salt as its key."""

    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, secret: str) -> Self:
        """Return a new fingerprint of ``secret``."""
        salt = secrets.token_bytes(_SALT_BYTES)
        return cls(salt=salt, digest=_digest(salt, secret.encode()))

    def is_of(self, secret: str | bytes) -> bool:
        """Return whether it is of ``secret``, in constant time."""
        given = secret.encode() if isinstance(secret, str) else secret
        return hmac.compare_digest(self.digest, _digest(self.salt, given))


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRegistrations:
    """The registrations of one address of ours."""

    ledger: Ledger
    url: str

    async def registered(self, brand_code: int, secret: str) -> frozenset[Channel]:
        """Return the channels of a brand for which İYS was given these credentials last."""
        rows = await self._of(brand_code)
        return frozenset(
            Channel(channel)
            for row in rows
            if _fingerprint(row).is_of(secret)
            for channel in row["channels"]
        )

    async def begin(self, brand_code: int, secret: str) -> Fingerprint:
        """Let these credentials be accepted, and those before them still."""
        for row in await self._of(brand_code):
            known = _fingerprint(row)
            if known.is_of(secret):
                return known
        mine = Fingerprint.of(secret)
        values = {**self._where(brand_code), "salt": mine.salt, "fingerprint": mine.digest}
        async with self.ledger.transaction() as connection:
            await connection.execute(_SQL["begin"], values)
        return mine

    async def add(
        self, brand_code: int, channel: Channel, mine: Fingerprint, *, now: datetime
    ) -> None:
        """Note that İYS has these credentials for a channel."""
        values = {
            **self._where(brand_code),
            "channel": str(channel),
            "every": [str(one) for one in Channel],
            "fingerprint": mine.digest,
            "now": now,
        }
        async with self.ledger.transaction() as connection:
            await connection.execute(_SQL["add-channel"], values)

    async def remove(self, connection: Connection, brand_code: int, channel: Channel) -> None:
        """Note that İYS pushes a channel to this address no more."""
        values = {**self._where(brand_code), "channel": str(channel)}
        await connection.execute(_SQL["remove-channel"], values)

    async def _of(self, brand_code: int) -> Sequence[DictRow]:
        return await self.ledger.fetch(_SQL["of"], self._where(brand_code))

    def _where(self, brand_code: int) -> dict[str, object]:
        return {"brand_code": brand_code, "url": self.url}


async def accepted(ledger: Ledger, *, now: datetime) -> Sequence[Fingerprint]:
    """Return the credentials that İYS may push with now."""
    rows = await ledger.fetch(_SQL["all"], {"former_since": now - FORMER_FOR})
    return [_fingerprint(row) for row in rows]


def _fingerprint(row: DictRow) -> Fingerprint:
    return Fingerprint(salt=row["salt"], digest=row["fingerprint"])


def _digest(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, secret, hashlib.sha256)
