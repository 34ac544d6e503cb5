"""Deadlines, watched: somebody is told at 50, 80 and 95 percent of a term, when it is missed, and
at once when opt-outs are kept from İYS: a person can withdraw them there. And when a stream of
İYS's is not heard: a citizen's "no" may be in it.

An alarm rings when something new has come so far, not at every look.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from izin.consent.model import Status
from izin.runtime.observe import get_logger
from izin.sinks.ledger import deadlines, stream_progress
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.deadlines import Margin, SuspendedOptOuts
from izin.sinks.ledger.stream_progress import StreamProgress

_log = get_logger(__name__)

STAGES = ("past_50", "past_80", "past_95", "missed")
"""How far a term has passed, the least first."""
SUSPENDED = "kept"
"""The stage of opt-outs that İYS does not let us tell, however much of their term is left."""
STALE = "unheard"
"""The stage of a stream that is not read to its end; the alarm's ``channel`` is the stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """More of a brand's records than before have come to a stage of their term, or are kept; or one
    of its streams is not heard.
    """

    brand_code: int
    channel: str
    status: str
    stage: str
    keys: int


@dataclass(slots=True, kw_only=True)
class DeadlineMonitor:
    """Looks at the deadlines every ``interval``; one process at a time does."""

    ledger: Ledger
    clock: Callable[[], datetime]
    interval: timedelta
    _alerted: dict[tuple[int, str, str, str], int] = field(default_factory=dict)

    async def run(self) -> None:
        """Watch until cancelled."""
        async with self.ledger.sole("watch"):
            while True:
                await self.look()
                await asyncio.sleep(self.interval.total_seconds())

    async def look(self) -> tuple[Alert, ...]:
        """Look once; return what rang, after telling it."""
        now = self.clock()
        found = await deadlines.margins(self.ledger, now=now)
        kept = await deadlines.suspended_opt_outs(self.ledger)
        silent = [one for one in await stream_progress.read(self.ledger) if one.is_stale(now)]
        alarms = tuple(self._new_alerts([*_stages(found), *_kept(kept), *_stale(silent)]))
        for one in alarms:
            if one.stage == STALE:
                _log.critical(
                    "iys is not heard: a citizen's no may wait there",
                    brand=one.brand_code,
                    stream=one.channel,
                    cure="why the log's last 'pull failed' of it; izin doctor",
                )
                continue
            if one.stage == SUSPENDED:
                _log.critical(
                    "opt-outs are kept from iys",
                    records=one.keys,
                    brand=one.brand_code,
                    channel=one.channel,
                    cure="izin brands suspensions",
                    meanwhile=f"izin deadlines opt-outs {one.brand_code}",
                )
                continue
            urgent = one.stage == "missed" or (
                one.status == Status.RET and one.stage in {"past_80", "past_95"}
            )
            tell = _log.critical if urgent else _log.warning
            tell(
                "deadline",
                stage=one.stage,
                records=one.keys,
                brand=one.brand_code,
                channel=one.channel,
                status=one.status,
            )
        return alarms

    def _new_alerts(self, found: Iterable[Alert]) -> Iterator[Alert]:
        now: dict[tuple[int, str, str, str], int] = {}
        for one in found:
            place = (one.brand_code, one.channel, one.status, one.stage)
            if one.keys > self._alerted.get(place, 0):
                yield one
            now[place] = one.keys
        self._alerted = now


def _stages(found: Iterable[Margin]) -> Iterator[Alert]:
    for one in found:
        for stage in STAGES:
            yield Alert(
                brand_code=one.brand_code,
                channel=one.channel,
                status=one.status,
                stage=stage,
                keys=getattr(one, stage),
            )


def _stale(found: Iterable[StreamProgress]) -> Iterator[Alert]:
    for one in found:
        yield Alert(
            brand_code=one.brand_code,
            channel=one.stream,
            status=str(Status.RET),
            stage=STALE,
            keys=1,
        )


def _kept(found: Iterable[SuspendedOptOuts]) -> Iterator[Alert]:
    for one in found:
        yield Alert(
            brand_code=one.brand_code,
            channel=one.channel,
            status=str(Status.RET),
            stage=SUSPENDED,
            keys=one.keys,
        )
