"""What the processes of an account know of its token, and the lock to renew it under.

The store is a protocol: the ledger keeps it in PostgreSQL, a process that is alone keeps it in
memory.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from pydantic import SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token as İYS gave it, and until when it holds."""

    access: SecretStr
    refresh: SecretStr | None
    issued_at: datetime
    expires_at: datetime
    refresh_expires_at: datetime

    def is_valid(self, now: datetime) -> bool:
        """Return whether the token still holds."""
        return now < self.expires_at

    def can_refresh(self, now: datetime) -> bool:
        """Return whether the next token can be had without the password."""
        return self.refresh is not None and now < self.refresh_expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenState:
    """What an account's processes share. ``failures`` counts calls since the last token came."""

    token: AccessToken | None = None
    calls: tuple[datetime, ...] = ()
    """When İYS was asked for a token; what is older than an hour no longer counts."""
    silent_until: datetime | None = None
    failures: int = 0


class TokenLease(Protocol):
    """The lock on an account's token, and what is known under it."""

    @property
    def state(self) -> TokenState:
        """The state as it stands now."""

    async def store(self, state: TokenState) -> None:
        """Keep ``state``: it outlives this process and the lease once this returns."""


class TokenStore(Protocol):
    """Where the processes of an account share their token."""

    async def read(self) -> TokenState:
        """Return the state without waiting for the lock."""

    def lease(self) -> AbstractAsyncContextManager[TokenLease]:
        """Hold the lock of the account for as long as the context lasts."""


class InMemoryTokenStore:
    """The store of a process that is alone with its account, and of tests."""

    def __init__(self, state: TokenState | None = None) -> None:
        self.state = state or TokenState()
        self._lock = asyncio.Lock()

    async def read(self) -> TokenState:
        """Return the state."""
        return self.state

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[InMemoryTokenStore]:
        """Hold the lock."""
        async with self._lock:
            yield self

    async def store(self, state: TokenState) -> None:
        """Keep ``state`` for as long as the process lives."""
        self.state = state
