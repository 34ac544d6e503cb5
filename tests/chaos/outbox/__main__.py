"""``python -m tests.chaos.outbox``: an outbox under faults; ``make chaos STAGE=outbox FAULTS=…``.

A system commits two hundred changes a second, each with its row of the outbox by a trigger. Some
transactions take their ids early and commit late, some are rolled back, and at the end one is idle
for ``--idle`` seconds, which keeps vacuum from all that is deleted meanwhile. The relay is killed
and frozen, PostgreSQL and Kafka restart. Then the topics are compared with what was committed.

It ends with the lines ``outbox-commits``, ``outbox-missing``, ``outbox-undone`` and ``outbox-ids``,
``ok`` or ``short``. Exit codes: 0 all of them hold, 1 one does not, 2 wrong usage.
"""

import asyncio
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Annotated

import psycopg
import typer

from benchmarks.results import RunReport
from izin.kafka.clients import ensure_topics
from izin.local import Kafka, Postgres, free_port
from izin.runtime.settings import KafkaSettings
from tests.chaos.command import Seed, Show, counted, listed, run_stage, start
from tests.chaos.pipeline import Injection, Victim, once, supervise, until
from tests.support.outbox import create_outbox, relayed, rows_in
from tests.support.outbox_process import OutboxProcess
from tests.support.published import publish_brand

_TABLE = """
CREATE TABLE acts (
    reference text PRIMARY KEY, status text NOT NULL, at timestamptz NOT NULL DEFAULT now()
);
CREATE FUNCTION act_to_izin() RETURNS trigger LANGUAGE plpgsql SET datestyle = 'ISO' AS $$
BEGIN
    INSERT INTO izin_outbox
        (brand_code, type, recipient, status, source, consent_date, origin_ref, evidence)
    VALUES (
        100001, 'MESAJ', '+90555' || lpad((hashtext(NEW.reference) & 8388607)::text, 7, '0'),
        NEW.status, 'HS_WEB', NEW.at, NEW.reference, jsonb_build_object('address', '192.0.2.1')
    );
    RETURN NULL;
END
$$;
CREATE TRIGGER act_to_izin AFTER INSERT ON acts FOR EACH ROW EXECUTE FUNCTION act_to_izin()
"""
_WRITERS = 8
_OPT_OUTS, _UNDONE, _LATE = 0.2, 0.05, 0.02
"""Shares of the transactions."""
_HELD = (0.5, 3.0)
"""Seconds that a late transaction is open, at least and at most."""
_RECONNECTED_EVERY = 0.1
_UP_WITHIN, _FIT_WITHIN, _SETTLED_WITHIN = 60.0, 8.0, 120.0


class OutboxFault(StrEnum):
    """What is injected."""

    KILL = "kill -9 of the relay"
    FREEZE = "relay frozen"
    RESTART = "database restarted"
    CRASH = "kill -9 of the database"
    BROKER = "broker restarted"


_WEIGHTS: Mapping[OutboxFault, int] = {
    OutboxFault.KILL: 8,
    OutboxFault.FREEZE: 2,
    OutboxFault.RESTART: 2,
    OutboxFault.CRASH: 1,
    OutboxFault.BROKER: 1,
}
"""How often each comes up, relative to the others."""


