"""``python -m tests.chaos.inbound``: the long campaign; ``make chaos STAGE=inbound FAULTS=…``.

Before that every sink is killed while one of them fetches a daily file, and again while one sweeps.

İYS answers the call that is under way late, so that the kill falls within it. Afterwards the file
must be here once and whole, and the sweep must have asked about every key once: the facts of its
pages in the history add up to its row.

Some hundred citizens opt in and out at İYS, which pushes to two sinks and shows it to the one that
pulls. The sinks and the order worker are killed, broker and database restart, pushes are lost,
doubled, reordered and repeated.

A movement must stand in the history as one observation of a pull, and as a decision that applied it
or found it stale: it is missing where either lacks, double where two observations have it or where
it was applied twice. What the ledger says is registered must be what İYS's register has.

It ends with the lines ``inbound-missing``, ``inbound-double`` and ``inbound-registered``, ``ok`` or
``short``. Exit codes: 0 every guarantee held, 1 one was violated, 2 wrong usage.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha384
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer

from benchmarks.results import RunReport
from izin.consent import DecisionKind
from izin.iys.wire_format import IysMovement, JsonReader, Stream
from izin.ledger.daily import files, lines
from izin.ledger.db import Ledger
from izin.ledger.history import decision_columns, sweep_key
from izin.ledger.record import Brand, event_of
from izin.ledger.sweep import sweeps
from izin.local import free_port
from izin.stack.scenario import LedgerView
from tests.chaos.command import Seed, counted, listed, start
from tests.chaos.hostile.records import RECIPIENTS
from tests.chaos.pipeline import (
    ORDER,
    SINK,
    UP_WITHIN,
    PipelineCampaign,
    Victim,
    ended,
    once,
    run_under_faults,
    supervise,
    until,
)
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.builders import BRAND, a_phone
from tests.support.simulator import SimulatorAdmin, a_change

SINKS = 2
"""Each is a receiver of its own at İYS: as many as İYS allows."""
_CHANNELS = 3
"""Each is registered for push by a call of its own."""
_HIDDEN = 3.0
"""For how many seconds İYS's pull hides what was done."""
_PULLED_EVERY = 2.0
"""Seconds between two pulls of a stream."""
_APART = 2.5
"""Seconds between two acts of one citizen: in one second İYS's register does not order them."""
_HISTORY = """SELECT kind, event_id, source, decision FROM history
    WHERE kind IN ('decision', 'observation') AND commitment IS NULL"""
_REGISTERED = "SELECT key, registered FROM consents WHERE registered IS NOT NULL"
_OLDEST_PULL = "SELECT min(last_pulled_at) AS oldest FROM stream_cursors"
_PULLED = f"pull/{Stream.IYS}/"
OPTED_IN = 2500
"""Who opted in the day before: three pages of a sweep, and of a pull."""
_FIRST = 1_000_000
"""No number of a citizen who acts later."""
_DAY = 86_400.0
_SLOW = 5.0
"""Seconds in which İYS answers the call that is under way; within them the kill must fall."""
_WITHIN = 60.0
_SWEPT = """SELECT coalesce(sum((data->>'queried')::bigint), 0)::bigint AS queried
    FROM history WHERE key = %(key)s"""
_KNOWN = "SELECT FROM consents WHERE registered = 'ONAY' AND brand_code = %(brand)s"


