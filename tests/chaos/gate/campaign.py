"""The campaign: recipients opt in and out, senders ask two gates, and faults fall on all of it."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from random import Random

from izin.kafka.bounded_reader import read_all
from izin.schemas.api_keys import Scope
from izin.schemas.codec import Codec
from tests.chaos.gate.askers import Answer, Asker
from tests.chaos.gate.faults import KILLS, PARTS, WEIGHTS, GateFault
from tests.chaos.gate.processes import STALE_AFTER, running_gates, victim_of
from tests.chaos.gate.traffic import PublishedEvent, Traffic
from tests.chaos.gate.verdict import MARGIN, Evidence, GateVerdict, disagreements, judge
from tests.chaos.order.network import Network
from tests.chaos.pipeline import (
    SUPERVISED_EVERY,
    UP_WITHIN,
    PipelineCampaign,
    ended,
    supervise,
    until,
)
from tests.chaos.victims import Victim
from tests.support.api_keys import an_api_key, publish_key

_FIT_WITHIN = 6.0
"""Seconds in which a process that a fault may hit is waited for."""
_AGREED_WITHIN = 30.0


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
        with self._processes() as (urls, hit):
            evidence = await self._under_faults(faults, urls, hit)
        self.on_progress("comparing")
        known_within = STALE_AFTER.total_seconds() + MARGIN
        async with self.ledger() as ledger:
            return await judge(evidence, ledger, known_within=known_within)

    @contextmanager
    def _processes(self) -> Iterator[tuple[dict[str, str], list[Victim]]]:
        """Run all processes; yield the URLs of the gates, and what faults may hit."""
        with (
            self.workers(count=1) as hit,
            running_gates(self.settings, self.network, self.servers.folder) as gates,
        ):
            yield {one.name: one.url for one in gates}, [*map(victim_of, gates), *hit]

    async def _under_faults(self, faults: int, urls: dict[str, str], hit: list[Victim]) -> Evidence:
        """Inject so many faults, and return what there is once everything has settled."""
        traffic = self._traffic()
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

    def _traffic(self) -> Traffic:
        return Traffic(
            settings=self.settings,
            random=Random(self.seed),
            recipients=self.recipients,
            refused_recipients=self.refused,
            rate=self.rate,
        )

    async def _fault(self, fault: GateFault, hit: list[Victim], random: Random) -> str:
        """Inject a fault; return what it hit."""
        some = [one for one in hit if one.part == PARTS[fault]]
        # One that has just been started does nothing that a fault could spoil; but not for ever.
        with suppress(TimeoutError):
            await until(lambda: any(one.is_up for one in some), _FIT_WITHIN, what="a victim")
        victim = random.choice([one for one in some if one.is_up] or some)
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