@dataclass(slots=True)
class OutboxWriters:
    """The system that commits changes, and comes back by itself where its database was away."""

    url: str
    rate: float
    random: Random
    attempts: int = 0
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _late: set[asyncio.Task[bool]] = field(default_factory=set)

    async def run(self) -> None:
        """Commit until ``stopping``, and until what is late is committed too."""
        await asyncio.gather(*(self._write(number) for number in range(_WRITERS)))
        await asyncio.gather(*self._late)

    async def _write(self, number: int) -> None:
        due = time.monotonic()
        while not self.stopping.is_set():
            with suppress(psycopg.Error):
                async with await psycopg.AsyncConnection.connect(self.url) as connection:
                    while not self.stopping.is_set():
                        # A database that was away is not flooded with what was due meanwhile.
                        due = max(due + _WRITERS / self.rate, time.monotonic() - 1)
                        await asyncio.sleep(due - time.monotonic())
                        await self._act(connection, f"{number}-{self.attempts}")
            await asyncio.sleep(_RECONNECTED_EVERY)

    async def _act(self, connection: psycopg.AsyncConnection, reference: str) -> None:
        self.attempts += 1
        chance = self.random.random()
        if chance < _LATE:
            held = self.random.uniform(*_HELD)
            task = asyncio.create_task(self.hold(f"late-{reference}", held))
            self._late.add(task)
        elif chance < _LATE + _UNDONE:
            await self._insert(connection, f"undone-{reference}")
            await connection.rollback()
        else:
            await self._insert(connection, reference)
            await connection.commit()

    async def hold(self, reference: str, seconds: float) -> bool:
        """Take an id now, and commit it after so many ``seconds``; return whether it was."""
        with suppress(psycopg.Error):
            async with await psycopg.AsyncConnection.connect(self.url) as connection:
                await self._insert(connection, reference)
                await asyncio.sleep(seconds)
            return True
        return False

    async def _insert(self, connection: psycopg.AsyncConnection, reference: str) -> None:
        status = "RET" if self.random.random() < _OPT_OUTS else "ONAY"
        values = [reference, status]
        await connection.execute("INSERT INTO acts (reference, status) VALUES (%s, %s)", values)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxVerdict:
    """What was committed, and what the topics have of it."""

    commits: int
    attempts: int
    repeated: int
    """Events that the topics have once more."""
    missing: list[str]
    undone: list[str]
    """What the topics have and nobody committed."""
    ids: list[str]
    """Rows that were relayed as different events."""
    waiting: int = 0
    """Rows in the outbox when the session that had been idle committed."""


def verdict(
    committed: Iterable[str], published: Iterable[tuple[str, str]], *, attempts: int = 0
) -> OutboxVerdict:
    """Compare the references ``committed`` with those ``published``, each with its event's id."""
    wanted, found = set(committed), defaultdict[str, Counter[str]](Counter)
    for reference, event_id in published:
        found[reference][event_id] += 1
    return OutboxVerdict(
        commits=len(wanted),
        attempts=attempts,
        repeated=sum(ids.total() - 1 for ids in found.values()),
        missing=sorted(wanted - found.keys()),
        undone=sorted(found.keys() - wanted),
        ids=sorted(reference for reference, ids in found.items() if len(ids) > 1),
    )


@dataclass(slots=True, kw_only=True)
class OutboxCampaign:
    """A database with an outbox, its relay, and the faults of both."""

    settings: KafkaSettings
    kafka: Kafka
    postgres: Postgres
    relay: OutboxProcess
    writers: OutboxWriters
    random: Random
    show: Show
    pause: tuple[float, float] = (0.5, 2.0)
    injected: Counter[OutboxFault] = field(default_factory=Counter)

    async def run(self, faults: int, idle: float) -> OutboxVerdict:
        """Inject so many faults, then have one session idle for so many seconds."""
        victim = Victim(
            name="relay",
            part="relay",
            process=self._process,
            start=self.relay.start,
            kill=self.relay.kill,
            answers=self.relay.is_ready,
        )
        self.relay.start()
        writing = asyncio.create_task(self.writers.run())
        supervising = asyncio.create_task(supervise([victim]))
        await until(lambda: victim.is_up, _UP_WITHIN, what="relay")
        injection = Injection[OutboxFault](
            weights=_WEIGHTS, pause=self.pause, random=self.random, on_progress=self.show
        )

        async def hit(fault: OutboxFault) -> str:
            with suppress(TimeoutError):  # a fault of one that has just been started spoils nothing
                await until(lambda: victim.is_up, _FIT_WITHIN, what="relay")
            return await asyncio.to_thread(self._hit, fault, victim)

        await injection.run(faults, hit)
        self.injected = injection.injected
        waiting = await self._while_idle(idle)
        self.writers.stopping.set()
        await writing
        self.show("settling")
        try:
            await once(self._is_empty, _SETTLED_WITHIN)
        except TimeoutError:
            self.show("the outbox was not emptied")  # what is missing says so
        supervising.cancel()
        await asyncio.to_thread(self.relay.kill)
        found = await asyncio.to_thread(self._verdict)
        return OutboxVerdict(**asdict(found) | {"waiting": waiting})

    def _process(self) -> subprocess.Popen[bytes]:
        assert self.relay.process is not None
        return self.relay.process

    def _hit(self, fault: OutboxFault, victim: Victim) -> str:
        match fault:
            case OutboxFault.KILL:
                victim.be_killed()
            case OutboxFault.FREEZE:
                victim.be_frozen(self.random.uniform(1, 5))
            case OutboxFault.RESTART:
                self.postgres.stop()
                self.postgres.start()
            case OutboxFault.CRASH:
                self.postgres.kill()
                self.postgres.start()
            case OutboxFault.BROKER:
                self.kafka.stop()
                self.kafka.start()
        return "relay" if fault in {OutboxFault.KILL, OutboxFault.FREEZE} else "server"

    async def _while_idle(self, seconds: float) -> int:
        """Return how many rows wait after a session was idle in its transaction for so long."""
        self.show(f"a session is idle for {seconds:.0f} s")
        assert await self.writers.hold("idle", seconds), "the idle session was cut"
        return await asyncio.to_thread(rows_in, self.postgres.url)

    async def _is_empty(self) -> bool:
        return await asyncio.to_thread(rows_in, self.postgres.url) == 0

    def _verdict(self) -> OutboxVerdict:
        with psycopg.connect(self.postgres.url) as connection:
            committed = [one for (one,) in connection.execute("SELECT reference FROM acts")]
        published = [(str(event.origin_ref), event.event_id) for _, event in relayed(self.settings)]
        refused = rows_in(self.postgres.url, "izin_outbox_refused")
        assert refused == 0, f"{refused} rows were put aside"
        return verdict(committed, published, attempts=self.writers.attempts)


