"""``python -m tests.chaos.late``: ends of transactions that come late; ``make chaos STAGE=late``.

A proxy before the broker loses the end of nine transactions in ten: the request, which it delivers
in the middle of the next transaction or while the next producer starts, or the answer. Of the
tenth, the request that adds partitions comes late, when the transaction is over.

It ends with the lines ``late-ends`` and ``late-wrong``, ``ok`` or ``short``. Exit codes: 0 every
transaction stands as its producer believed or learnt, whole and once; 1 one does not; 2 wrong
usage.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Annotated

import typer
from confluent_kafka import KafkaException

from benchmarks.results import RunReport
from izin.kafka.bounded_reader import BoundedReader
from izin.kafka.clients import ensure_topics
from izin.local import Kafka, free_port
from izin.runtime.settings import KafkaSettings
from izin.schemas.fast.record_format import NO_HEADERS
from izin.streams.ownership import OutputRecord
from izin.streams.ownership.owned_partition import set_marks
from izin.streams.ownership.transactional_producer import TransactionalProducer
from tests.chaos.command import Seed, counted, listed, run_stage, start
from tests.support.order.verdict import committed_records
from tests.support.proxy import (
    ADD_PARTITIONS,
    END_TRANSACTION,
    LateRequests,
    Loss,
    late_requests,
)

_HOST = "127.0.0.1"
PARTS = 2
_ABORTED = 0.25
"""The share of transactions that are to be aborted."""
_ADDED_LATE = 0.1
"""The share of transactions that lose the request which adds partitions, in place of the end."""
_HOW = [*[Loss.LATE] * 8, Loss.ANSWER, Loss.AT_ONCE]
_BEFORE = 0.3
"""The share of late requests that come while the successor starts, and not in its transaction."""


class End(StrEnum):
    """How a transaction ended, as far as its writer knows."""

    COMMITTED = "committed"
    ABORTED = "aborted"


@dataclass(slots=True, kw_only=True)
class LateWriter:
    """Writes transactions to partition `number` of the decisions, and loses their ends.

    It has one producer after the other under one transactional id, as an owner of a partition has.
    Each transaction is written in two parts. Between them the broker gets what was kept back of the
    transaction before, as late as it harms most: the second part shows whether it ended the first.
    """

    number: int
    settings: KafkaSettings
    bootstrap_servers: str
    """Those behind the proxy."""
    proxy: LateRequests
    random: Random
    ends: dict[str, End] = field(default_factory=dict)
    """What it believes, or has learnt, of each attempt: `<number>/<transaction>/<attempt>`."""
    wanted: set[str] = field(default_factory=set)
    """The transactions, `<number>/<transaction>`, that it committed in the end."""
    losses: Counter[str] = field(default_factory=Counter)
    late_answers: Counter[int] = field(default_factory=Counter)
    """What the broker answered to ends that came late, by its error."""
    partitions_added_late: int = 0
    _read_to: int = 0
    _seen: set[str] = field(default_factory=set)
    """The attempts of which it has read a record."""

    @property
    def _id(self) -> str:
        return f"{self.settings.topic_prefix}late-{self.number}"

    @property
    def _topic(self) -> str:
        return self.settings.topics.decisions.name

    async def run(self, late_ends: int) -> None:
        """Write transactions until so many of their ends came late."""
        producer, transaction, attempt = await self._start(), 0, 0
        with closing(BoundedReader(self.settings, self._id, self._topic)) as reader:
            while self.losses[Loss.LATE] < late_ends:
                own = f"{self.number}/{transaction}/{attempt}"
                is_kept = self.random.random() >= _ABORTED
                try:
                    await self._write(producer, own, is_committed=is_kept)
                except KafkaException:
                    producer = await self._succeed(producer)
                    await self._learn(reader, producer, own)
                else:
                    self.ends[own] = End.COMMITTED if is_kept else End.ABORTED
                if self.ends[own] is End.COMMITTED:
                    self.wanted.add(f"{self.number}/{transaction}")
                    transaction, attempt = transaction + 1, 0
                else:
                    attempt += 1
        await producer.close()
        await self._deliver()

    async def _write(
        self, producer: TransactionalProducer, own: str, *, is_committed: bool
    ) -> None:
        """Write and end a transaction, one of whose requests is lost. Raises KafkaException."""
        is_added_late = self.random.random() < _ADDED_LATE
        if is_added_late:
            self.proxy.lose(self._id, ADD_PARTITIONS, Loss.LATE)
            self.partitions_added_late += 1
        await producer.write([self._record(own, 0)])
        # What is small is sent when the transaction ends, unless it is asked for.
        await producer._send(producer._batches.take())
        await asyncio.gather(*(stored for _, stored in producer._sent))
        how = self.random.choice(_HOW)
        if not is_added_late:
            await self._deliver()
            self.proxy.lose(self._id, END_TRANSACTION, how)
        await producer.write([self._record(own, 1)])
        try:
            await (producer.commit() if is_committed else producer.abort())
        finally:
            if not is_added_late and not self.proxy.disarm(self._id):
                self.losses[how] += 1
        if is_added_late:  # it may come when the transaction is over, and before the next one
            await self._deliver()

    def _record(self, own: str, part: int) -> OutputRecord:
        key = f"{own}/{part}".encode()
        return OutputRecord(self._topic, self.number, key, b"decided", NO_HEADERS)

    async def _start(self) -> TransactionalProducer:
        connection = {"bootstrap_servers": self.bootstrap_servers}
        return await TransactionalProducer.start(connection, self._id, [self._topic])

    async def _succeed(self, producer: TransactionalProducer) -> TransactionalProducer:
        """Return the successor of ``producer``, which is closed meanwhile."""
        closing = asyncio.create_task(producer.close())
        early = self._deliver() if self.random.random() < _BEFORE else asyncio.sleep(0)
        made, *_ = await asyncio.gather(self._start(), early, closing)
        return made

    async def _learn(
        self, reader: BoundedReader, producer: TransactionalProducer, own: str
    ) -> None:
        """Find out how ``own`` ended: its records stand below the mark of the successor, or nowhere
        for ever.
        """
        ends = await set_marks(producer, [self._topic], self.number)
        await asyncio.to_thread(self._read, reader, ends[self._topic])
        self.ends[own] = End.COMMITTED if own in self._seen else End.ABORTED

    def _read(self, reader: BoundedReader, end: int) -> None:
        for records in reader.read({self.number: self._read_to}, {self.number: end}):
            self._seen.update(attempt_of(one.key() or b"") for one in records)
        self._read_to = reader.positions[self.number]

    async def _deliver(self) -> None:
        self.late_answers.update(await self.proxy.deliver(self._id))


def attempt_of(key: bytes) -> str:
    """Return the attempt that a record's key names."""
    return key.decode().rpartition("/")[0]


