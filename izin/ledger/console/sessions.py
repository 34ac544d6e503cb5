"""The sessions of the console, the links by which an account signs in once, and wrong passwords.

Whoever reads the ledger can sign in with none of them: it has digests alone.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from izin.ledger.console.accounts import Account, account_of, find
from izin.ledger.db import Ledger, statements
from izin.ledger.record import UnknownAccountError

LINK_LASTS = timedelta(minutes=15)
_TOUCHED_EVERY = timedelta(minutes=1)
_BYTES = 32
_SQL = statements("console")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTerms:
    """How long a session lasts."""

    idle: timedelta
    longest: timedelta

    def since(self, now: datetime) -> dict[str, datetime]:
        """Return from when a session must be, and from when it must have been used."""
        return {"since": now - self.longest, "idle_since": now - self.idle, "now": now}


def new_token() -> str:
    """Return a random token: of a session, or of a link."""
    return secrets.token_urlsafe(_BYTES)


def digest_of(token: str) -> bytes:
    """Return what the ledger has of a token."""
    return hashlib.sha256(token.encode()).digest()


async def make_link(ledger: Ledger, name: str, *, now: datetime) -> str:
    """Return the token of a link by which the account of ``name`` signs in once.

    Raises:
        UnknownAccountError: there is none that is enabled.
    """
    if await find(ledger, name) is None:
        raise UnknownAccountError(name)
    values = {"digest": digest_of(token := new_token()), "name": name, "now": now}
    await ledger.execute(_SQL["insert-link"], values | {"expires_at": now + LINK_LASTS})
    return token


async def use_link(ledger: Ledger, token: str, *, now: datetime) -> str | None:
    """Return whose link it is, and use it up; None: there is none such (any more)."""
    rows = await ledger.fetch(_SQL["use-link"], {"digest": digest_of(token), "now": now})
    return rows[0]["name"] if rows else None


async def begin(ledger: Ledger, name: str, terms: SessionTerms, *, now: datetime) -> str:
    """Return the token of a new session of the account of ``name``."""
    values = {"digest": digest_of(token := new_token()), "name": name, **terms.since(now)}
    await ledger.execute(_SQL["insert-session"], values)
    return token


async def account_by(
    ledger: Ledger, token: str, terms: SessionTerms, *, now: datetime
) -> Account | None:
    """Return whose session it is, which is used by that; None: it has ended."""
    values: dict[str, Any] = {"digest": digest_of(token), **terms.since(now)}
    rows = await ledger.fetch(_SQL["session"], values)
    if not rows:
        return None
    if now - rows[0]["seen_at"] > _TOUCHED_EVERY:
        await ledger.execute(_SQL["touch"], {"digest": values["digest"], "now": now})
    return account_of(dict(rows[0]))


async def end(ledger: Ledger, token: str) -> None:
    """End a session."""
    await ledger.execute(_SQL["end-session"], {"digest": digest_of(token)})


async def password_hash(ledger: Ledger, name: str, *, now: datetime) -> str | None:
    """Return the hash of the account's password; None: it has none, or is locked or disabled."""
    rows = await ledger.fetch(_SQL["password"], {"name": name})
    if not rows or (rows[0]["locked_until"] is not None and rows[0]["locked_until"] > now):
        return None
    found: str | None = rows[0]["password_hash"]
    return found


async def note_password(ledger: Ledger, name: str, *, is_right: bool, now: datetime) -> None:
    """Count a wrong password, after five of which the account is locked, or forget them."""
    statement = _SQL["succeeded" if is_right else "failed"]
    await ledger.execute(statement, {"name": name, "now": now})
