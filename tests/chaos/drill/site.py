"""What every drill has: an installation with its traffic, a disaster, and what is judged after it.

Recipients opt in and out, as in the campaign of the gate; each event is acknowledged by Kafka, as
what got a 202 from the intake is. Then something is lost, somebody does what the page of the docs
says, and the installation goes on. What is judged:

    lost      a recipient whose last acknowledged event is not what stands, at the order stage, in
              the ledger, at İYS and in the permissions; or who had a permission again after an
              opt-out
    doubled   an event that was decided twice, or a movement that İYS saved twice
    repeated  a consent that İYS had already and was submitted again (H178)

An opt-out whose registration is not known is submitted at once, and İYS says that it has it (H174):
none may wait for an answer to a question. Those are counted apart.
"""

import asyncio
import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from izin.consent import Status
from izin.kafka.bounded_reader import read_all
from izin.local import Postgres
from izin.schemas.codec import Codec
from izin.schemas.records import consent_from_avro
from izin.stack.scenario import LedgerView
from tests.chaos.gate.__main__ import key_of
from tests.chaos.gate.traffic import PublishedEvent, Traffic
from tests.chaos.pipeline import PipelineCampaign, differences
from tests.support.order.verdict import Worker, committed_records
from tests.support.simulator import SinkProcesses

RECIPIENTS = 300
RATE = 25.0
"""Events a second."""
_DELAY = 1.0
"""Seconds until İYS has a result."""
_STANDS = """SELECT key, desired_status, desired_at, registered = 'ONAY', may_send
    FROM consents ORDER BY key"""
_ROOT = Path(__file__).parents[3]
_REPEATED, _KNOWN_OPT_OUT = "H178", "H174"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillVerdict:
    """The result of a drill."""

    events: int
    recovery: float
    """Seconds from the disaster, or from its repair where that waits for a person, until everything
    was done that had come."""
    lost: list[str]
    doubled: Sequence[str]
    repeated: int
    opt_outs_again: int
    """Opt-outs that İYS had already."""
    named: str = ""
    """What the installation had taken and does not have, and who has it."""


@dataclass(slots=True, kw_only=True)
class Installation:
    """An order worker and a sink worker, with what they are started with."""

    order: Worker
    sinks: SinkProcesses

    def start(self) -> None:
        """Start what does not run."""
        if self.order.process.poll() is not None:
            self.order.start()
        self.sinks.start()

    def kill(self) -> None:
        """Kill both, as a host that loses power does."""
        self.order.kill()
        for number in self.sinks.running:
            self.sinks.kill(number)


