"""The access token of an account, shared by all its processes, and the token calls of an address.

İYS allows ten token calls an hour from one address, whichever account makes them. The lease is two
advisory locks, the account's and the address's, on a session of its own: what is stored under it is
committed at once and outlives the process, while the locks end with the session. So a call that was
counted before it was made stays counted.

Failures count against the password that they were of. Which one that was is known by two bytes of
a slow keyed digest: they distinguish another password from it, and of a list of guesses they leave
too many for anybody who reads the ledger.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import scrypt
from typing import Any, Self

from pydantic import SecretStr

from izin.iys.tokens import AccessToken, TokenLease, TokenState
from izin.ledger import stream_progress
from izin.ledger.db import Connection, Ledger, fetch, statements
from izin.runtime.settings import IysSettings

_SCRYPT = {"n": 1 << 14, "r": 8, "p": 1, "dklen": 2}
_SQL = statements("access_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerTokenStore:
    """Implements ``iys.tokens.TokenStore``."""

    ledger: Ledger
    account: str
    address: str
    digest: bytes = b""
    """Of the password; empty: of none in particular."""

    @classmethod
    def of(cls, ledger: Ledger, iys: IysSettings) -> Self:
        """Return the store of the account and password of these settings."""
        password = iys.password.get_secret_value().encode()
        digest = scrypt(password, salt=f"izin {iys.username}".encode(), **_SCRYPT)
        return cls(ledger=ledger, account=iys.username, address=iys.egress_address, digest=digest)

    async def adopt(self) -> None:
        """Forget the failures of another password, and try again what waited for this one."""
        async with self.ledger.transaction() as connection:
            if await forget_failures(connection, self.account, unless=self.digest):
                await _wake(connection, self.account)

    async def read(self) -> TokenState:
        """Return the state without waiting for the lock."""
        return _state((await self.ledger.fetch(_SQL["read"], self._who))[0], self.digest)

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[TokenLease]:
        """Hold the locks of the account and of its address while the context lasts."""
        async with self.ledger.session() as connection:
            await connection.execute(_SQL["lock"], self._who)
            await connection.execute(_SQL["lock-address"], self._who)
            (row,) = await fetch(connection, _SQL["read"], self._who)
            lease = TokenLease(
                _state(row, self.digest),
                lambda state: self._store(connection, lease.state, state),
            )
            yield lease

    async def _store(self, connection: Connection, before: TokenState, state: TokenState) -> None:
        """Store ``state``, which follows ``before``; it is committed when this returns."""
        token = state.token
        await connection.execute(
            _SQL["store"],
            {
                **self._who,
                "access_token": None if token is None else token.access.get_secret_value(),
                "refresh_token": None
                if token is None or token.refresh is None
                else token.refresh.get_secret_value(),
                "issued_at": None if token is None else token.issued_at,
                "expires_at": None if token is None else token.expires_at,
                "refresh_expires_at": None if token is None else token.refresh_expires_at,
                "failures": state.failures,
            },
        )
        await connection.execute(
            _SQL["store-calls"],
            {**self._who, "calls": list(state.calls), "silent_until": state.blocked_until},
        )
        if before.failures and not state.failures:
            await _wake(connection, self.account)

    @property
    def _who(self) -> Mapping[str, Any]:
        return {"account": self.account, "address": self.address, "digest": self.digest}


async def forget_failures(
    connection: Connection, account: str | None, *, unless: bytes | None = None
) -> bool:
    """Let a token be requested for ``account``, or every account, as if none had been refused; but
    not where ``unless`` is the digest of the password that was. Return whether any had been.

    How many were requested stays counted, and so does the silence that İYS asks for (H084).
    """
    return bool(
        await fetch(connection, _SQL["forget-failures"], {"account": account, "digest": unless})
    )


async def _wake(connection: Connection, account: str) -> None:
    await connection.execute(_SQL["recheck"], {"account": account})
    await stream_progress.wake(connection, account=account)


def _state(row: Mapping[str, Any], digest: bytes) -> TokenState:
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
        blocked_until=row["silent_until"],
        failures=row["failures"] if row["password_digest"] in {None, b"", digest} else 0,
    )
