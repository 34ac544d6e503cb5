"""``python -m tests.chaos.gate``: the long campaign; ``make chaos STAGE=gate FAULTS=…``.

Some hundred recipients opt in and out while senders ask two gates about them. The gates, the order
worker and the sink are killed and frozen, the gates are cut off from the broker, the broker is
killed, and the database restarts.

It ends with the lines ``gate-wrong-yes`` and ``gate-yes-at-end``, ``ok`` or ``short``. Exit codes:
0 every guarantee held, 1 one was violated, 2 wrong usage.
What a gate must not have said, by what was published and what İYS holds.

A gate says yes by what it knows, and it may know everything a little late: it was last seen to the
end of its topics at most so long ago as its setting says. An opt-out is *known* to it where it was
acknowledged longer ago than that before the question, and where the question had its token. A yes
is wrong

- after an opt-out that it knows, unless a later opt-in was published before the answer;
- where İYS had not saved a consent by then, given after every opt-out that the gate knows and after
  every one that İYS had saved so long before.

All instants are of one clock. Dates are those of the recipient's acts, as İYS shows them.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated, Any, NamedTuple

import typer

from benchmarks.results import RunReport
from izin.consent import Status
from izin.kafka.bounded_reader import read_all
from izin.ledger.db import Ledger
from izin.local import free_port
from izin.local.processes import answers
from izin.runtime.settings import KafkaSettings
from izin.schemas.api_keys import Scope
from izin.schemas.codec import Codec
from izin.schemas.records import consent_from_avro
from izin.stack.report import FinalState
from tests.chaos.command import Seed, counted, listed, start
from tests.chaos.gate.traffic import Answer, Asker, GivenYes, PublishedEvent, Traffic
from tests.chaos.order.brokers import Network
from tests.chaos.pipeline import (
    ORDER,
    SINK,
    SUPERVISED_EVERY,
    UP_WITHIN,
    CampaignServers,
    PipelineCampaign,
    Victim,
    differences,
    ended,
    run_under_faults,
    supervise,
    until,
)
from tests.support.builders import an_api_key
from tests.support.order.verdict import Worker
from tests.support.published import publish_key

MARGIN = 1.0
"""Seconds on top of what the setting allows."""


class SavedMovement(NamedTuple):
    """A movement in İYS's register."""

    status: str
    date: str
    saved_at: float
    """In seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """What came of a campaign."""

    events: int
    opt_outs: int
    unreadable: int
    """Opt-outs that the law refuses."""
    movements: int
    reasons: Mapping[str, int]
    """Of all answers."""
    failures: Mapping[str, int]
    """Questions without an answer."""
    with_token: int
    """Opt-outs about which was asked with their token."""
    wrong: tuple[str, ...]
    consenting: int
    """Recipients to whom messages may be sent at the end."""
    granted: int
    """To so many of them both gates say yes."""
    unexplained: tuple[str, ...]

    @property
    def granted_share(self) -> float:
        """In percent."""
        return 100 * self.granted / self.consenting if self.consenting else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What there is to compare at the end."""

    traffic: Traffic
    askers: Sequence[Asker]
    gates: Mapping[str, Mapping[str, Answer]]
    """What each gate says at the end, by key."""
    permissions: Mapping[str, Answer]
    failed: Sequence[str]
    """What went wrong before."""


async def judge(
    servers: CampaignServers, evidence: Evidence, ledger: Ledger, *, known_within: float
) -> GateVerdict:
    """Judge every yes, and compare gates, register, ledger and topics at the end.

    What happened ``known_within`` seconds before a question is known to the gate.
    """
    traffic, askers, gates = evidence.traffic, evidence.askers, evidence.gates
    rows = await asyncio.to_thread(lambda: list(servers.simulator.rows("movements")))
    movements = movements_of(rows)
    faults = [
        fault_of(
            yes, traffic.events[yes.key], movements.get(yes.key, ()), known_within=known_within
        )
        for asker in askers
        for yes in asker.yes
    ]
    consenting = traffic.consenting()
    said = [[key for key, answer in one.items() if answer.may_send] for one in gates.values()]
    events = [one for some in traffic.events.values() for one in some]
    return GateVerdict(
        events=len(events),
        opt_outs=sum(one.status is Status.RET for one in events),
        unreadable=traffic.unreadable,
        movements=len(rows),
        reasons=_total(one.reasons for one in askers),
        failures=_total(one.failures for one in askers),
        with_token=sum(one.with_token for one in askers),
        wrong=tuple(one for one in faults if one is not None),
        consenting=len(consenting),
        granted=len(consenting.intersection(*said)),
        unexplained=(
            *evidence.failed,
            *disagreements(gates, evidence.permissions),
            *await _differences(servers, evidence.permissions, ledger),
        ),
    )


