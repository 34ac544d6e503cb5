"""Campaigns that inject faults one after the other, and those on an order worker and sinks."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Any, TypeVar

from confluent_kafka import KafkaException
from pydantic import SecretStr

from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.record import LedgerUnavailableError, TopicMessages
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.stack.scenario import LedgerView, wait_until
from tests.chaos.injection import Injection
from tests.chaos.input_faults import INPUT_WEIGHTS, HostileInput, InputFault
from tests.chaos.servers import CampaignServers
from tests.chaos.victims import Victim, victims_of
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.order.workers import Worker
from tests.support.registration import register_brand
from tests.support.simulator import SimulatorAdmin
from tests.support.sink_processes import SinkProcesses

F = TypeVar("F", bound=str)


class ServerFault(StrEnum):
    """A fault of a server that all processes use."""

    BROKER = "broker restarted"
    DATABASE = "database restarted"


SERVER_WEIGHTS: Mapping[ServerFault, int] = {ServerFault.BROKER: 4, ServerFault.DATABASE: 4}
"""How often each comes up in a long campaign, relative to the others."""

SUPERVISED_EVERY = 0.2
UP_WITHIN = 60.0
_SETTLED_WITHIN = timedelta(minutes=4)
_RESULT_DELAY = 1.0


@dataclass(slots=True, kw_only=True)
class FaultCampaign:
    """What has servers of its own, a ledger in them, and faults that hit its processes and them."""

    servers: CampaignServers
    seed: int = 1
    pause: tuple[float, float] = (0.6, 1.4)
    """How many seconds lie between two faults, at least and at most."""
    on_progress: Callable[[str], None] = lambda _: None
    injected: Counter[str] = field(default_factory=Counter)

    @property
    def settings(self) -> KafkaSettings:
        """Of the broker."""
        return self.servers.settings

    def ledger(self, pool_size: int = 1) -> Ledger:
        """Return the ledger, to be opened: again, where its server may have restarted."""
        url = SecretStr(self.servers.database_url)
        return Ledger(LedgerSettings(database_url=url, pool_size=pool_size), owner=1)

    async def inject(
        self,
        faults: int,
        weights: Mapping[F, int],
        hit: Callable[[F, Random], Awaitable[str]],
        *,
        topics: tuple[str, ...] = (),
        meanwhile: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Inject so many faults; see ``Injection``. Those of the servers, ``SERVER_WEIGHTS``, and
        of the input, to the lanes or two other ``topics``, come beside the campaign's ``weights``.
        """
        random, hostile = Random(self.seed), HostileInput(self.settings, self.seed, topics)

        async def hit_any(fault: F | InputFault | ServerFault) -> str:
            if isinstance(fault, InputFault):
                return await asyncio.to_thread(self.hit_input, fault, hostile, random)
            if not isinstance(fault, ServerFault):
                return await hit(fault, random)
            restart = {
                ServerFault.BROKER: self.servers.restart_broker,
                ServerFault.DATABASE: self.servers.restart_database,
            }[fault]
            await asyncio.to_thread(restart)
            return "server"

        injection = Injection[F | InputFault | ServerFault](
            weights={**weights, **SERVER_WEIGHTS, **INPUT_WEIGHTS},
            pause=self.pause,
            random=random,
            on_progress=self.on_progress,
        )
        await injection.run(faults, hit_any, meanwhile=meanwhile)
        self.injected.update(injection.injected)

    def hit_input(self, fault: InputFault, hostile: HostileInput, random: Random) -> str:
        """Inject a fault of the input; return where."""
        return hostile.inject(fault, random)


@dataclass(slots=True, kw_only=True)
class PipelineCampaign(FaultCampaign):
    """The events of one brand pass an order worker and sinks, while faults hit them."""

    rate: float = 8.0
    """Acts of recipients a second."""
    hold: tuple[float, float] = (1.0, 6.0)
    """For how many seconds a process is frozen or cut off, at least and at most."""

    @property
    def simulator(self) -> SimulatorAdmin:
        """Of İYS."""
        return self.servers.simulator

    async def prepare(self, **of_simulator: object) -> None:
        """Migrate the ledger, configure the simulator, and register the brand."""
        await migrate(self.servers.database_url)
        self.simulator.configure(
            requestsPerSecond=10,
            requestWindow="sliding",
            resultDelay=_RESULT_DELAY,
            **of_simulator,
        )
        async with self.ledger() as ledger:
            messages = TopicMessages(Codec(), self.settings.topics)
            await register_brand(ledger, messages, ACTIVE, by="test", now=datetime.now(UTC))

    @contextmanager
    def workers(self, **of_sinks: Any) -> Iterator[list[Victim]]:  # noqa: ANN401  # a field's value each
        """Run an order worker and sinks; yield them as what faults hit."""
        sinks = SinkProcesses(
            settings=self.settings,
            database_url=self.servers.database_url,
            simulator=self.simulator,
            log=self.servers.folder / "sinks.log",
            result_delay=_RESULT_DELAY,
            **of_sinks,
        )
        order = Worker("order", self.settings, self.servers.folder / "order.log")
        hit = victims_of(order, sinks)
        try:
            sinks.start()
            yield hit
        finally:
            for one in hit:
                one.release()
            order.kill()
            sinks.end()

    def settle(self, holds: Callable[[LedgerView], bool]) -> None:
        """Return once ``holds``; what cannot be read just after a restart is read again.

        Raises:
            StageFailedError: it does not, for minutes.
        """
        self.on_progress("settling")
        with LedgerView(self.servers.database_url, self.settings, Codec()) as view:

            def is_settled() -> bool:
                try:
                    return holds(view)
                except (BrokerError, KafkaException, LedgerUnavailableError):
                    return False

            wait_until(is_settled, within=_SETTLED_WITHIN, what="everything is done")


async def supervise(hit: Sequence[Victim]) -> None:
    """Start what has ended and let go what was held, until cancelled."""
    while True:
        for one in hit:
            await asyncio.to_thread(one.supervise)
        await asyncio.sleep(SUPERVISED_EVERY)


async def until(holds: Callable[[], bool], within: float, *, what: str) -> None:
    """Return when ``holds()``; raise TimeoutError after so many seconds."""
    end = time.monotonic() + within
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"in {within:.0f} s there was no {what}")
        await asyncio.sleep(0.05)


def ended(hit: Sequence[Victim]) -> list[str]:
    """Return which processes ended by themselves."""
    return [f"{one.name} ended with {one.ends}" for one in hit if one.ends]
