"""Writes hostile batches at a rate, in a process of its own, so that it delays no measurement."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Self

from confluent_kafka import KafkaException, Producer

from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from tests.chaos.hostile.records import HostileBatch, hostile_batch
from tests.support.hostile.batches import BatchRefusedError, RawProducer

_OPENED_EVERY = 60.0
"""Seconds between two transactions that nobody ends."""
_FIRST_AFTER = 3.0
_TIMES_OUT = 1000
"""Milliseconds after which the broker ends them."""
_NICE = 19
"""As elsewhere than on the machine that is measured."""
_MOST_BYTES = 5_000_000
"""A second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenBatch:
    """A hostile batch, and where it stands."""

    number: int
    kind: str
    topic: str
    partition: int
    first: int
    """The offset of its first record."""
    count: int

    @classmethod
    def of(cls, made: HostileBatch, *, topic: str, first: int) -> Self:
        """Return what came of ``made``."""
        return cls(
            number=made.number,
            kind=made.kind,
            topic=topic,
            partition=made.partition,
            first=first,
            count=made.count,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What to write: the batches from ``first`` on, until ``records`` are stored."""

    bootstrap_servers: str
    partitions: int
    seed: int
    first: int
    records: int
    rate: float
    """Records a second."""


def write(writing: Writing) -> Sequence[WrittenBatch]:
    """Write, and return what the broker stored."""
    settings = KafkaSettings(
        bootstrap_servers=writing.bootstrap_servers, partitions=writing.partitions
    )
    os.nice(_NICE)
    written, number = list[WrittenBatch](), writing.first
    lanes = settings.topics.events.name, settings.topics.express.name
    count = size = 0
    began = time.monotonic()
    opened_at, random = (
        began - _OPENED_EVERY + _FIRST_AFTER,
        Random(f"{writing.seed}/{writing.first}"),
    )
    with RawProducer(settings) as raw:
        while count < writing.records:
            made = hostile_batch(writing.seed, number, settings.partitions)
            number += 1
            with suppress(BatchRefusedError):
                topic = lanes[made.is_express]
                first = raw.produce(topic, made.partition, made.data)
                count, size = count + made.count, size + len(made.data)
                written.append(WrittenBatch.of(made, topic=topic, first=first))
            if time.monotonic() - opened_at >= _OPENED_EVERY:
                opened_at = time.monotonic()
                leave_open(settings, lanes[1], random.randrange(settings.partitions))
            due = began + max(count / writing.rate, size / _MOST_BYTES)
            time.sleep(max(0.0, due - time.monotonic()))
    return written


def leave_open(settings: KafkaSettings, topic: str, partition: int) -> None:
    """Write a record in a transaction that only the broker ends. Raises KafkaException."""
    producer: Producer = kafka.producer(
        settings,
        **{
            "transactional.id": f"{settings.topic_prefix}foreign-{partition}",
            "transaction.timeout.ms": _TIMES_OUT,
        },
    )
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(topic, key=b"foreign", value=b"never committed", partition=partition)
    if producer.flush(10):
        raise KafkaException