def _total(counts: Iterable[Counter[str]]) -> Mapping[str, int]:
    """Return the sum, the most frequent first."""
    return dict(sum(counts, Counter[str]()).most_common())


async def _differences(
    servers: CampaignServers, permissions: Mapping[str, Answer], ledger: Ledger
) -> list[str]:
    """Return where topics, ledger and İYS's register differ."""
    settings, topic = servers.settings, servers.settings.topics.desired_consents
    records = await asyncio.to_thread(lambda: list(read_all(settings, Codec(), topic)))
    rows = await asyncio.to_thread(lambda: list(servers.simulator.rows("register")))
    return await differences(
        ledger,
        {one.key: consent_from_avro(one.value) for one in records},
        {key_of(row): row["status"] for row in rows},
        {key: answer.may_send for key, answer in permissions.items()},
        also={FinalState.REFUSED},
    )


def movements_of(rows: Iterable[Mapping[str, Any]]) -> Mapping[str, list[SavedMovement]]:
    """Return İYS's movements by key."""
    found: dict[str, list[SavedMovement]] = defaultdict(list)
    for row in rows:
        saved_at = row["occurredAt"] / 1000
        found[key_of(row)].append(SavedMovement(row["status"], row["consentDate"], saved_at))
    return found


def key_of(row: Mapping[str, Any]) -> str:
    """Return the key of what the simulator holds."""
    return f"{row['brandCode']}/{row['type']}/{row['recipientType']}/{row['recipient']}"


def fault_of(
    yes: GivenYes,
    events: Sequence[PublishedEvent],
    movements: Sequence[SavedMovement],
    *,
    known_within: float,
) -> str | None:
    """Return what is wrong with ``yes``, None if nothing is.

    ``events`` and ``movements`` are those of its key. What happened ``known_within`` seconds before
    the question is known to the gate.
    """
    known_at = yes.asked_at - known_within
    opt_outs = {
        one.date for one in events if one.status is Status.RET and one.acknowledged_at < known_at
    }
    if yes.token is not None:
        opt_outs.add(yes.token.date)
    what = "the token's opt-out" if yes.token is not None else "an opt-out"
    latest = max(opt_outs, default="")
    if latest and not any(
        one.status is Status.ONAY and one.date > latest and one.published_at < yes.answered_at
        for one in events
    ):
        return _described(yes, f"after {what} of {latest}")
    saved = (one.date for one in movements if one.status == "RET" and one.saved_at < known_at)
    latest = max(latest, *saved, "")
    if not any(
        one.status == "ONAY" and one.date > latest and one.saved_at <= yes.answered_at
        for one in movements
    ):
        return _described(yes, f"İYS held no consent given after {latest or 'no opt-out'}")
    return None


def _described(yes: GivenYes, what: str) -> str:
    took = 1000 * (yes.answered_at - yes.asked_at)
    return (
        f"{yes.gate}, {yes.key}, asked at {yes.asked_at:.3f}, answered after {took:.0f} ms: {what}"
    )


def disagreements(
    gates: Mapping[str, Mapping[str, Answer]], permissions: Mapping[str, Answer]
) -> list[str]:
    """Return where a gate says something else than ``permissions``, which are by key."""
    return [
        f"{gate}, {key}: {found.get(key)}, permissions has {wanted}"
        for gate, found in gates.items()
        for key, wanted in sorted(permissions.items())
        if found.get(key) != wanted
    ]


_AGREED_WITHIN = 30.0
GATES = ("gate-0", "gate-1")
STALE_AFTER = timedelta(seconds=2)


class GateFault(StrEnum):
    """A fault of a process."""

    KILL_GATE = "gate killed"
    FREEZE_GATE = "gate frozen"
    CUT_OFF_GATE = "network of a gate silent"
    KILL_ORDER = "order worker killed"
    FREEZE_ORDER = "order worker frozen"
    KILL_SINK = "sink killed"
    FREEZE_SINK = "sink frozen"


