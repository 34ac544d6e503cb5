"""One producer after the other under one transactional id, as an owner of a partition has them.

Each transaction is written in two parts. Between them the broker gets what was kept back of the
transaction before, as late as it harms most: the second part shows whether it ended the first.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from confluent_kafka import KafkaException

from izin.kafka.bounded_reader import BoundedReader
from izin.runtime.settings import KafkaSettings
from izin.schemas.fast.record_format import NO_HEADERS
from izin.streams.ownership import OutputRecord
from izin.streams.ownership.partition_transaction import set_marks
from izin.streams.ownership.transactional_producer import TransactionalProducer
from tests.support.late_requests import ADD_PARTITIONS, END_TRANSACTION, LateRequests, Loss

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
    """Writes transactions to partition `number` of the decisions, and loses their ends."""

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