def campaign(
    folder: Path, show: Show, *, faults: int, rate: float, idle: float, seed: int
) -> tuple[OutboxCampaign, OutboxVerdict]:
    """Run a campaign on servers of its own in ``folder``."""
    with Kafka(folder, free_port()) as kafka, Postgres(folder, port=free_port()) as postgres:
        settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=3)
        ensure_topics(settings)
        publish_brand(settings)
        create_outbox(postgres.url, "notify")
        with psycopg.connect(postgres.url) as connection:
            connection.execute(_TABLE)
        made = OutboxCampaign(
            settings=settings,
            kafka=kafka,
            postgres=postgres,
            relay=OutboxProcess(settings, postgres.url, folder / "relay.log"),
            writers=OutboxWriters(postgres.url, rate, Random(seed)),
            random=Random(seed),
            show=show,
        )
        try:
            return made, asyncio.run(made.run(faults, idle))
        finally:
            made.relay.kill()


def main(
    faults: Annotated[int, typer.Option(min=1, help="How many are injected.")] = 40,
    rate: Annotated[float, typer.Option(min=1, help="Transactions a second.")] = 200,
    idle: Annotated[
        float, typer.Option(min=1, help="Seconds that a session is idle in its transaction.")
    ] = 20,
    seed: Seed = 1,
    folder: Annotated[Path, typer.Option(help="The servers' data, and the result.")] = Path(
        ".izin/chaos-outbox"
    ),
) -> None:
    """Kill the relay of an outbox and its servers, then compare the topics with the commits."""
    folder = folder.absolute()
    raise run_stage(
        "outbox",
        folder,
        lambda show: campaign(folder, show, faults=faults, rate=rate, idle=idle, seed=seed),
        lambda done, seconds: report(*done, seed=seed, idle=idle, seconds=seconds),
        in_lines=True,
    )


def report(
    made: OutboxCampaign, found: OutboxVerdict, *, seed: int, idle: float, seconds: float
) -> RunReport:
    """Return the report of a campaign."""
    return RunReport(
        tables=[
            f"seed {seed}: {found.commits} commits of {found.attempts} in {seconds:.0f} s",
            f"{found.repeated} events were written once more, under the same ids",
            counted({str(fault): count for fault, count in made.injected.items()}),
            f"a session idle for {idle:.0f} s: {found.waiting} rows waited at its end",
            *listed([*found.missing, *found.undone, *found.ids]),
        ],
        data={"seed": seed, "idle": idle, "seconds": round(seconds), **asdict(found)},
        figures={
            "outbox-commits": found.commits,
            "outbox-missing": len(found.missing),
            "outbox-undone": len(found.undone),
            "outbox-ids": len(found.ids),
        },
    )


if __name__ == "__main__":
    start("outbox", main)