WEIGHTS: Mapping[GateFault, int] = {
    GateFault.KILL_GATE: 20,
    GateFault.FREEZE_GATE: 12,
    GateFault.CUT_OFF_GATE: 12,
    GateFault.KILL_ORDER: 16,
    GateFault.FREEZE_ORDER: 12,
    GateFault.KILL_SINK: 13,
    GateFault.FREEZE_SINK: 9,
}
"""How often each comes up in a long campaign, relative to the others."""
KILLS = frozenset({GateFault.KILL_GATE, GateFault.KILL_ORDER, GateFault.KILL_SINK})
GATE = "gate"
PARTS: Mapping[GateFault, str] = {
    GateFault.KILL_GATE: GATE,
    GateFault.FREEZE_GATE: GATE,
    GateFault.CUT_OFF_GATE: GATE,
    GateFault.KILL_ORDER: ORDER,
    GateFault.FREEZE_ORDER: ORDER,
    GateFault.KILL_SINK: SINK,
    GateFault.FREEZE_SINK: SINK,
}
"""Which processes a fault may hit."""


class GateProcess(Worker):
    """``python -m izin.gate`` under ports of its own."""

    def __init__(self, name: str, settings: KafkaSettings, servers: str, folder: Path) -> None:
        port, operations_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._ready = f"http://127.0.0.1:{operations_port}/health/ready"
        super().__init__(
            name,
            settings,
            folder / f"{name}.log",
            module="izin.gate",
            environment={
                "KAFKA_BOOTSTRAP_SERVERS": servers,
                "IZIN_KAFKA_LOG_LEVEL": "2",
                "IZIN_LOG_LEVEL": "warning",
                "IZIN_GATE_PORT": str(port),
                "IZIN_GATE_OPERATIONS_PORT": str(operations_port),
                "IZIN_GATE_STALE_AFTER": f"PT{STALE_AFTER.total_seconds()}S",
            },
        )

    def is_ready(self) -> bool:
        """Return whether it has read its topics, and is current in every partition."""
        return answers(self._ready)


@contextmanager
def running_gates(
    settings: KafkaSettings, network: Network, folder: Path
) -> Iterator[list[GateProcess]]:
    """Run the gates, which reach Kafka over ``network``; they are killed at the end."""
    with ExitStack() as stack:
        servers = {name: network.bootstrap_servers(name) for name in GATES}
        yield [
            stack.enter_context(GateProcess(name, settings, reached, folder))
            for name, reached in servers.items()
        ]


def victim_of(gate: GateProcess) -> Victim:
    """Return a gate as what faults may hit."""
    return Victim(
        name=gate.name,
        part=GATE,
        process=lambda: gate.process,
        start=gate.start,
        kill=gate.kill,
        answers=gate.is_ready,
    )


@dataclass(slots=True, kw_only=True)
class GateCampaign(PipelineCampaign):
    """Recipients, senders, faults, and at the end a comparison of every yes with what is known."""

    recipients: int = 300
    refused: int = 30
    """Recipients more, whose consents İYS refuses."""
    network: Network
    """Between the gates and the broker."""

    async def run(self, faults: int) -> GateVerdict:
        """Inject so many faults, let everything settle, and judge."""
        await self.prepare(tokenLimit=10, statusLimit=1000, hiddenWindow=0, phoneCheck="valid")
        key = an_api_key(scopes=frozenset({Scope.ASK.value}))
        await asyncio.to_thread(publish_key, self.settings, key)
        with (
            self.workers(count=1) as hit,
            running_gates(self.settings, self.network, self.servers.folder) as gates,
        ):
            urls = {one.name: one.url for one in gates}
            evidence = await self._under_faults(faults, urls, [*map(victim_of, gates), *hit])
        self.on_progress("comparing")
        known_within = STALE_AFTER.total_seconds() + MARGIN
        async with self.ledger() as ledger:
            return await judge(self.servers, evidence, ledger, known_within=known_within)

    async def _under_faults(self, faults: int, urls: dict[str, str], hit: list[Victim]) -> Evidence:
        """Inject so many faults, and return what there is once everything has settled."""
        traffic = Traffic(
            settings=self.settings,
            random=Random(self.seed),
            recipients=self.recipients,
            refused_recipients=self.refused,
            rate=self.rate,
        )
        await asyncio.to_thread(traffic.begin)
        askers = [
            Asker(
                gate=gate,
                url=url,
                keys=sorted(traffic.events),
                permitted=traffic.permitted,
                random=Random(f"{self.seed} {gate}"),
            )
            for gate, url in urls.items()
        ]
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(supervise(hit))
            asking = [tasks.create_task(one.run()) for one in askers]
            await until(
                lambda: bool(traffic.permitted) and all(one.is_up for one in hit),
                UP_WITHIN,
                what="a yes before the faults",
            )
            publishing = tasks.create_task(traffic.run(lambda one: _ask_about(askers, one)))
            await self.inject(
                faults, WEIGHTS, lambda fault, random: self._fault(fault, hit, random)
            )
            traffic.is_over = True
            await publishing
            under_faults = sum(len(one.yes) for one in askers)
            permissions = await asyncio.to_thread(self._settle, traffic)
            gates = await _agreed(askers, permissions)
            for one in askers:
                one.is_over = True
            await asyncio.gather(*asking)
            watch.cancel()
        failed = ended(hit)
        if not under_faults:
            failed.append("no gate said yes to anybody while faults were injected")
        return Evidence(
            traffic=traffic,
            askers=askers,
            gates=gates,
            permissions=permissions,
            failed=failed,
        )

    async def _fault(self, fault: GateFault, hit: list[Victim], random: Random) -> str:
        """Inject a fault; return what it hit."""
        victim = await self.victim(hit, PARTS[fault], random)
        seconds = random.uniform(*self.hold)
        if fault in KILLS:
            await asyncio.to_thread(victim.be_killed)
        elif fault is GateFault.CUT_OFF_GATE:
            silence, resume = (
                partial(one, worker=victim.name)
                for one in (self.network.silence, self.network.resume)
            )
            await asyncio.to_thread(victim.be_held, seconds, silence, resume)
        else:
            await asyncio.to_thread(victim.be_frozen, seconds)
        return victim.name

    def _settle(self, traffic: Traffic) -> dict[str, Answer]:
        """Have recipients do the last they do; return their permissions once everything is done."""
        traffic.finish()
        self.settle(lambda view: view.behind() == 0 and view.lag().is_settled)
        return {
            one.key: Answer(one.value["may_send"], one.value["reason"])
            for one in read_all(self.settings, Codec(), self.settings.topics.permissions)
            if one.key in traffic.events
        }


