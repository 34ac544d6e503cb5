"""Credentials, bells, lanes and turns: the small parts that everything else leans on."""

import asyncio
import base64
from datetime import timedelta

import pytest
from pydantic import SecretStr

from izin.consent.errors import OurError
from izin.sinks.inbound.push import Credentials
from izin.sinks.inbound.push_registration import is_registered
from izin.sinks.ledger.db.migrate import migrations
from izin.sinks.ledger.db.notifications import BULK, Notifications
from izin.sinks.ledger.db.queries import statements
from izin.sinks.outbound.loops import run_every, run_on_notification
from izin.sinks.record.errors import LedgerUnavailableError

CREDENTIALS = Credentials(username="iys", password=SecretStr("fake-password"))
SOON = timedelta(seconds=5)


def basic(text: str) -> str:
    """Return an Authorization header."""
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    "header",
    [None, "", "Basic", "Basic %%%", "Bearer abc", basic("iys:other"), basic("iys")],
)
def test_whoever_does_not_sign_in_rightly_is_not_let_in(header: str | None):
    """İYS refuses a receiver that lets anybody in."""
    assert not CREDENTIALS.admits(header)


def test_iys_is_let_in_and_its_password_is_not_shown():
    """The right credentials pass, and do not print."""
    assert CREDENTIALS.admits(basic("iys:fake-password"))
    assert "fake-password" not in repr(CREDENTIALS)


def test_only_a_made_connection_stands():
    """İYS's two sentences differ by one syllable."""
    assert is_registered("Bağlantı Oluşturuldu")
    assert not is_registered("Bağlantı Oluşturulamadı")
    assert not is_registered(None)


async def test_a_bell_between_looking_and_waiting_is_not_lost():
    """What rang since the work was looked for ends the wait at once."""
    bells = Notifications()
    heard = bells.count(BULK)
    bells.wake(BULK)
    async with asyncio.timeout(1):
        await bells.wait(BULK, heard, SOON)


async def test_a_bell_wakes_whoever_waits():
    """Nobody waits for the interval while there is work."""
    bells = Notifications()
    waiting = asyncio.create_task(bells.wait(BULK, bells.count(BULK), SOON))
    await asyncio.sleep(0)
    bells.wake(BULK)
    async with asyncio.timeout(1):
        await waiting


async def test_a_lane_begins_anew_after_what_time_heals():
    """PostgreSQL restarts: the lane goes on where it was."""
    stopping, tries = asyncio.Event(), []

    async def step() -> bool:
        tries.append(1)
        if len(tries) == 1:
            raise LedgerUnavailableError("restarting")
        stopping.set()
        return True

    async with asyncio.timeout(5):
        await run_on_notification(
            "x", step, notifications=Notifications(), channel=BULK, interval=SOON, stopping=stopping
        )
    assert len(tries) == 2


async def test_a_lane_ends_with_a_fault_of_ours():
    """What is not understood must not be told to İYS."""

    async def step() -> bool:
        raise OurError("a bug")

    with pytest.raises(OurError, match="a bug"):
        await run_every("x", step, interval=SOON, stopping=asyncio.Event())


@pytest.mark.parametrize(
    "file",
    [
        "access_tokens",
        "brands",
        "rate_limits",
        "consents",
        "stream_progress",
        "migrate",
        "movements",
        "offsets",
        "outbox",
        "reads",
        "submissions",
    ],
)
def test_every_statement_says_what_it_keeps(file: str):
    """SQL is named and commented, so that it can be read without its caller."""
    for name, text in statements(file).items():
        assert text.startswith("--"), f"{file}.sql: {name} has no comment"


def test_migrations_are_numbered_without_a_gap():
    """They run in the order of their names."""
    numbers = [int(one.name.split("_")[0]) for one in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