def wrong(writers: Sequence[LateWriter], keys: Sequence[bytes]) -> tuple[str, ...]:
    """Return what the committed records, which have these ``keys``, say against the writers."""
    found = Counter(keys)
    visible = {attempt_of(one) for one in keys}
    faults = []
    for writer in writers:
        for own, end in writer.ends.items():
            parts = [found[f"{own}/{part}".encode()] for part in range(PARTS)]
            expected = [1 if end is End.COMMITTED else 0] * PARTS
            if parts != expected:
                faults.append(f"{own} is {end}, its records are visible {parts} times")
        committed = Counter(own.rpartition("/")[0] for own in visible if own in writer.ends)
        faults += [
            f"{one} was committed {committed[one]} times"
            for one in sorted(writer.wanted | committed.keys())
            if committed[one] != 1
        ]
    known = {own for writer in writers for own in writer.ends}
    return (*faults, *(f"{own} is nobody's" for own in sorted(visible - known)))


class ProxiedBroker(Kafka):
    """Its clients that begin at `proxy_port` stay behind the proxy there."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir, free_port())
        self.proxy_port = free_port()
        self.behind_proxy = free_port()
        """Where it listens for what the proxy forwards."""

    def _settings(self, port: int) -> Mapping[str, object]:
        settings = super()._settings(port)
        added = {
            "listeners": f"PROXIED://{_HOST}:{self.behind_proxy}",
            "advertised.listeners": f"PROXIED://{_HOST}:{self.proxy_port}",
            "listener.security.protocol.map": "PROXIED:PLAINTEXT",
        }
        return settings | {name: f"{settings[name]},{more}" for name, more in added.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class LateVerdict:
    """What became of the transactions."""

    transactions: int
    losses: Counter[str]
    """How ends were lost."""
    partitions_added_late: int
    late_answers: Counter[int]
    """What the broker answered to ends that came late, by its error; 0: it ended something."""
    wrong: tuple[str, ...]


async def run(
    folder: Path,
    *,
    ends: int,
    producers: int,
    seed: int,
    on_progress: Callable[[str], None] = lambda _: None,
) -> LateVerdict:
    """Let so many ends of transactions of so many producers come late, then compare."""
    with ProxiedBroker(folder) as broker:
        settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, partitions=producers)
        await asyncio.to_thread(ensure_topics, settings)
        async with late_requests(_HOST, broker.behind_proxy, broker.proxy_port) as proxy:
            writers = [
                LateWriter(
                    number=number,
                    settings=settings,
                    bootstrap_servers=f"{_HOST}:{broker.proxy_port}",
                    proxy=proxy,
                    random=Random(f"{seed}/{number}"),
                )
                for number in range(producers)
            ]
            showing = asyncio.create_task(_show(writers, ends, on_progress))
            async with asyncio.TaskGroup() as group:
                for one in writers:
                    group.create_task(one.run(-(-ends // producers)))
            showing.cancel()
        topic = settings.topics.decisions.name
        keys = await asyncio.to_thread(
            lambda: [one.key() or b"" for one in committed_records(settings, topic)]
        )
    return verdict(writers, keys)


async def _show(writers: list[LateWriter], ends: int, show: Callable[[str], None]) -> None:
    while True:
        show(f"{sum(one.losses[Loss.LATE] for one in writers)}/{ends} ends came late")
        await asyncio.sleep(1)


def verdict(writers: list[LateWriter], keys: list[bytes]) -> LateVerdict:
    """Return the verdict on the committed records, which have these ``keys``."""
    return LateVerdict(
        transactions=sum(len(one.ends) for one in writers),
        losses=sum((one.losses for one in writers), Counter()),
        partitions_added_late=sum(one.partitions_added_late for one in writers),
        late_answers=sum((one.late_answers for one in writers), Counter()),
        wrong=wrong(writers, keys),
    )


def main(
    ends: Annotated[int, typer.Option(min=1, help="How many ends come late.")] = 10_000,
    producers: Annotated[int, typer.Option(min=1, help="How many write at once.")] = 24,
    seed: Seed = 1,
    folder: Annotated[Path, typer.Option(help="The broker's data, and the result.")] = Path(
        ".izin/chaos-late"
    ),
) -> None:
    """Lose the ends of transactions, deliver them late, then compare with what was believed."""
    raise run_stage(
        "late",
        folder,
        lambda show: asyncio.run(
            run(folder, ends=ends, producers=producers, seed=seed, on_progress=show)
        ),
        lambda verdict, seconds: report(verdict, seed=seed, seconds=seconds),
    )


def report(verdict: LateVerdict, *, seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    answers = {f"error {error}": count for error, count in verdict.late_answers.items()}
    return RunReport(
        tables=[
            f"seed {seed}: {verdict.transactions} transactions in {seconds:.0f} s",
            f"{counted(verdict.losses)}; {verdict.partitions_added_late} × partitions added late",
            f"late ends were answered: {counted(answers)}",
            *listed(verdict.wrong),
        ],
        data={
            "seed": seed,
            "seconds": round(seconds),
            **asdict(verdict),
            "losses": verdict.losses,  # asdict spoils a Counter
            "late_answers": answers,
        },
        figures={"late-ends": verdict.losses[Loss.LATE], "late-wrong": len(verdict.wrong)},
    )


if __name__ == "__main__":
    start("late", main)
