"""The latest record of each partition of topics of which only that counts.

Such topics get a record with each batch or transaction, and are compacted late. So they are read
from shortly before their ends, and further back only where there is no record.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from izin.consent.errors import OurError
from izin.runtime.broker_faults import is_unreadable
from izin.runtime.kafka import consumer, partition_watermarks
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.records import AvroRecord
from izin.schemas.topics import Topic

_POLL = 0.2
_TIMEOUT = 5.0
_SPAN = 64
_WIDER = 64
"""So many times further back it is looked where there was no record."""
_RETRY_AFTER = 1.0

_log = get_logger(__name__)

Put = Callable[[str, int, AvroRecord], None]
"""Called with a topic, a partition, and its latest record; in the thread that reads."""


class LatestRecordReader:
    """Reads the latest records of ``topics``, and hands each to ``put``."""

    def __init__(
        self, settings: KafkaSettings, codec: Codec, topics: Collection[Topic], put: Put
    ) -> None:
        self.loaded = threading.Event()
        """Set once every partition was read: its latest record was handed over, or it has none."""
        self.fault: str | None = "is not read yet"
        """Why it is not followed; None: it is."""
        self._settings = settings
        self._codec = codec
        self._topics = {one.name: one for one in topics}
        self._put = put
        self._stopped = threading.Event()

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow the topics until the context ends."""
        thread = threading.Thread(target=self._follow, name="latest records", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join(_TIMEOUT)

    def _follow(self) -> None:
        while not self._stopped.is_set():
            client = consumer(
                self._settings,
                f"izin-{'-'.join(self._topics)}",
                **{
                    "allow.auto.create.topics": False,
                    "auto.offset.reset": "earliest",
                    "enable.partition.eof": True,
                },
            )
            with closing(client):
                try:
                    self._read(client)
                except KafkaException as error:
                    self.fault = error.args[0].str()
                    _log.warning("positions not followed", error=self.fault)
                except Exception as error:  # noqa: BLE001  # whatever it is, somebody must go on reading
                    self.fault = type(error).__name__
                    _log.exception("positions not followed")
                self._stopped.wait(_RETRY_AFTER)

    def _read(self, client: Consumer) -> None:
        begun = _near_ends(client, self._topics)
        spans = dict.fromkeys(begun, _SPAN)
        unread = set(begun)
        found: set[tuple[str, int]] = set()
        while not self._stopped.is_set():
            message = client.poll(_POLL)
            if message is None:
                continue
            place, fault = (message.topic() or "", message.partition() or 0), message.error()
            if fault is None:
                found.add(place)
                while not self._hand_over(message) and not self._stopped.wait(_RETRY_AFTER):
                    pass
            elif fault.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public spelling
                if place not in found and begun[place] > 0:
                    # Only marks of transactions here: look further back.
                    spans[place] *= _WIDER
                    begun[place] = max(0, (message.offset() or 0) - spans[place])
                    client.seek(TopicPartition(*place, begun[place]))
                else:
                    unread.discard(place)
            elif is_unreadable(message):
                unread.discard(place)
            else:
                raise KafkaException(fault)
            if not unread:
                self.fault = None
                self.loaded.set()

    def _hand_over(self, message: Message) -> bool:
        """Hand a record over; return False where it cannot be read now."""
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
        self._put(topic, message.partition() or 0, record)
        return True


def _near_ends(client: Consumer, topics: Mapping[str, Topic]) -> dict[tuple[str, int], int]:
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
