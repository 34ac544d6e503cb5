"""Passwords of the console: argon2id hashes, made and verified beside the event loop.

An account without a password, one that is locked and one that does not exist take as long as a
wrong password, so that nobody learns which it is.
"""

import asyncio
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST = 12
LONGEST = 256
_AT_ONCE = 2
"""Each takes 64 MiB: more at once wait."""


class Passwords:
    """Makes and verifies hashes, a few at once."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def hash(self, password: str) -> str:
        """Return the hash of a password."""
        async with self._turn:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def is_right(self, password: str, stored: str | None) -> bool:
        """Whether it is the password of ``stored``; None: there is none to compare with."""
        async with self._turn:
            return await asyncio.to_thread(self._verify, password[:LONGEST], stored)

    def _verify(self, password: str, stored: str | None) -> bool:
        try:
            self._hasher.verify(stored or _nobody(), password)
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None


@cache
def _nobody() -> str:
    return PasswordHasher().hash("of nobody")