def fill_yesterday(simulator: SimulatorAdmin) -> None:
    """Have recipients opt in at İYS the day before; the file of that day is fetched slowly."""
    simulator.post("settings", reportDelay=0)
    simulator.post("clock", offset=-_DAY)
    changes = [
        a_change("ONAY", a_phone(_FIRST + number), source="IYS_WEB_YENI")
        for number in range(OPTED_IN)
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
        file = await once(self._file, _WITHIN)
        content = b"".join([part async for part in lines.read(self.ledger, file)])
        wrong = wrong_about_file(file, content)
        await once(self._are_known, _WITHIN)
        self.simulator.inject_fault("statuses", slowSeconds=_SLOW, after=1)
        (ordered,) = await sweeps.order(self.ledger, [BRAND], by="chaos", now=datetime.now(UTC))
        await self._interrupt("statuses", sinks)
        sweep = await once(self._swept, _WITHIN)
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

    async def _file(self) -> files.DailyFile | None:
        """Return the file of the day before; None: it is not compared yet."""
        day = files.today_in_turkey(datetime.now(UTC)) - timedelta(days=1)
        found = await files.one(self.ledger, BRAND, day)
        return found if found is not None and found.state is files.FileState.COMPARED else None

    async def _are_known(self) -> bool:
        """Whether the ledger has what every recipient did."""
        return len(await self.ledger.fetch(_KNOWN, {"brand": BRAND})) == OPTED_IN

    async def _swept(self) -> sweeps.Sweep | None:
        """Return the sweep; None: it has not ended."""
        (found,) = await sweeps.latest(self.ledger)
        return None if found.ended_at is None else found


def wrong_about_file(file: files.DailyFile, content: bytes) -> list[str]:
    """Return what is wrong about the file of recipients that each opted in once."""
    stored, found = content.count(b"\n"), []
    if (file.lines, stored) != (OPTED_IN, OPTED_IN):
        found.append(f"daily file of {OPTED_IN} lines: {file.lines} noted, {stored} stored")
    if sha384((file.hashed_prefix or b"") + content).hexdigest() != file.hash_value:
        found.append("the stored daily file has another hash than İYS states")
    return found


def wrong_about_sweep(sweep: sweeps.Sweep, in_history: int) -> list[str]:
    """Return what is wrong about a sweep of these recipients."""
    counted = sweep.counts.queried
    if (counted, in_history) == (OPTED_IN, OPTED_IN):
        return []
    return [f"sweep of {OPTED_IN} keys: {counted} counted, {in_history} in the history"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFact:
    """What the history has of an event: an observation by its source, or a decision by its kind."""

    event_id: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundVerdict:
    """What came of a campaign."""

    movements: int
    decisions: int
    missing: Sequence[str]
    double: Sequence[str]
    differing: Sequence[str]
    """Keys of which the ledger says something else than İYS's register."""
    failed: Sequence[str] = ()
    """Processes that ended by themselves."""


def expected_events(rows: Iterable[Mapping[str, Any]], brand: Brand, at: datetime) -> set[str]:
    """Return the events that citizens' movements, as the simulator lists them, must become."""
    read = [
        IysMovement.read(JsonReader(row))
        for row in rows
        if str(row["source"] or "").startswith("IYS_")
    ]
    return {event_of(one, brand, Stream.IYS, path="pull", at=at).event_id for one in read}


async def recorded_facts(ledger: Ledger) -> list[RecordedFact]:
    """Return the decisions and observations of the history."""
    found = []
    for row in await ledger.fetch(_HISTORY):
        if row["decision"] is None:
            found.append(RecordedFact(event_id=row["event_id"], what=row["source"]))
            continue
        columns = decision_columns(row["decision"])
        found.append(RecordedFact(event_id=columns["event_id"], what=str(columns["data"]["kind"])))
    return found


def oldest_pull(ledger: Ledger) -> datetime | None:
    """Return since when every stream was read to its end; None: one never was."""

    async def read() -> datetime | None:
        async with ledger:
            (row,) = await ledger.fetch(_OLDEST_PULL)
            found: datetime | None = row["oldest"]
            return found

    return asyncio.run(read())


def judge(
    events: Iterable[str],
    facts: Iterable[RecordedFact],
    ledger: Mapping[str, str],
    register: Mapping[str, str],
    *,
    failed: Sequence[str] = (),
) -> InboundVerdict:
    """Return what is missing, double and different."""
    expected, pulled, applied, decided = set(events), Counter[str](), Counter[str](), set[str]()
    decisions = 0
    for fact in facts:
        if fact.what.startswith(_PULLED):
            pulled[fact.event_id] += 1
        elif fact.what in set(DecisionKind):
            decisions += 1
            decided.add(fact.event_id)
            applied[fact.event_id] += fact.what == DecisionKind.APPLY
    return InboundVerdict(
        movements=len(expected),
        decisions=decisions,
        missing=sorted(expected - (pulled.keys() & decided)),
        double=sorted(
            {one for one, count in (*pulled.items(), *applied.items()) if count > 1} & expected
        ),
        differing=[
            f"{key}: ledger {ledger.get(key)}, İYS {register.get(key)}"
            for key in sorted(register.keys() | ledger.keys())
            if ledger.get(key) != register.get(key)
        ],
        failed=failed,
    )


class InboundFault(StrEnum):
    """A fault of a process, or of İYS's pushes."""

    KILL_SINK = "receiver and puller killed"
    FREEZE_SINK = "receiver and puller frozen"
    KILL_ORDER = "order worker killed"
    LOST = "pushes lost"
    DOUBLED = "pushes doubled"
    OVERTAKEN = "pushes reordered"
    UNANSWERED = "answers to pushes lost"
    PULL = "pulls refused"


WEIGHTS: Mapping[InboundFault, int] = {
    InboundFault.KILL_SINK: 20,
    InboundFault.FREEZE_SINK: 8,
    InboundFault.KILL_ORDER: 8,
    InboundFault.LOST: 12,
    InboundFault.DOUBLED: 12,
    InboundFault.OVERTAKEN: 12,
    InboundFault.UNANSWERED: 12,
    InboundFault.PULL: 8,
}
"""How often each comes up in a long campaign, relative to the others."""
AT_IYS: Mapping[InboundFault, Mapping[str, object]] = {
    InboundFault.LOST: {"operation": "push", "delivery": "lost"},
    InboundFault.DOUBLED: {"operation": "push", "delivery": "doubled"},
    InboundFault.OVERTAKEN: {"operation": "push", "delivery": "overtaken", "slowSeconds": 2},
    InboundFault.UNANSWERED: {"operation": "push", "drop": "after"},
    InboundFault.PULL: {"operation": "changes", "status": 503},
}
"""Those that the simulator injects, into the next calls."""
CALLS = 10
"""How many calls each of them spoils."""


@dataclass(slots=True, kw_only=True)
class InboundCampaign(PipelineCampaign):
    """Citizens, faults, and at the end a comparison of İYS, history and ledger."""

    citizens: int = 300
    acts: int = 0

    async def run(self, faults: int) -> InboundVerdict:
        """Inject so many faults, let everything settle, and judge."""
        await self.prepare(
            tokenLimit=100,
            statusLimit=1_000_000,
            hiddenWindow=_HIDDEN,
            pushHttpsRequired=False,
        )
        await asyncio.to_thread(fill_yesterday, self.simulator)
        with self._processes() as hit:
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(supervise(hit))
                interrupted = await self._interrupt(hit)
                await self._under_faults(faults, hit)
                watch.cancel()
        self.on_progress("comparing")
        rows = list(self.simulator.rows("movements"))
        async with self.ledger() as ledger:
            return judge(
                expected_events(rows, ACTIVE, datetime.now(UTC)),
                await recorded_facts(ledger),
                {
                    row["key"]: row["registered"]
                    for row in await ledger.fetch(_REGISTERED)
                    if f"/{RECIPIENTS}" not in row["key"]  # whose opt-outs İYS does not have
                },
                {
                    f"{BRAND}/MESAJ/BIREYSEL/{recipient}": status
                    for recipient, status in self.simulator.register().items()
                },
                failed=[*interrupted, *ended(hit)],
            )

    def _processes(self) -> AbstractContextManager[list[Victim]]:
        """Run all processes within the context; what it gives faults may hit."""
        ports = {number: (free_port(), free_port()) for number in range(SINKS)}
        environment = {
            "IZIN_PUSH_USERNAME": "iys",
            "IZIN_PUSH_PASSWORD": "a-fake-push-password",
            "IYS_HIDDEN_WINDOW": f"PT{_HIDDEN}S",
            "IZIN_PULL_INTERVAL": f"PT{_PULLED_EVERY}S",
            "IZIN_DAILY_FROM": "00:00",
        }
        environments = {
            number: {"IZIN_PUSH_URL": f"http://127.0.0.1:{port}/iys/push"}
            for number, (port, _) in ports.items()
        }
        return self.workers(
            count=SINKS,
            ports=ports,
            keeps_ports=True,
            environment=environment,
            environments=environments,
        )

    async def _interrupt(self, hit: Sequence[Victim]) -> list[str]:
        """Interrupt the fetch of a daily file, and a sweep; return what is wrong then."""
        self.on_progress("interrupting the fetch of a daily file, and a sweep")
        async with self.ledger() as ledger:
            return await Interruptions(simulator=self.simulator, ledger=ledger).run(hit)

    async def _under_faults(self, faults: int, hit: Sequence[Victim]) -> None:
        """Have citizens act while so many faults are injected, and let everything settle."""
        await until(
            lambda: (
                all(one.is_up for one in hit)
                and self.simulator.calls("pushRegister") >= SINKS * _CHANNELS
            ),
            UP_WITHIN,
            what="receiver of each sink that İYS pushes to",
        )
        async with asyncio.TaskGroup() as tasks:
            acting = tasks.create_task(self._act())
            await self.inject(
                faults,
                WEIGHTS,
                lambda fault, random: self._fault(fault, hit, random),
            )
            acting.cancel()
        self.simulator.clear_faults()
        shown_at = datetime.now(UTC) + timedelta(seconds=_HIDDEN + 1)
        await asyncio.to_thread(self.settle, lambda view: self._is_settled(view, shown_at))

    async def _act(self) -> None:
        """Have citizens opt in and out, in turn, until cancelled."""
        random, began = Random(self.seed), time.monotonic()
        acted: dict[int, float] = {}
        while True:
            await asyncio.sleep(max(began + self.acts / self.rate - time.monotonic(), 0))
            number, now = random.randrange(self.citizens), time.monotonic()
            if now - acted.get(number, 0) < _APART:
                await asyncio.sleep(1 / self.rate)
                continue
            acted[number] = now
            change = a_change(random.choice(["RET", "RET", "ONAY"]), a_phone(number))
            await asyncio.to_thread(self.simulator.post, "citizen", movements=[change])
            self.acts += 1

    async def _fault(self, fault: InboundFault, hit: Sequence[Victim], random: Random) -> str:
        """Inject a fault; return what it hit."""
        if fault in AT_IYS:
            at_iys: dict[str, Any] = {**AT_IYS[fault], "times": CALLS}
            await asyncio.to_thread(lambda: self.simulator.inject_fault(**at_iys))
            return "İYS"
        victim = await self.victim(hit, ORDER if fault is InboundFault.KILL_ORDER else SINK, random)
        if fault is InboundFault.FREEZE_SINK:
            await asyncio.to_thread(victim.be_frozen, random.uniform(*self.hold))
        else:
            await asyncio.to_thread(victim.be_killed)
        return victim.name

    def _is_settled(self, view: LedgerView, shown_at: datetime) -> bool:
        """Whether everything that citizens did was pulled, ordered and recorded."""
        pulled_at = oldest_pull(self.ledger())
        return pulled_at is not None and pulled_at > shown_at and view.behind() == 0


def main(
    faults: Annotated[int, typer.Option(min=1, help="How many are injected.")] = 100,
    citizens: Annotated[int, typer.Option(min=10, help="Who opt in and out at İYS.")] = 300,
    rate: Annotated[float, typer.Option(min=0.1, help="Acts a second.")] = 20,
    seed: Seed = 1,
    folder: Annotated[
        Path, typer.Option(help="Data and logs of the last campaign, and its result.")
    ] = Path(".izin/chaos-inbound"),
) -> None:
    """Inject faults while citizens act at İYS, then compare history and ledger with İYS."""
    raise run_under_faults(
        "inbound",
        folder,
        lambda servers, show: InboundCampaign(
            servers=servers, seed=seed, citizens=citizens, rate=rate, on_progress=show
        ),
        report,
        faults=faults,
        partitions=4,
    )


def report(campaign: InboundCampaign, verdict: InboundVerdict, *, seconds: float) -> RunReport:
    """Return the report of the campaign."""
    wrong = [
        *(f"missing: {one}" for one in verdict.missing),
        *(f"double: {one}" for one in verdict.double),
        *verdict.differing,
    ]
    summary = (
        f"{verdict.movements} movements of {campaign.citizens} citizens in {seconds:.0f} s, "
        f"{verdict.decisions} decisions on them"
    )
    return RunReport(
        tables=[
            summary,
            counted(campaign.injected),
            *listed(wrong),
        ],
        data={
            "seed": campaign.seed,
            "seconds": round(seconds),
            "faults": campaign.injected,
            **asdict(verdict),
        },
        figures={
            "inbound-missing": len(verdict.missing),
            "inbound-double": len(verdict.double),
            "inbound-registered": len(verdict.differing),
        },
        failures=verdict.failed if verdict.movements else [*verdict.failed, "nobody acted"],
    )


if __name__ == "__main__":
    start("inbound", main)
