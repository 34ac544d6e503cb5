"""Up to where the order stage has decided, and the ledger has taken decisions.

Both write it to topics, in the transactions of what they decide or take: ``order-positions``, with
a record for each partition, and ``ledger-positions``. Whoever has read such a record finds what it
stands for written, though perhaps not yet committed everywhere (``reflection``). Only the latest
record counts, so the topics are read from shortly before their ends.
"""

import asyncio
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from izin.consent.errors import OurError
from izin.runtime.kafka import consumer, partition_watermarks
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.records import AvroRecord
from izin.sinks.feeds.log import Wakeup

_POLL = 0.2
_TIMEOUT = 5.0
_SPAN = 64
_WIDER = 64
"""So many times further back it is looked where there was no record."""
_RETRY_AFTER = 1.0

_log = get_logger(__name__)


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
        self._topics = {
            one.name: one for one in (settings.topics.positions, settings.topics.ledger_positions)
        }

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow both topics until the context ends; within a running event loop."""
        loop, stopped = asyncio.get_running_loop(), threading.Event()
        thread = threading.Thread(
            target=self._follow, args=(loop, stopped), name="progress", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join(_TIMEOUT)

    def put(self, topic: str, partition: int, record: AvroRecord) -> None:
        """Take the latest record of a partition of one of the topics."""
        if topic == self._settings.topics.positions.name:
            self.decided[partition] = record
        else:
            self.ledger = record
        self.changed.notify()

    def _follow(self, loop: asyncio.AbstractEventLoop, stopped: threading.Event) -> None:
        while not stopped.is_set():
            client = consumer(
                self._settings,
                "izin-feed-progress",
                **{
                    "allow.auto.create.topics": False,
                    "auto.offset.reset": "earliest",
                    "enable.partition.eof": True,
                },
            )
            try:
                self._read(client, loop, stopped)
            except KafkaException as error:
                _log.warning("positions not followed", error=error.args[0].str())
                stopped.wait(_RETRY_AFTER)
            except Exception:  # noqa: BLE001  # whatever it is, somebody must go on reading
                _log.exception("positions not followed")
                stopped.wait(_RETRY_AFTER)
            finally:
                client.close()

    def _read(
        self, client: Consumer, loop: asyncio.AbstractEventLoop, stopped: threading.Event
    ) -> None:
        begun = _near_ends(client, self._topics)
        spans = dict.fromkeys(begun, _SPAN)
        found: set[tuple[str, int]] = set()
        while not stopped.is_set():
            message = client.poll(_POLL)
            if message is None:
                continue
            place, fault = (message.topic() or "", message.partition() or 0), message.error()
            if fault is None:
                found.add(place)
                while not self._hand_over(message, loop) and not stopped.wait(_RETRY_AFTER):
                    pass
            elif fault.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public spelling
                if place not in found and begun[place] > 0:
                    # Only marks of transactions here: look further back.
                    spans[place] *= _WIDER
                    begun[place] = max(0, (message.offset() or 0) - spans[place])
                    client.seek(TopicPartition(*place, begun[place]))
            else:
                raise KafkaException(fault)

    def _hand_over(self, message: Message, loop: asyncio.AbstractEventLoop) -> bool:
        """Hand a record over to the event loop; return False where it cannot be read now."""
        topic, value = message.topic() or "", message.value()
        if value is None:
            return True
        try:
            record = self._codec.decode(self._topics[topic].record, value)
        except UndecodableError as error:
            _log.error("record not readable", topic=topic, error=str(error))
            return True
        except OurError as error:
            _log.warning("positions not followed", error=str(error))
            return False
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self.put, topic, message.partition() or 0, record)
        return True


def _near_ends(client: Consumer, topics: Mapping[str, object]) -> dict[tuple[str, int], int]:
    """Assign all partitions of ``topics`` from shortly before their ends; return from where."""
    places = [(name, number) for name in topics for number in _partitions(client, name)]
    begun = {place: max(0, _end(client, place) - _SPAN) for place in places}
    client.assign([TopicPartition(*place, offset) for place, offset in begun.items()])
    return begun


def _end(client: Consumer, place: tuple[str, int]) -> int:
    return partition_watermarks(client, TopicPartition(*place), timeout=_TIMEOUT)[1]


def _partitions(client: Consumer, topic: str) -> Collection[int]:
    found = client.list_topics(topic, timeout=_TIMEOUT).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    return list(found.partitions)
