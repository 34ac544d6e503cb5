"""The campaign: citizens opt in and out at İYS, and faults fall on all that brings it to us."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from izin.local import free_port
from izin.stack.scenario import LedgerView
from tests.chaos.hostile.records import RECIPIENTS
from tests.chaos.inbound.faults import AT_IYS, CALLS, WEIGHTS, InboundFault
from tests.chaos.inbound.interruptions import Interruptions, fill_yesterday
from tests.chaos.inbound.verdict import (
    InboundVerdict,
    expected_events,
    judge,
    oldest_pull,
    recorded_facts,
    registered,
)
from tests.chaos.pipeline import UP_WITHIN, PipelineCampaign, ended, supervise, until
from tests.chaos.victims import ORDER, SINK, Victim
from tests.integration.sinks.sink_harness import ACTIVE, a_phone
from tests.support.builders import BRAND
from tests.support.simulator import a_change

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
                    key: status
                    for key, status in (await registered(ledger)).items()
                    if f"/{RECIPIENTS}" not in key  # whose opt-outs İYS does not have
                },
                {
                    f"{BRAND}/MESAJ/BIREYSEL/{recipient}": status
                    for recipient, status in self.simulator.register().items()
                },
                failed=[*interrupted, *ended(hit)],
            )

    @contextmanager
    def _processes(self) -> Iterator[list[Victim]]:
        """Run all processes; yield what faults may hit."""
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
        with self.workers(
            count=SINKS,
            ports=ports,
            keeps_ports=True,
            environment=environment,
            environments=environments,
        ) as hit:
            yield hit

    async def _interrupt(self, hit: Sequence[Victim]) -> list[str]:
        """Interrupt the fetch of a daily file, and a sweep; return what is wrong then."""
        self.on_progress("interrupting the fetch of a daily file, and a sweep")
        async with self.ledger() as ledger:
            return await Interruptions(simulator=self.simulator, ledger=ledger).run(hit)

    async def _under_faults(self, faults: int, hit: Sequence[Victim]) -> None:
        """Have citizens act while so many faults are injected, and let everything settle."""
        await until(
            lambda: all(one.is_up for one in hit) and self._is_registered(),
            UP_WITHIN,
            what="receiver of each sink that İYS pushes to",
        )
        async with asyncio.TaskGroup() as tasks:
            acting = tasks.create_task(self._act())
            await self.inject(
                faults,
                WEIGHTS,
                lambda fault, random: asyncio.to_thread(self._fault, fault, hit, random),
            )
            acting.cancel()
        self.simulator.clear_faults()
        shown_at = datetime.now(UTC) + timedelta(seconds=_HIDDEN + 1)
        await asyncio.to_thread(self.settle, lambda view: self._is_settled(view, shown_at))

    def _is_registered(self) -> bool:
        return self.simulator.calls("pushRegister") >= SINKS * _CHANNELS

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

    def _fault(self, fault: InboundFault, hit: Sequence[Victim], random: Random) -> str:
        """Inject a fault; return what it hit."""
        if fault in AT_IYS:
            self.simulator.inject_fault(**AT_IYS[fault], times=CALLS)  # type: ignore[arg-type]  # its fields
            return "İYS"
        part = ORDER if fault is InboundFault.KILL_ORDER else SINK
        some = [one for one in hit if one.part == part]
        victim = random.choice([one for one in some if one.is_up] or some)
        if fault is InboundFault.FREEZE_SINK:
            victim.be_frozen(random.uniform(*self.hold))
        else:
            victim.be_killed()
        return victim.name

    def _is_settled(self, view: LedgerView, shown_at: datetime) -> bool:
        """Whether everything that citizens did was pulled, ordered and recorded."""
        pulled_at = oldest_pull(self.ledger())
        return pulled_at is not None and pulled_at > shown_at and view.behind() == 0
