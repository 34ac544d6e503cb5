"""The access token of an account, shared by all its processes, and the token calls of an address.

İYS allows ten token calls an hour from one address, whichever account makes them. The lease is two
advisory locks, the account's and the address's, on a session of its own: what is stored under it is
committed at once and outlives the process, while the locks end with the session. So a call that was
counted before it was made stays counted.

Failures count against the password that they were of. Which one that was is known by two bytes of
a slow keyed digest: they distinguish another password from it, and of a list of guesses they leave
too many for anybody who reads the ledger.

A token that cannot be decrypted is none, and another is requested. Where two processes have no key
in common, each would replace the other's token for ever. So each token call of the last hour counts
as a failure then: the first is made at once, the next ones back off, and some of the hour are left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import scrypt
from typing import Any, Self

from pydantic import SecretStr

from izin.iys.tokens import AccessToken, TokenLease, TokenState
from izin.ledger import stream_progress
from izin.ledger.db import Connection, Ledger, fetch, statements
from izin.ledger.record import SecretKeys, UndecryptableSecretError
from izin.runtime.logs import get_logger
from izin.runtime.settings import IysSettings

_SCRYPT = {"n": 1 << 14, "r": 8, "p": 1, "dklen": 2}
_SQL = statements("access_tokens")
_log = get_logger(__name__)


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
        return self._state((await self.ledger.fetch(_SQL["read"], self._who))[0])

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[TokenLease]:
        """Hold the locks of the account and of its address while the context lasts."""
        async with self.ledger.session() as connection:
            await connection.execute(_SQL["lock"], self._who)
            await connection.execute(_SQL["lock-address"], self._who)
            (row,) = await fetch(connection, _SQL["read"], self._who)
            lease = TokenLease(
                self._state(row), lambda state: self._store(connection, lease.state, state)
            )
            yield lease

    async def _store(self, connection: Connection, before: TokenState, state: TokenState) -> None:
        """Store ``state``, which follows ``before``; it is committed when this returns."""
        token = state.token
        await connection.execute(
            _SQL["store"],
            {
                **self._who,
                "access_token": None if token is None else self._encrypted(token.access),
                "refresh_token": None if token is None else self._encrypted(token.refresh),
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

    def _encrypted(self, secret: SecretStr | None) -> str | None:
        if secret is None:
            return None
        return self.ledger.secret_keys.encrypt(
            secret.get_secret_value(), row_of_token(self.account)
        )

    def _state(self, row: Mapping[str, Any]) -> TokenState:
        ours = row["password_digest"] in {None, b"", self.digest}
        state = TokenState(
            calls=tuple(row["calls"]),
            blocked_until=row["silent_until"],
            failures=row["failures"] if ours else 0,
        )
        try:
            return replace(state, token=_token(row, self.account, self.ledger.secret_keys))
        except UndecryptableSecretError as error:
            _log.error("iys token not decrypted", account=self.account, error=str(error))
            return replace(state, failures=max(state.failures, len(state.calls)))

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


def row_of_token(account: str) -> str:
    """Return what a token of ``account`` is encrypted for."""
    return f"access_tokens/{account}"


def _token(row: Mapping[str, Any], account: str, keys: SecretKeys) -> AccessToken | None:
    """Return the token of a row; raises UndecryptableSecretError."""
    if row["access_token"] is None:
        return None
    stored, refresh = row_of_token(account), row["refresh_token"]
    return AccessToken(
        access=SecretStr(keys.decrypt(row["access_token"], stored)),
        refresh=None if refresh is None else SecretStr(keys.decrypt(refresh, stored)),
        issued_at=row["issued_at"],
        expires_at=row["expires_at"],
        refresh_expires_at=row["refresh_expires_at"],
    )
