"""Alert on deadlines: at 50, 80 and 95 percent of a term, and when it is missed.

Suspended opt-outs are alerted at once, for a person can withdraw them on İYS's own pages, and so
are those that are held back until a person decides, stale streams of İYS, which may have a
citizen's opt-out, and daily files that are late, lost or show what neither push nor pull brought.
An alert is raised when it is about more records than before, not at every check.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from izin.consent import Status
from izin.ledger import reads, stream_progress
from izin.ledger.automatic_suspension import decisions
from izin.ledger.daily import files
from izin.ledger.db import Ledger, exclusive
from izin.runtime.logs import get_logger

_log = get_logger(__name__)

STAGES = ("past_50", "past_80", "past_95", "missed")
"""The stages of a term, the earliest first."""


@dataclass(frozen=True, slots=True)
class Alert:
    """What a person must see of a brand: one and the same, whatever its ``records`` are."""

    event: str
    fields: tuple[tuple[str, object], ...]
    """What it is about, and what to do, as it is logged."""
    is_urgent: bool
    records: int = field(compare=False)

    def report(self) -> None:
        """Log it."""
        log = _log.critical if self.is_urgent else _log.warning
        log(self.event, records=self.records, **dict(self.fields))


def alert(event: str, *, records: int = 1, is_urgent: bool = True, **fields: object) -> Alert:
    """Return an alert with these ``fields`` of the log's event."""
    return Alert(event, tuple(fields.items()), is_urgent, records)


def deadline_alert(margin: reads.Margin, stage: str) -> Alert:
    """Return that records have reached a ``stage`` of their term: urgent where that is missed, or
    an opt-out is in danger of it.
    """
    is_in_danger = margin.status == Status.RET and stage in {"past_80", "past_95"}
    return alert(
        "deadline stage reached",
        records=getattr(margin, stage),
        is_urgent=stage == "missed" or is_in_danger,
        stage=stage,
        brand=margin.brand_code,
        channel=margin.channel,
        status=margin.status,
    )


@dataclass(slots=True, kw_only=True)
class DeadlineMonitor:
    """Checks the deadlines every ``interval``, in one process at a time."""

    ledger: Ledger
    clock: Callable[[], datetime]
    interval: timedelta
    _alerted: dict[Alert, int] = field(default_factory=dict)

    async def run(self) -> None:
        """Check until cancelled."""
        async with exclusive(self.ledger, "watch") as ledger:
            while True:
                async with ledger.transaction():
                    # It only reads: whoever has lost the lease finds out here.
                    await self.check()
                await asyncio.sleep(self.interval.total_seconds())

    async def check(self) -> tuple[Alert, ...]:
        """Check once; log the new alerts and return them."""
        found = [one async for one in self._found(self.clock())]
        alerts = tuple(one for one in found if one.records > self._alerted.get(one, 0))
        self._alerted = {one: one.records for one in found}
        for one in alerts:
            one.report()
        return alerts

    async def _found(self, now: datetime) -> AsyncIterator[Alert]:
        for margin in await reads.margins(self.ledger, now=now):
            for stage in STAGES:
                yield deadline_alert(margin, stage)
        for opt_outs in await reads.suspended_opt_outs(self.ledger):
            yield alert(
                "opt-outs suspended",
                records=opt_outs.keys,
                brand=opt_outs.brand_code,
                channel=opt_outs.channel,
                remedy="izin brands suspensions",
                meanwhile=f"izin deadlines opt-outs {opt_outs.brand_code}",
            )
        for suspension in await decisions.undecided(self.ledger):
            yield alert(
                "opt-outs held back" if suspension.status == Status.RET else "opt-ins held back",
                records=suspension.held_back,
                brand=suspension.brand_code,
                source=suspension.source,
                effect="not registered at İYS until a person decides; opt-outs: till a day before "
                "due",
                remedy="izin held-back list; then izin held-back release or izin held-back "
                "withdraw",
            )
        for stream in await stream_progress.read(self.ledger):
            if stream.is_stale(now):
                yield alert(
                    "stream found stale",
                    brand=stream.brand_code,
                    stream=stream.stream,
                    remedy="see the last 'pull failed' of the stream in the log, or izin doctor",
                )
        for file in await files.unsettled(self.ledger, now=now):
            yield alert(
                "daily file needs a person",
                brand=file.brand_code,
                day=str(file.day),
                remedy=f"izin iys daily show --brand {file.brand_code} --day {file.day}",
            )
