"""``python -m tests.chaos.gate``: the long campaign; ``make chaos STAGE=gate FAULTS=…``.

Some hundred recipients opt in and out while senders ask two gates about them. The gates, the order
worker and the sink are killed and frozen, the gates are cut off from the broker, the broker is
killed, and the database restarts.

It ends with the lines ``gate-wrong-yes`` and ``gate-yes-at-end``, ``ok`` or ``short``. Exit codes:
0 every guarantee held, 1 one was violated, 2 wrong usage.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated

import typer

from benchmarks.results import RunReport
from izin.kafka.bounded_reader import read_all
from izin.local import free_port
from izin.local.processes import answers
from izin.runtime.settings import KafkaSettings
from izin.schemas.api_keys import Scope
from izin.schemas.codec import Codec
from tests.chaos.command import Seed, counted, listed, start
from tests.chaos.gate.traffic import Answer, Asker, PublishedEvent, Traffic
from tests.chaos.gate.verdict import MARGIN, Evidence, GateVerdict, disagreements, judge
from tests.chaos.order.brokers import Network
from tests.chaos.pipeline import (
    ORDER,
    SINK,
    SUPERVISED_EVERY,
    UP_WITHIN,
    PipelineCampaign,
    Victim,
    ended,
    run_under_faults,
    supervise,
    until,
)
from tests.support.builders import an_api_key
from tests.support.order.verdict import Worker
from tests.support.published import publish_key

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
        gates = []
        for name in GATES:
            gate = GateProcess(name, settings, network.bootstrap_servers(name), folder)
            stack.callback(gate.kill)
            gates.append(gate)
        yield gates


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
            return await judge(evidence, ledger, known_within=known_within)

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
            settings=self.settings,
            simulator=self.simulator,
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