def _ask_about(askers: list[Asker], opt_out: PublishedEvent) -> None:
    for one in askers:
        one.opt_outs.put_nowait(opt_out)


async def _agreed(
    askers: list[Asker], permissions: dict[str, Answer]
) -> dict[str, dict[str, Answer]]:
    """Return what each gate says of every key, once that is what ``permissions`` has, or after
    long.
    """
    end = time.monotonic() + _AGREED_WITHIN
    while True:
        found = {one.gate: await one.ask_all() for one in askers}
        if not disagreements(found, permissions) or time.monotonic() > end:
            return found
        await asyncio.sleep(SUPERVISED_EVERY)


def main(
    faults: Annotated[int, typer.Option(min=1, help="How many are injected.")] = 200,
    recipients: Annotated[int, typer.Option(min=10, help="Who opt in and out.")] = 300,
    rate: Annotated[float, typer.Option(min=0.1, help="Events a second.")] = 8,
    seed: Seed = 1,
    folder: Annotated[
        Path, typer.Option(help="Data and logs of the last campaign, and its result.")
    ] = Path(".izin/chaos-gate"),
) -> None:
    """Inject faults into gates, workers and servers while senders ask, then judge every yes."""
    with Network(GATES, [1]) as network:
        raise run_under_faults(
            "gate",
            folder,
            lambda servers, show: GateCampaign(
                servers=servers,
                seed=seed,
                recipients=recipients,
                rate=rate,
                network=network,
                on_progress=show,
            ),
            report,
            faults=faults,
            partitions=4,
            network=network,
        )


def report(campaign: GateCampaign, verdict: GateVerdict, *, seconds: float) -> RunReport:
    """Return the report of the campaign."""
    summary = (
        f"{verdict.events} events of {campaign.recipients + campaign.refused} recipients in "
        f"{seconds:.0f} s, {verdict.opt_outs} of them opt-outs, and {verdict.unreadable} opt-outs "
        f"of nobody; {verdict.movements} movements at İYS"
    )
    return RunReport(
        tables=[
            summary,
            counted(campaign.injected),
            f"{sum(verdict.reasons.values())} answers: {counted(verdict.reasons)}",
            f"{verdict.with_token} questions with the token of an opt-out",
            f"no answer: {counted(verdict.failures) or 'never'}",
            f"at the end both gates say yes to {verdict.granted} of {verdict.consenting}",
            *listed(verdict.wrong),
        ],
        data={
            "seed": campaign.seed,
            "seconds": round(seconds),
            "faults": campaign.injected,
            **asdict(verdict),
        },
        figures={
            "gate-wrong-yes": len(verdict.wrong),
            "gate-yes-at-end": verdict.granted_share,
        },
        failures=verdict.unexplained[:20],
    )


if __name__ == "__main__":
    start("gate", main)
