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

from izin.sinks.ledger.db.connection import Ledger
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

    async def is_registered(self, brand_code: int, secret: str) -> bool:
        """Return whether İYS was given these credentials last."""
        rows = await self.ledger.fetch(_SQL["of"], {"brand_code": brand_code, "url": self.url})
        return any(
            row["registered_at"] is not None
            and Fingerprint(salt=row["salt"], digest=row["fingerprint"]).is_of(secret)
            for row in rows
        )

    async def begin(self, brand_code: int, secret: str) -> Fingerprint:
        """Let these credentials be accepted, and those before them still."""
        mine = Fingerprint.of(secret)
        async with self.ledger.transaction() as connection:
            await connection.execute(
                _SQL["begin"],
                {
                    "brand_code": brand_code,
                    "url": self.url,
                    "salt": mine.salt,
                    "fingerprint": mine.digest,
                },
            )
        return mine

    async def end(self, brand_code: int, mine: Fingerprint, *, now: datetime) -> None:
        """Note that İYS has these credentials."""
        async with self.ledger.transaction() as connection:
            await connection.execute(
                _SQL["end"],
                {"brand_code": brand_code, "url": self.url, "fingerprint": mine.digest, "now": now},
            )


async def accepted(ledger: Ledger, *, now: datetime) -> Sequence[Fingerprint]:
    """Return the credentials that İYS may push with now."""
    rows = await ledger.fetch(_SQL["all"], {"former_since": now - FORMER_FOR})
    return [Fingerprint(salt=row["salt"], digest=row["fingerprint"]) for row in rows]


def _digest(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, secret, hashlib.sha256)
