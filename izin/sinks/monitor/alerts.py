"""Alert on deadlines: at 50, 80 and 95 percent of a term, and when it is missed.

Suspended opt-outs are alerted at once, for a person can withdraw them on İYS's own pages, and so
are those that a brake holds back until a person decides, stale streams of İYS, which may have a
citizen's opt-out, and daily files that are late, lost or show what neither push nor pull brought.
An alert is raised when it is about more records than before, not at every check.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from izin.consent import Status
from izin.ledger import reads, stream_progress
from izin.ledger.brake import decisions
from izin.ledger.daily import files
from izin.ledger.db import Ledger, sole
from izin.runtime.logs import get_logger

_log = get_logger(__name__)

STAGES = ("past_50", "past_80", "past_95", "missed")
"""The stages of a term, the earliest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert(ABC):
    """What a person must see of a brand: one and the same, whatever its ``records`` are."""

    brand_code: int
    records: int = field(default=1, compare=False)

    @abstractmethod
    def report(self) -> None:
        """Log it, with what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineAlert(Alert):
    """Records have reached a stage of their term."""

    channel: str
    status: str
    stage: str

    def report(self) -> None:
        """Log it: critical where the term is missed, or an opt-out is in danger of that."""
        urgent = self.stage == "missed" or (
            self.status == Status.RET and self.stage in {"past_80", "past_95"}
        )
        log = _log.critical if urgent else _log.warning
        log(
            "deadline stage reached",
            stage=self.stage,
            records=self.records,
            brand=self.brand_code,
            channel=self.channel,
            status=self.status,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendedAlert(Alert):
    """Opt-outs are suspended, whatever is left of their term."""

    channel: str

    def report(self) -> None:
        """Log it, with what to do about it."""
        _log.critical(
            "opt-outs suspended",
            records=self.records,
            brand=self.brand_code,
            channel=self.channel,
            remedy="izin brands suspensions",
            meanwhile=f"izin deadlines opt-outs {self.brand_code}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBackAlert(Alert):
    """A brake holds back what a source said."""

    source: str
    status: str

    def report(self) -> None:
        """Log it, with what to do about it."""
        _log.critical(
            "opt-outs held back" if self.status == Status.RET else "opt-ins held back",
            records=self.records,
            brand=self.brand_code,
            source=self.source,
            effect="not registered at İYS until a person decides; opt-outs: till a day before due",
            remedy="izin held-back list; then izin held-back release or izin held-back withdraw",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleStreamAlert(Alert):
    """A stream of İYS was not pulled to its end."""

    stream: str

    def report(self) -> None:
        """Log it, with what to do about it."""
        _log.critical(
            "stream found stale",
            brand=self.brand_code,
            stream=self.stream,
            remedy="see the last 'pull failed' of the stream in the log, or izin doctor",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyFileAlert(Alert):
    """A daily file is late, lost or differs."""

    day: date

    def report(self) -> None:
        """Log it, with what to do about it."""
        _log.critical(
            "daily file needs a person",
            brand=self.brand_code,
            day=str(self.day),
            remedy=f"izin iys daily show --brand {self.brand_code} --day {self.day}",
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
        async with sole(self.ledger, "watch") as ledger:
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
                yield DeadlineAlert(
                    brand_code=margin.brand_code,
                    channel=margin.channel,
                    status=margin.status,
                    stage=stage,
                    records=getattr(margin, stage),
                )
        for opt_outs in await reads.suspended_opt_outs(self.ledger):
            yield SuspendedAlert(
                brand_code=opt_outs.brand_code, channel=opt_outs.channel, records=opt_outs.keys
            )
        for brake in await decisions.undecided(self.ledger):
            yield HeldBackAlert(
                brand_code=brake.brand_code,
                source=brake.source,
                status=brake.status,
                records=brake.held_back,
            )
        for stream in await stream_progress.read(self.ledger):
            if stream.is_stale(now):
                yield StaleStreamAlert(brand_code=stream.brand_code, stream=stream.stream)
        for file in await files.unsettled(self.ledger, now=now):
            yield DailyFileAlert(brand_code=file.brand_code, day=file.day)
