"""The sessions of the console, the links by which an account signs in once, and wrong passwords.

Whoever reads the ledger can sign in with none of them: it has digests alone.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from izin.ledger.console.accounts import Account, account_key, account_of, find
from izin.ledger.db import Ledger, statements
from izin.ledger.history import record_act
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


async def make_link(ledger: Ledger, name: str, *, by: str, now: datetime) -> str:
    """Return the token of a link by which the account of ``name`` signs in once. The history has
    who made it, ``by``: whoever has it acts as that account.

    Raises:
        UnknownAccountError: there is none that is enabled.
    """
    if await find(ledger, name) is None:
        raise UnknownAccountError(name)
    values = {"digest": digest_of(token := new_token()), "name": name, "now": now}
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["insert-link"], values | {"expires_at": now + LINK_LASTS})
        after = {"expires_at": now + LINK_LASTS}
        key = account_key(name)
        await record_act(connection, "make link", key, by=by, now=now, before={}, after=after)
    return token


async def use_link(ledger: Ledger, token: str, *, now: datetime) -> str | None:
    """Return whose link it is, and use it up; None: there is none such (any more)."""
    rows = await ledger.execute(_SQL["use-link"], {"digest": digest_of(token), "now": now})
    return rows[0]["name"] if rows else None


async def begin(ledger: Ledger, name: str, terms: SessionTerms, *, now: datetime) -> str:
    """Return the token of a new session of the account of ``name``."""
    values = {"digest": digest_of(token := new_token()), "name": name, **terms.since(now)}
    await ledger.execute(_SQL["insert-session"], values)
    return token


async def account_by(
    ledger: Ledger, token: str, terms: SessionTerms, *, now: datetime, is_used: bool = True
) -> Account | None:
    """Return whose session it is, if it has not ended; ``is_used``: it is not idle for that."""
    if not token:
        return None
    values: dict[str, Any] = {"digest": digest_of(token), **terms.since(now)}
    rows = await ledger.fetch(_SQL["session"], values)
    if not rows:
        return None
    if is_used and now - rows[0]["seen_at"] > _TOUCHED_EVERY:
        await ledger.execute(_SQL["touch"], {"digest": values["digest"], "now": now})
    return account_of(dict(rows[0]))


async def end(ledger: Ledger, token: str) -> None:
    """End a session."""
    await ledger.execute(_SQL["end-session"], {"digest": digest_of(token)})


async def attempt(ledger: Ledger, name: str, *, now: datetime) -> str | None:
    """Return the hash of the account's password; None: it has none, or is locked or disabled.

    It counts as wrong, after five of which the account is locked, until ``succeed``: so many at
    once are no more than one after the other.
    """
    rows = await ledger.execute(_SQL["attempt"], {"name": name, "now": now})
    return rows[0]["password_hash"] if rows else None


async def succeed(ledger: Ledger, name: str, *, stored: str, kept: str) -> None:
    """Forget wrong passwords, for one was right; keep its hash, where ``stored`` is still there."""
    await ledger.execute(_SQL["succeed"], {"name": name, "stored": stored, "kept": kept})
