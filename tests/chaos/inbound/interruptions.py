"""Every sink is killed while one of them fetches a daily file, and again while one sweeps.

İYS answers the call that is under way late, so that the kill falls within it. Afterwards the file
must be here once and whole, and the sweep must have asked about every key once: the facts of its
pages in the history add up to its row.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha384
from typing import TypeVar

from izin.ledger.daily import files, lines
from izin.ledger.daily.files import DailyFile, FileState, today_in_turkey
from izin.ledger.db import Ledger
from izin.ledger.history import sweep_key
from izin.ledger.sweep import sweeps
from izin.ledger.sweep.sweeps import Sweep
from tests.chaos.pipeline import SINK, Victim, until
from tests.support.builders import BRAND
from tests.support.simulator import SimulatorAdmin, a_change
from tests.support.webhooks import a_phone

RECIPIENTS = 2500
"""Who opted in the day before: three pages of a sweep, and of a pull."""
_FIRST = 1_000_000
"""No number of a citizen who acts later."""
_DAY = 86_400.0
_SLOW = 5.0
"""Seconds in which İYS answers the call that is under way; within them the kill must fall."""
_WITHIN = 60.0
_SWEPT = """SELECT coalesce(sum((data->>'queried')::bigint), 0)::bigint AS queried
    FROM movements WHERE key = %(key)s"""
_KNOWN = "SELECT FROM consents WHERE registered = 'ONAY' AND brand_code = %(brand)s"
T = TypeVar("T")


def fill_yesterday(simulator: SimulatorAdmin) -> None:
    """Have recipients opt in at İYS the day before; the file of that day is fetched slowly."""
    simulator.post("settings", reportDelay=0)
    simulator.post("clock", offset=-_DAY)
    changes = [
        a_change("ONAY", a_phone(_FIRST + number), source="IYS_WEB_YENI")
        for number in range(RECIPIENTS)
    ]
    simulator.post("citizen", movements=changes)
    simulator.post("clock", offset=0)
    simulator.inject_fault("dayFile", slowSeconds=_SLOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruptions:
    """What is interrupted, before citizens act."""

    simulator: SimulatorAdmin
    ledger: Ledger

    async def run(self, hit: Sequence[Victim]) -> list[str]:
        """Kill every sink in the fetch, and in a sweep; return what is wrong afterwards."""
        sinks = [one for one in hit if one.part == SINK]
        await self._interrupt("dayFile", sinks)
        file = await _once(self._file)
        content = b"".join([part async for part in lines.read(self.ledger, file)])
        wrong = wrong_about_file(file, content)
        await _once(self._are_known)
        self.simulator.inject_fault("statuses", slowSeconds=_SLOW, after=1)
        now = datetime.now(UTC)
        (ordered,) = await sweeps.order(self.ledger, [BRAND], by="chaos", now=now)
        await self._interrupt("statuses", sinks)
        sweep = await _once(self._swept)
        (facts,) = await self.ledger.fetch(_SWEPT, {"key": sweep_key(ordered.id)})
        return wrong + wrong_about_sweep(sweep, facts["queried"])

    async def _interrupt(self, operation: str, sinks: Sequence[Victim]) -> None:
        """Kill all sinks once a call of ``operation`` is under way."""
        await until(
            lambda: operation not in self.simulator.faults_left(),
            _WITHIN,
            what=f"call of {operation}",
        )
        for one in sinks:
            await asyncio.to_thread(one.be_killed)

    async def _file(self) -> DailyFile | None:
        """Return the file of the day before; None: it is not compared yet."""
        day = today_in_turkey(datetime.now(UTC)) - timedelta(days=1)
        found = await files.one(self.ledger, BRAND, day)
        return found if found is not None and found.state is FileState.COMPARED else None

    async def _are_known(self) -> bool:
        """Whether the ledger has what every recipient did."""
        return len(await self.ledger.fetch(_KNOWN, {"brand": BRAND})) == RECIPIENTS

    async def _swept(self) -> Sweep | None:
        """Return the sweep; None: it has not ended."""
        (found,) = await sweeps.latest(self.ledger)
        return None if found.ended_at is None else found


async def _once(read: Callable[[], Awaitable[T | None]]) -> T:
    """Return what ``read`` returns, as soon as that is something; TimeoutError after a minute."""
    async with asyncio.timeout(_WITHIN):
        while True:
            found = await read()
            if found:
                return found
            await asyncio.sleep(0.2)


def wrong_about_file(file: DailyFile, content: bytes) -> list[str]:
    """Return what is wrong about the file of recipients that each opted in once."""
    stored, found = content.count(b"\n"), []
    if (file.lines, stored) != (RECIPIENTS, RECIPIENTS):
        found.append(f"daily file of {RECIPIENTS} lines: {file.lines} noted, {stored} stored")
    if sha384((file.hashed_prefix or b"") + content).hexdigest() != file.hash_value:
        found.append("the stored daily file has another hash than İYS states")
    return found


def wrong_about_sweep(sweep: Sweep, in_history: int) -> list[str]:
    """Return what is wrong about a sweep of these recipients."""
    counted = sweep.counts.queried
    if (counted, in_history) == (RECIPIENTS, RECIPIENTS):
        return []
    return [f"sweep of {RECIPIENTS} keys: {counted} counted, {in_history} in the history"]
