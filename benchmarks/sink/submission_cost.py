"""Measure ingest, claims and settling on a large ledger, with stubbed responses of İYS."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
from pydantic import SecretStr

from benchmarks.sink.fixture import SinkFixture
from benchmarks.sink.outbound import BATCH_SIZE, outbound_steps
from izin.iys.client import IysClient
from izin.iys.rate_limit import Pace
from izin.ledger.rate_limits import LedgerPacer
from izin.runtime.settings import IysSettings
from izin.sinks.outbound.schedule import Scheduler
from izin.sinks.outbound.send import BatchResultPoller
from tests.support.iys import RecordingPacer

_WARM_UP = 3
_RESULT_DELAY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionCost:
    """Times in milliseconds for a thousand keys, sizes in bytes for an entry."""

    keys: int
    ingested_a_second: float
    """Decisions on new recipients."""
    ingest_cpu_us: float
    known_a_second: float
    """Decisions on known recipients, who opt out and in again."""
    known_cpu_us: float
    claimed_ms: float
    """Until the call reaches İYS, its intent saved."""
    received_ms: float
    """From İYS's reply until its receipt is saved."""
    settled_ms: float
    """The poll, its reply read, and what follows from it."""
    claimed_and_settled_ms: float
    slowest_ms: float
    cpu_ms: float
    """Of all three, this process alone; what PostgreSQL uses beside it is not in it."""
    entry_bytes: float
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """One batch: milliseconds of each step, and CPU time in total."""

    claimed: float
    received: float
    settled: float
    cpu: float


async def measure_submission_cost(
    fixture: SinkFixture, url: str, *, ingested: int, trials: int, keys: int
) -> SubmissionCost:
    """Return the cost of ingesting, claiming and settling on a ledger of ``keys`` keys."""
    taken, used = await _ingest(fixture, fixture.decisions(ingested))
    await fixture.add_pending(url, (trials + _WARM_UP) * BATCH_SIZE)
    measured = (await _submit_and_settle(fixture, trials + _WARM_UP))[_WARM_UP:]
    (row,) = await fixture.ledger.fetch(
        """SELECT count(*) AS rows, (
            SELECT sum(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits
            WHERE inhparent = 'history'::regclass) AS bytes FROM history"""
    )
    changes = fixture.changes(min(ingested, keys))
    taken_again, used_again = await _ingest(fixture, changes)
    both = [one.claimed + one.settled for one in measured]
    return SubmissionCost(
        keys=keys,
        ingested_a_second=ingested / taken,
        ingest_cpu_us=used / ingested * 1e6,
        known_a_second=len(changes) / taken_again,
        known_cpu_us=used_again / len(changes) * 1e6,
        claimed_ms=statistics.median(one.claimed for one in measured),
        received_ms=statistics.median(one.received for one in measured),
        settled_ms=statistics.median(one.settled for one in measured),
        claimed_and_settled_ms=statistics.median(both),
        slowest_ms=max(both),
        cpu_ms=statistics.median(one.cpu for one in measured),
        entry_bytes=float(row["bytes"]) / row["rows"],
        entries=row["rows"],
    )


async def _submit_and_settle(fixture: SinkFixture, trials: int) -> list[_Trial]:
    settings = IysSettings(
        base_url="http://iys.example.com", username="bench", password=SecretStr("none")
    )
    clock, iys = _OffsetClock(), _AcceptingIys()
    pacer = LedgerPacer(fixture.ledger, Pace(rate=1e6), address="none")
    await pacer.begin()
    async with IysClient(
        settings,
        auth=httpx.Auth(),
        pacer=RecordingPacer(),
        transport=httpx.MockTransport(iys),
    ) as client:
        scheduler, poller = outbound_steps(
            fixture, client, pacer, clock, result_delay=_RESULT_DELAY
        )
        return [await _trial(scheduler, poller, clock, iys) for _ in range(trials)]


async def _trial(
    scheduler: Scheduler, poller: BatchResultPoller, clock: _OffsetClock, iys: _AcceptingIys
) -> _Trial:
    began, used = iys.seconds(), iys.cpu_seconds()
    if not await scheduler.bulk():
        raise RuntimeError("nothing to submit")
    received, reached = iys.seconds(), iys.reached
    clock.offset += 2 * _RESULT_DELAY
    polled = iys.seconds()
    if not await poller.settle():
        raise RuntimeError("nothing to settle")
    return _Trial(
        claimed=(reached - began) * 1000,
        received=(received - reached) * 1000,
        settled=(iys.seconds() - polled) * 1000,
        cpu=(iys.cpu_seconds() - used) * 1000,
    )


async def _ingest(fixture: SinkFixture, values: Sequence[bytes]) -> tuple[float, float]:
    """Ingest ``values``; return how many seconds that took, and how much CPU of this process."""
    began, used = time.perf_counter(), time.process_time()
    await fixture.ingest(values)
    return time.perf_counter() - began, time.process_time() - used


class _OffsetClock:
    """The real time plus an offset."""

    def __init__(self) -> None:
        self.offset = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset


class _AcceptingIys:
    """A stub of İYS: every batch is accepted, and every item of it saved."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._seconds = self._cpu_seconds = 0.0
        self.reached = 0.0
        """When the last call came, as ``seconds`` counts."""

    def seconds(self) -> float:
        """Return the time as it passes while İYS does not work."""
        return time.perf_counter() - self._seconds

    def cpu_seconds(self) -> float:
        """Return the CPU time of this process without İYS's work."""
        return time.process_time() - self._cpu_seconds

    def __call__(self, request: httpx.Request) -> httpx.Response:
        began, used = time.perf_counter(), time.process_time()
        self.reached = self.seconds()
        try:
            return self._reply(request)
        finally:
            self._seconds += time.perf_counter() - began
            self._cpu_seconds += time.process_time() - used

    def _reply(self, request: httpx.Request) -> httpx.Response:
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        if request.method == "POST":
            items = json.loads(request.content)
            name = f"{len(self._sizes):032x}"
            self._sizes[name] = len(items)
            accepted = [
                {**item, "subRequestId": f"{name}-{n}", "creationDate": now}
                for n, item in enumerate(items)
            ]
            return httpx.Response(202, json={"requestId": name, "subRequests": accepted})
        name = request.url.path.rpartition("/")[2]
        saved = [
            {
                "subRequestId": f"{name}-{n}",
                "index": n,
                "status": "success",
                "transactionId": f"{n:064x}",
                "creationDate": now,
            }
            for n in range(self._sizes[name])
        ]
        return httpx.Response(200, json=saved)
