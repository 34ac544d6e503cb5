"""History is kept as long as it must be, and goes without breaking its chains."""

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from izin.console.cli import app
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.sinks.announce import Announcer
from izin.sinks.errors import LedgerFaultError
from izin.sinks.ledger import chains, movements, retention
from izin.sinks.ledger.database import Ledger
from tests.integration.sinks.test_chains import an_act, anchorer

pytestmark = pytest.mark.database

ANNOUNCER = Announcer(Codec(), Topics())
JANUARY, FEBRUARY, MARCH = (date(2026, month, 1) for month in (1, 2, 3))
LATER = datetime(2036, 2, 15, tzinfo=UTC)
"""When January's ten years are over and February's are not."""


async def written(ledger: Ledger, month: int, *sources: str) -> None:
    """Record facts in a month of 2026."""
    now = datetime(2026, month, 10, tzinfo=UTC)
    async with ledger.transaction() as connection:
        await movements.append(connection, [an_act(one, now) for one in sources], now=now)


@pytest.fixture
async def file(ledger: Ledger, tmp_path: Path) -> Path:
    """Give the file in which three months of history are anchored."""
    await written(ledger, 1, "1", "2")
    await written(ledger, 2, "3")
    await written(ledger, 3, "4", "5")
    file = tmp_path / "anchors.jsonl"
    await anchorer(ledger, file).anchor()
    return file


async def faults(ledger: Ledger, file: Path) -> list[str]:
    """Return what verifying finds."""
    found = await chains.verify(ledger, chains.read_anchors(file))
    return [one.what for one in found.faults]


async def test_a_month_whose_term_is_over_goes_and_the_rest_verifies(ledger: Ledger, file: Path):
    """From the last link of what was dropped, as soon as it is anchored outside."""
    (gone,) = await retention.drop(ledger, ANNOUNCER, now=LATER)
    assert gone.month == JANUARY
    assert [one.month for one in await retention.months(ledger)] == [FEBRUARY, MARCH]
    assert await faults(ledger, file) == [
        "rows up to this place were dropped, and no anchor says so"
    ]
    await anchorer(ledger, file).anchor()
    found = await chains.verify(ledger, chains.read_anchors(file))
    assert (found.rows, found.faults) == (3, ())
    await written(ledger, 3, "6")
    assert await faults(ledger, file) == []


async def test_what_is_kept_behind_a_cut_is_verified_as_ever(ledger: Ledger, file: Path):
    """A row that is changed there is named."""
    await retention.drop(ledger, ANNOUNCER, now=LATER)
    await anchorer(ledger, file).anchor()
    async with ledger.session() as connection:
        await connection.execute("ALTER TABLE movements DISABLE TRIGGER movements_append_only")
        await connection.execute("UPDATE movements SET status = 'RET' WHERE place = 3")
        await connection.execute("ALTER TABLE movements ENABLE TRIGGER movements_append_only")
    assert await faults(ledger, file) == ["the row was changed, moved or put in"]


@pytest.mark.usefixtures("file")
async def test_what_is_held_stays_and_keeps_what_follows(ledger: Ledger):
    """A hold of a key keeps the months of it; another customer's keeps nothing."""
    now = datetime.now(UTC)
    await retention.hold(ledger, "another", key=None, why="court", now=now)
    number = await retention.hold(ledger, "acme", key="x", why="court", now=now)
    assert await retention.drop(ledger, ANNOUNCER, now=LATER) == ()
    assert [one.holds for one in await retention.months(ledger)] == [(number,)] * 3
    assert await retention.lift(ledger, number, now=now)
    assert not await retention.lift(ledger, number, now=now)
    assert [one.month for one in await retention.drop(ledger, ANNOUNCER, now=LATER)] == [JANUARY]


@pytest.mark.usefixtures("file")
async def test_months_go_in_order(ledger: Ledger):
    """A month in the middle stays while an earlier one is kept, whoever asks."""
    assert await retention.retain(ledger, FEBRUARY, until=date(2027, 1, 1))
    assert not await retention.retain(ledger, date(2020, 1, 1), until=date(2027, 1, 1))
    assert await retention.expired(ledger, today=date(2030, 1, 1)) == ()
    with pytest.raises(LedgerFaultError, match="movements_append_only"):
        await ledger.fetch("SELECT drop_month('2026-02-01', now())")


@pytest.mark.usefixtures("file")
async def test_people_see_what_would_go_before_it_goes(
    ledger: Ledger, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    """Told first, done with --yes."""
    monkeypatch.setenv("DATABASE_URL", database_url)

    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["retention", *words])
        return result.exit_code, result.output

    async def ran(*words: str) -> tuple[int, str]:
        return await asyncio.to_thread(run, *words)

    assert (await ran("keep", "2026-01", "2026-02-01"))[0] == 0
    assert (await ran("keep", "2026-1", "2026-02-01"))[0] != 0
    assert (await ran("keep", "2020-01", "2026-02-01"))[0] != 0
    assert (await ran("hold", "acme", "--why", "court", "--key", "x"))[0] == 0
    code, output = await ran("holds", "--output", "json")
    assert (code, "court" in output) == (0, True)
    assert "nothing may go" in (await ran("drop"))[1]
    assert (await ran("lift", "1"))[0] == 0
    assert (await ran("lift", "1"))[0] != 0
    assert "1 months of history would go" in (await ran("drop"))[1]
    assert len(await retention.months(ledger)) == 3
    assert "are gone" in (await ran("drop", "--yes"))[1]
    code, output = await ran("list", "--output", "json")
    assert (code, "2026-01" in output, "2026-02" in output) == (0, False, True)
