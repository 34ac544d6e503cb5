"""Alert on deadlines: at 50, 80 and 95 percent of a term, and when it is missed.

Suspended opt-outs are alerted at once, for a person can withdraw them on İYS's own pages, and so
are those that a brake holds back until a person decides, stale streams of İYS, which may have a
citizen's opt-out, and daily files that are late, lost or show what neither push nor pull brought.
An alert is raised when more records than before reach a stage, not at every
check.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain

from izin.consent.model import Status
from izin.runtime.observe import get_logger
from izin.sinks.ledger import deadlines, stream_progress
from izin.sinks.ledger.brake import decisions
from izin.sinks.ledger.brake.decisions import Brake
from izin.sinks.ledger.daily import files
from izin.sinks.ledger.daily.files import DailyFile
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.leases import sole
from izin.sinks.ledger.deadlines import Margin, SuspendedOptOuts
from izin.sinks.ledger.stream_progress import StreamProgress

_log = get_logger(__name__)

STAGES = ("past_50", "past_80", "past_95", "missed")
"""The stages of a term, the earliest first."""
SUSPENDED = "suspended"
"""The stage of suspended opt-outs, whatever is left of their term."""
HELD_BACK = "held_back"
"""The stage of what a brake holds back; the alert's ``channel`` is their source."""
STALE = "stale"
"""The stage of a stream that was not pulled to its end; the alert's ``channel`` is the stream."""
DAILY = "daily"
"""The stage of daily files; the alert's ``channel`` is the day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """More of a brand's records than before have reached a stage of their term, are suspended or
    held back, or one of its streams is stale, or a daily file is late, lost or differs.
    """

    brand_code: int
    channel: str
    status: str
    stage: str
    keys: int


@dataclass(slots=True, kw_only=True)
class DeadlineMonitor:
    """Checks the deadlines every ``interval``, in one process at a time."""

    ledger: Ledger
    clock: Callable[[], datetime]
    interval: timedelta
    _alerted: dict[tuple[int, str, str, str], int] = field(default_factory=dict)

    async def run(self) -> None:
        """Check until cancelled."""
        async with sole(self.ledger, "watch") as ledger:
            while True:
                async with ledger.transaction():
                    # It only reads: whoever has lost the lease finds out here.
                    await self.check()
                await asyncio.sleep(self.interval.total_seconds())

    async def check(self) -> tuple[Alert, ...]:
        """Check once; log the new alerts and return them."""
        now = self.clock()
        margins = await deadlines.margins(self.ledger, now=now)
        suspended = await deadlines.suspended_opt_outs(self.ledger)
        stale = [one for one in await stream_progress.read(self.ledger) if one.is_stale(now)]
        brakes = await decisions.undecided(self.ledger)
        daily = await files.unsettled(self.ledger, now=now)
        found = chain(_alerts(margins, suspended, brakes, stale), _of_files(daily))
        alerts = tuple(self._new_alerts(found))
        for one in alerts:
            _report(one)
        return alerts

    def _new_alerts(self, found: Iterable[Alert]) -> Iterator[Alert]:
        now: dict[tuple[int, str, str, str], int] = {}
        for one in found:
            place = (one.brand_code, one.channel, one.status, one.stage)
            if one.keys > self._alerted.get(place, 0):
                yield one
            now[place] = one.keys
        self._alerted = now


def _report(one: Alert) -> None:
    """Log an alert, with what to do about it."""
    if one.stage == STALE:
        _log.critical(
            "stream found stale",
            brand=one.brand_code,
            stream=one.channel,
            remedy="see the last 'pull failed' of the stream in the log, or izin doctor",
        )
        return
    if one.stage == DAILY:
        _log.critical(
            "daily file needs a person",
            brand=one.brand_code,
            day=one.channel,
            remedy=f"izin iys daily show --brand {one.brand_code} --day {one.channel}",
        )
        return
    if one.stage == HELD_BACK:
        _log.critical(
            "opt-outs held back" if one.status == Status.RET else "opt-ins held back",
            records=one.keys,
            brand=one.brand_code,
            source=one.channel,
            effect="not registered at İYS until a person decides; opt-outs: till a day before due",
            remedy="izin iys list; then izin iys release or izin iys withdraw",
        )
        return
    if one.stage == SUSPENDED:
        _log.critical(
            "opt-outs suspended",
            records=one.keys,
            brand=one.brand_code,
            channel=one.channel,
            remedy="izin brands suspensions",
            meanwhile=f"izin deadlines opt-outs {one.brand_code}",
        )
        return
    urgent = one.stage == "missed" or (
        one.status == Status.RET and one.stage in {"past_80", "past_95"}
    )
    log = _log.critical if urgent else _log.warning
    log(
        "deadline stage reached",
        stage=one.stage,
        records=one.keys,
        brand=one.brand_code,
        channel=one.channel,
        status=one.status,
    )


def _alerts(
    margins: Iterable[Margin],
    suspended: Iterable[SuspendedOptOuts],
    brakes: Iterable[Brake],
    stale: Iterable[StreamProgress],
) -> Iterator[Alert]:
    for margin in margins:
        for stage in STAGES:
            yield Alert(
                brand_code=margin.brand_code,
                channel=margin.channel,
                status=margin.status,
                stage=stage,
                keys=getattr(margin, stage),
            )
    for opt_outs in suspended:
        yield Alert(
            brand_code=opt_outs.brand_code,
            channel=opt_outs.channel,
            status=str(Status.RET),
            stage=SUSPENDED,
            keys=opt_outs.keys,
        )
    for brake in brakes:
        yield Alert(
            brand_code=brake.brand_code,
            channel=brake.source,
            status=brake.status,
            stage=HELD_BACK,
            keys=brake.held_back,
        )
    for progress in stale:
        yield Alert(
            brand_code=progress.brand_code,
            channel=progress.stream,
            status=str(Status.RET),
            stage=STALE,
            keys=1,
        )


def _of_files(daily: Iterable[DailyFile]) -> Iterator[Alert]:
    for file in daily:
        yield Alert(
            brand_code=file.brand_code,
            channel=str(file.day),
            status=str(Status.RET),
            stage=DAILY,
            keys=1,
        )
