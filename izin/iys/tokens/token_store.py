"""The shared token state of an account, and the lock to renew the token under.

The store is a protocol: the ledger implements it in PostgreSQL, a single process in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token of İYS, and until when it is valid."""

    access: SecretStr
    refresh: SecretStr | None
    issued_at: datetime
    expires_at: datetime
    refresh_expires_at: datetime

    def is_valid(self, now: datetime) -> bool:
        """Whether the token is valid at ``now``."""
        return now < self.expires_at

    def can_refresh(self, now: datetime) -> bool:
        """Whether the next token can be requested without the password."""
        return self.refresh is not None and now < self.refresh_expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenState:
    """What the processes of an account share. ``failures`` counts requests since the last token."""

    token: AccessToken | None = None
    calls: tuple[datetime, ...] = ()
    """When tokens were requested; requests older than an hour do not count."""
    blocked_until: datetime | None = None
    failures: int = 0


class TokenLease(Protocol):
    """The lock on the token state of an account."""

    @property
    def state(self) -> TokenState:
        """The state under the lock."""

    async def store(self, state: TokenState) -> None:
        """Store ``state`` durably before returning."""


class TokenStore(Protocol):
    """The token state that the processes of an account share."""

    async def read(self) -> TokenState:
        """Return the state without waiting for the lock."""

    def lease(self) -> AbstractAsyncContextManager[TokenLease]:
        """Hold the lock of the account within the context."""


class InMemoryTokenStore:
    """The store of a single process, and of tests."""

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
        """Store ``state`` in memory."""
        self.state = state
