"""The registered brands and their customers, read from the compacted topic ``brands``.

An event needs the customer of its brand, so nothing can be published for a brand that is not
registered. The ledger writes the topic; a process reads it to its end at the start, and a long-
running one follows it. A tombstone removes a brand.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from izin.consent.errors import SourceError
from izin.runtime.kafka import BrokerError, broker_errors, consumer
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError

_GROUP = "izin-brands"
_TIMEOUT = 15.0
_POLL = 0.2

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredBrand:
    """A brand at İYS and the customer it belongs to."""

    brand_code: int
    iys_code: int
    customer_id: str
    name: str
    activated_at: datetime | None = None
    loading_deadline: datetime | None = None
    status: str = "active"


class UnknownBrandError(SourceError):
    """A brand code that is not registered here."""

    def __init__(self, brand_code: int | str) -> None:
        super().__init__(
            f"brand {brand_code} is not registered; correct the code, or register the brand: "
            f"izin brands add {brand_code} …"
        )
        self.brand_code = brand_code


class BrandDirectory:
    """The brands known now, by code. Written by one thread, read by any."""

    def __init__(self, brands: Iterable[RegisteredBrand] = ()) -> None:
        self._brands = {one.brand_code: one for one in brands}

    def get(self, brand_code: int) -> RegisteredBrand:
        """Return the brand of ``brand_code``.

        Raises:
            UnknownBrandError: it is not registered.
        """
        found = self._brands.get(brand_code)
        if found is None:
            raise UnknownBrandError(brand_code)
        return found

    def put(self, brand: RegisteredBrand) -> None:
        """Add or replace a brand."""
        self._brands[brand.brand_code] = brand

    def remove(self, brand_code: int) -> None:
        """Remove a brand, if it is known."""
        self._brands.pop(brand_code, None)

    def __len__(self) -> int:
        return len(self._brands)


class BrandReader:
    """Reads the topic ``brands`` into a directory: to its end, then continuously."""

    def __init__(self, settings: KafkaSettings, codec: Codec) -> None:
        self._settings = settings
        self._codec = codec
        self._topic = settings.topics.brands
        self.directory = BrandDirectory()

    @contextmanager
    def follow(self) -> Iterator[BrandDirectory]:
        """Yield the directory, complete and kept up to date until the context ends."""
        with self._consumer() as client:
            self._read_to_end(client)
            stopped = threading.Event()
            thread = threading.Thread(
                target=self._follow, args=(client, stopped.is_set), name="brands", daemon=True
            )
            thread.start()
            try:
                yield self.directory
            finally:
                stopped.set()
                thread.join()

    def load(self) -> BrandDirectory:
        """Return the directory as it is now.

        Raises:
            BrokerError: the topic cannot be read.
        """
        with self._consumer() as client:
            self._read_to_end(client)
        return self.directory

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        client = consumer(
            self._settings,
            _GROUP,
            **{"enable.partition.eof": True, "allow.auto.create.topics": False},
        )
        try:
            yield client
        finally:
            client.close()

    def _read_to_end(self, client: Consumer) -> None:
        name = self._topic.name
        with broker_errors(self._settings):
            found = client.list_topics(name, timeout=_TIMEOUT).topics[name]
        if found.error is not None:
            raise BrokerError(f"topic {name} does not exist; run: izin up, or izin doctor --fix")
        unread = set(found.partitions)
        client.assign([TopicPartition(name, number, OFFSET_BEGINNING) for number in unread])
        while unread:
            message = client.poll(_TIMEOUT)
            if message is None:
                raise BrokerError(f"topic {name} could not be read within {_TIMEOUT:.0f} s")
            fault = message.error()
            if fault is None:
                self._apply(message)
            elif fault.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public spelling
                unread.discard(message.partition())
            elif not fault.retriable():
                with broker_errors(self._settings):
                    raise KafkaException(fault)

    def _follow(self, client: Consumer, stopped: Callable[[], bool]) -> None:
        while not stopped():
            message = client.poll(_POLL)
            if message is None:
                continue
            fault = message.error()
            if fault is None:
                self._apply(message)
            elif fault.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public spelling
                _log.warning("brand topic read failed", error=fault.str())

    def _apply(self, message: Message) -> None:
        key, value = message.key(), message.value()
        try:
            if value is not None:
                self.directory.put(RegisteredBrand(**self._codec.decode(self._topic.record, value)))
            elif key is not None:
                self.directory.remove(int(key))
        except (UndecodableError, ValueError) as error:
            _log.error("brand record skipped", offset=message.offset(), error=str(error))
