"""Passwords are compared with their hashes, which are renewed where they are weak."""

import asyncio

import pytest
from argon2 import PasswordHasher

from izin.runtime.http_server.problems import RequestRefusedError
from izin.web.passwords import LONGEST, Passwords

RIGHT = "an obviously fake password"
WEAK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


async def test_right_password_keeps_its_hash():
    """And a wrong one has none to keep; a hash is of argon2id."""
    passwords = Passwords()
    stored = await passwords.hash(RIGHT)
    assert stored.startswith("$argon2id$")
    assert await passwords.verified(RIGHT, stored, client="a") == stored
    for wrong in (
        "",
        RIGHT.upper(),
        RIGHT + "x" * LONGEST,
        "\ud800".encode("utf-8", "replace").decode(),
    ):
        assert await passwords.verified(wrong, stored, client="a") is None


async def test_right_password_renews_a_weak_hash():
    """With the parameters of today, under which it is right again."""
    passwords = Passwords()
    renewed = await passwords.verified(RIGHT, WEAK.hash(RIGHT), client="a")
    assert renewed is not None
    assert not PasswordHasher().check_needs_rehash(renewed)
    assert await passwords.verified(RIGHT, renewed, client="a") == renewed


@pytest.mark.parametrize("stored", [None, "", "$argon2id$damaged"])
async def test_nothing_is_right_where_there_is_no_hash(stored: str | None):
    """Nor where it is damaged."""
    assert await Passwords().verified("of nobody", stored, client="a") is None


async def test_longer_password_than_any_is_wrong():
    """Also where it begins with the right one of the greatest length."""
    passwords = Passwords()
    stored = await passwords.hash("x" * LONGEST)
    assert await passwords.verified("x" * LONGEST, stored, client="a") == stored
    assert await passwords.verified("x" * (LONGEST + 1), stored, client="a") is None


async def test_client_that_tries_many_at_once_leaves_room_for_another():
    """Half of those that may wait are of one client; the others are refused at once."""
    passwords, stored = Passwords(), WEAK.hash(RIGHT)

    async def tried(client: str) -> bool:
        try:
            return await passwords.verified("wrong", stored, client=client) is None
        except RequestRefusedError as refused:
            return refused.text.status != 429

    many = [asyncio.create_task(tried("a")) for _ in range(40)]
    await asyncio.sleep(0)
    assert await tried("b")
    assert sum(await asyncio.gather(*many)) == 16
