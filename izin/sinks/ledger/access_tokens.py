"""The account's token, shared by all processes: İYS counts ten calls an hour for it, whoever makes
them.

The lease is an advisory lock on a session of its own: what is stored under it is committed at once
and outlives the process, while the lock ends with the session. So a call counted before it was
made stays counted.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from izin.iys.token_store import AccessToken, TokenState
from izin.sinks.ledger.statements import statements

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from izin.sinks.ledger.database import Connection, Ledger

_SQL = statements("access_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerTokenStore:
    """Implements ``iys.token_store.TokenStore``."""

    ledger: Ledger
    account: str

    async def read(self) -> TokenState:
        """Return the state without waiting for the lock."""
        rows = await self.ledger.fetch(_SQL["read"], {"account": self.account})
        return _state(rows[0]) if rows else TokenState()

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[LedgerTokenLease]:
        """Hold the account's lock for as long as the context lasts."""
        async with self.ledger.session() as connection:
            await connection.execute(_SQL["lock"], {"account": self.account})
            found = await connection.execute(_SQL["read"], {"account": self.account})
            row = await found.fetchone()
            yield LedgerTokenLease(
                connection, self.account, TokenState() if row is None else _state(row)
            )


class LedgerTokenLease:
    """The lock on an account's token, and what is known under it."""

    def __init__(self, connection: Connection, account: str, state: TokenState) -> None:
        self._connection = connection
        self._account = account
        self._state = state

    @property
    def state(self) -> TokenState:
        """The state as it stands now."""
        return self._state

    async def store(self, state: TokenState) -> None:
        """Keep ``state``: it is committed when this returns."""
        token = state.token
        await self._connection.execute(
            _SQL["store"],
            {
                "account": self._account,
                "access_token": None if token is None else token.access.get_secret_value(),
                "refresh_token": None
                if token is None or token.refresh is None
                else token.refresh.get_secret_value(),
                "issued_at": None if token is None else token.issued_at,
                "expires_at": None if token is None else token.expires_at,
                "refresh_expires_at": None if token is None else token.refresh_expires_at,
                "calls": list(state.calls),
                "silent_until": state.silent_until,
                "failures": state.failures,
            },
        )
        self._state = state


def _state(row: Mapping[str, Any]) -> TokenState:
    token = None
    if row["access_token"] is not None:
        refresh = row["refresh_token"]
        token = AccessToken(
            access=SecretStr(row["access_token"]),
            refresh=None if refresh is None else SecretStr(refresh),
            issued_at=row["issued_at"],
            expires_at=row["expires_at"],
            refresh_expires_at=row["refresh_expires_at"],
        )
    return TokenState(
        token=token,
        calls=tuple(row["calls"]),
        silent_until=row["silent_until"],
        failures=row["failures"],
    )
