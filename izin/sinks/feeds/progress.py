"""Up to where the order stage has decided, and the ledger has taken decisions.

Both write it to topics, in the transactions of what they decide or take: ``order-positions``, with
a record for each partition, and ``ledger-positions``. Whoever has read such a record finds what it
stands for written, though perhaps not yet committed everywhere (``reflection``).
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from izin.projections.latest_records import LatestRecordReader
from izin.projections.wakeup import Wakeup
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import AvroRecord


class PipelineProgress:
    """The latest records of both topics."""

    def __init__(self, settings: KafkaSettings, codec: Codec) -> None:
        self.changed = Wakeup()
        self.decided: dict[int, AvroRecord] = {}
        """The Avro Positions of each partition number that has any."""
        self.ledger: AvroRecord | None = None
        """The Avro LedgerPositions; None: none was read."""
        self._settings = settings
        self._codec = codec

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow both topics until the context ends; within a running event loop."""
        loop = asyncio.get_running_loop()

        def hand_over(topic: str, partition: int, record: AvroRecord) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self.put, topic, partition, record)

        topics = self._settings.topics
        latest = LatestRecordReader(
            self._settings, self._codec, (topics.positions, topics.ledger_positions), hand_over
        )
        with latest.following():
            yield

    def put(self, topic: str, partition: int, record: AvroRecord) -> None:
        """Take the latest record of a partition of one of the topics."""
        if topic == self._settings.topics.positions.name:
            self.decided[partition] = record
        else:
            self.ledger = record
        self.changed.notify()
