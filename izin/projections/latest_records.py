"""The latest record of each partition of topics of which only that counts.

Such topics get a record with each batch or transaction, and are compacted late. So they are read
from shortly before their ends, and further back only where there is no record.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from time import monotonic

from confluent_kafka import Message

from izin.consent.errors import OurError
from izin.kafka.bounded_reader import BoundedReader
from izin.kafka.follower import RecordFollower
from izin.runtime.kafka import broker_errors, connection_of
from izin.runtime.logs import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.records import AvroRecord
from izin.schemas.topics import Topic

_ENDS_WITHIN = 5.0
_RETRY_AFTER = 1.0
_STALE_AFTER = 10.0

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
        self._followers: list[RecordFollower] = []
        self._settings = settings
        self._codec = codec
        self._topics = {one.name: one for one in topics}
        self._put = put
        self._stopped = threading.Event()

    @property
    def fault(self) -> str | None:
        """Why the topics are not followed; None: they are."""
        if not self.loaded.is_set():
            return "is not read yet"
        oldest = monotonic() - _STALE_AFTER
        if all(max(map(one.complete_at, one.positions)) >= oldest for one in self._followers):
            return None
        return f"was not seen read to its end for {_STALE_AFTER:.0f} s"

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow the topics until the context ends."""
        thread = threading.Thread(target=self._run, name="latest records", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join(_ENDS_WITHIN)

    def _run(self) -> None:
        with ExitStack() as following:
            for topic in self._topics.values():
                while not self._stopped.is_set():
                    try:
                        following.enter_context(self._followed(topic))
                        break
                    except OurError as error:
                        _log.warning("positions not followed", error=str(error))
                    except Exception:  # noqa: BLE001  # whatever it is, somebody must go on reading
                        _log.exception("positions not followed")
                    self._stopped.wait(_RETRY_AFTER)
            if not self._stopped.is_set():
                self.loaded.set()
            self._stopped.wait()

    @contextmanager
    def _followed(self, topic: Topic) -> Iterator[None]:
        """Hand over the latest records of ``topic``, then those that come; raises BrokerError."""
        with (
            broker_errors(self._settings),
            closing(BoundedReader(self._settings, f"izin-{topic.name}", topic.name)) as reader,
        ):
            ends = reader.ends()
            latest = [*reader.latest(ends, partly=True).values()]
        while (taken := self.take(latest)) < len(latest) and not self._stopped.is_set():
            del latest[:taken]
            self._stopped.wait(_RETRY_AFTER)
        follower = RecordFollower(connection_of(self._settings), topic, self, starts=ends)
        with follower.follow(partly=True):
            self._followers.append(follower)
            yield

    def take(self, records: Sequence[Message]) -> int:
        """Hand over ``records`` until the schema of one cannot be fetched; return how many."""
        for taken, one in enumerate(records):
            topic, value = one.topic() or "", one.value()
            try:
                if value is not None:
                    record = self._codec.decode(self._topics[topic].record, value)
                    self._put(topic, one.partition() or 0, record)
            except UndecodableError as error:
                _log.error("record not readable", topic=topic, error=str(error))
            except OurError as error:
                _log.warning("positions not followed", error=str(error))
                return taken
        return len(records)