@dataclass(slots=True, kw_only=True)
class Drill(PipelineCampaign, ABC):
    """One drill; ``brokers`` and ``database`` say what it needs of the servers."""

    brokers: ClassVar[int] = 1
    database: ClassVar[type[Postgres]] = Postgres
    traffic: Traffic = field(init=False)

    @abstractmethod
    async def run(self) -> DrillVerdict:
        """Let recipients act, lose something, recover, and judge."""

    @asynccontextmanager
    async def running(self, **of_sinks: Any) -> AsyncIterator[Installation]:  # noqa: ANN401  # a field's value each
        """Run the installation, in which every recipient has opted in."""
        await self.prepare(tokenLimit=1000, statusLimit=1_000_000, hiddenWindow=0)
        self.traffic = Traffic(
            settings=self.settings,
            random=Random(self.seed),
            recipients=RECIPIENTS,
            refused_recipients=0,
            rate=RATE,
        )
        with self.installation(**of_sinks) as running:
            running.start()
            await asyncio.to_thread(self.traffic.begin)
            await self.settled()
            yield running

    @contextmanager
    def installation(self, **of_sinks: Any) -> Iterator[Installation]:  # noqa: ANN401  # the same
        """Make the processes; at the end they are ended."""
        options: dict[str, Any] = {
            "database_url": self.servers.database_url,
            "count": 1,
            **of_sinks,
        }
        sinks = SinkProcesses(
            settings=self.settings,
            simulator=self.simulator,
            log=self.servers.folder / "sinks.log",
            result_delay=_DELAY,
            **options,
        )
        with self.order_worker() as order:
            try:
                yield Installation(order=order, sinks=sinks)
            finally:
                sinks.end()

    def order_worker(self) -> Worker:
        """Return an order worker, started."""
        return Worker("order", self.settings, self.servers.folder / "order.log")

    async def act(self, seconds: float) -> None:
        """Let recipients act for so long."""
        self.traffic.is_over = False
        acting = asyncio.create_task(self.traffic.run(lambda _: None))
        await asyncio.sleep(seconds)
        self.traffic.is_over = True
        await acting

    async def settled(self) -> None:
        """Return once everything that came is done."""
        await asyncio.to_thread(self.settle, self.is_settled)

    def is_settled(self, view: LedgerView) -> bool:
        """Whether everything that came is done."""
        return view.behind() == 0 and view.lag().is_settled

    def izin(self, *arguments: str, expected: int = 0) -> str:
        """Run a command of izin as a person does, and return what it printed.

        Raises AssertionError where its exit code is not the ``expected`` one.
        """
        done = subprocess.run(
            [sys.executable, "-m", "izin.cli", *arguments],
            cwd=_ROOT,
            env={
                **os.environ,
                "KAFKA_BOOTSTRAP_SERVERS": self.settings.bootstrap_servers,
                "IZIN_PARTITIONS": str(self.settings.partitions),
                "IZIN_REPLICATION_FACTOR": str(self.settings.replication_factor),
                "DATABASE_URL": self.servers.database_url,
                "IZIN_BY": "drill",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expected, (arguments, done.stdout, done.stderr)
        self.on_progress(f"izin {' '.join(arguments[:3])}")
        return done.stdout

    async def digest(self) -> str:
        """Return a digest of what the ledger says of every key: what is desired, whether İYS holds
        a consent, and whether messages may be sent.
        """
        found = sha256()
        async with self.ledger() as ledger:
            for row in await ledger.fetch(_STANDS):
                found.update(repr(tuple(row.values())).encode())
        return found.hexdigest()

    async def judge(
        self,
        began: float,
        *,
        without: Iterable[PublishedEvent] = (),
        again: Iterable[str] = (),
        named: str = "",
    ) -> DrillVerdict:
        """Judge what stands after a recovery that ``began`` at an instant (monotonic), and has just
        ended. ``without`` are events that are known to be gone, ``again`` keys that were permitted
        when they should not have been.
        """
        recovery = time.monotonic() - began
        gone = {id(one) for one in without}
        latest = {
            key: max(kept, key=lambda one: one.at)
            for key, events in self.traffic.events.items()
            if (kept := [one for one in events if id(one) not in gone])
        }
        topics = self.settings.topics
        states = {
            one.key: consent_from_avro(one.value)
            for one in read_all(self.settings, Codec(), topics.desired_consents)
        }
        permitted = {
            one.key: bool(one.value["may_send"])
            for one in read_all(self.settings, Codec(), topics.permissions)
        }
        lost = [
            f"{key}: {one.status} of {one.date}, not {states.get(key)}"
            for key, one in latest.items()
            if key not in states
            or (states[key].status, states[key].effective_at) != (one.status, one.at)
        ]
        lost += [
            f"{key}: may be sent to after an opt-out"
            for key, one in latest.items()
            if one.status is Status.RET and permitted.get(key)
        ]
        lost += [f"{key}: was permitted again after an opt-out" for key in again]
        register = {key_of(row): row["status"] for row in self.simulator.rows("register")}
        async with self.ledger() as ledger:
            lost += await differences(ledger, states, register, permitted)
        codes: Mapping[str, int] = self.simulator.requests()["codes"]
        return DrillVerdict(
            events=sum(map(len, self.traffic.events.values())),
            recovery=recovery,
            lost=lost,
            doubled=[*self._decided_twice(), *self._saved_twice()],
            repeated=codes.get(_REPEATED, 0),
            opt_outs_again=codes.get(_KNOWN_OPT_OUT, 0),
            named=named,
        )

    def _decided_twice(self) -> Iterator[str]:
        codec, topic = Codec(), self.settings.topics.decisions.name
        applied = Counter(
            decision["event"]["event_id"]
            for one in committed_records(self.settings, topic)
            if (decision := codec.decode("Decision", one.value() or b""))["kind"] == "apply"
        )
        return (f"{one} was decided {count} times" for one, count in applied.items() if count > 1)

    def _saved_twice(self) -> Iterator[str]:
        saved = Counter(
            (key_of(row), row["status"], row["consentDate"])
            for row in self.simulator.rows("movements")
        )
        return (f"{one} was saved {count} times" for one, count in saved.items() if count > 1)
