"""Passwords of the console: argon2id hashes, made and verified beside the event loop.

An account without a password, one that is locked and one that does not exist take as long as a
wrong password, so that nobody learns which it is.
"""

import asyncio
import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from izin.runtime.http_server.shedding import OF_CLIENT, Shares

SHORTEST = 12
LONGEST = 256
_AT_ONCE = 2
"""Each takes 64 MiB: more at once wait."""
_WAITING = 32
"""So many wait at most; of one client as many as are still free."""


class Passwords:
    """Makes and verifies hashes, a few at once."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._shares = Shares(_WAITING)

    async def hash(self, password: str) -> str:
        """Return the hash of a password."""
        async with self._turn:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verified(self, password: str, stored: str | None, *, client: str) -> str | None:
        """Return the hash to keep, where it is the password of ``stored`` (None: there is none to
        compare with): that, or a new one, where it is weaker than those of today; else None.

        Raises:
            RequestRefusedError: too many of this client wait.
        """
        if self._shares.is_spent(client):
            raise OF_CLIENT.error()
        with self._shares.taking(client):
            async with self._turn:
                return await asyncio.to_thread(self._verify, password, stored)

    def _verify(self, password: str, stored: str | None) -> str | None:
        try:
            self._hasher.verify(stored or _nobody(), password[:LONGEST])
        except (VerificationError, InvalidHashError):
            return None
        if not stored or len(password) > LONGEST:
            return None
        is_weak = self._hasher.check_needs_rehash(stored)
        return self._hasher.hash(password) if is_weak else stored


@cache
def _nobody() -> str:
    return PasswordHasher().hash(secrets.token_hex())
