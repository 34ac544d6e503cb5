"""Write dead letters again, and note in the history where each went."""

from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from izin.replay.letters.orders import RedriveOrder
from izin.runtime import kafka
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings

AT_ONCE = 2000
"""Letters that are written, and then noted together: so many at most are written twice where a
command ends in between, of which the law makes duplicates."""
_WITHIN = 60.0
_LINGER = 20


class LetterWriter:
    """Writes the records of letters."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: Producer = kafka.producer(settings, **{"linger.ms": _LINGER})

    def write(self, orders: Sequence[RedriveOrder]) -> list[int]:
        """Write the records of ``orders`` in their order; return the offset of each.

        Raises:
            BrokerError: not all were acknowledged. Those that were may be written again.
        """
        results = [_Delivery() for _ in orders]
        with kafka.broker_errors(self._settings):
            for one, result in zip(orders, results, strict=True):
                record = one.record
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    record.partition,
                    result,
                    headers=list(record.headers),
                )
                self._producer.poll(0)
            self._producer.flush(_WITHIN)
            for result in results:
                if result.error is not None:
                    raise KafkaException(result.error)
        offsets = [one.offset for one in results if one.offset is not None]
        if len(offsets) < len(orders):
            raise BrokerError(
                f"Kafka did not acknowledge {len(orders) - len(offsets)} of {len(orders)} records; "
                "run the same command again: nothing is done twice"
            )
        return offsets


class _Delivery:
    """librdkafka's delivery callback for one record."""

    __slots__ = ("error", "offset")

    def __init__(self) -> None:
        self.error: KafkaError | None = None
        self.offset: int | None = None

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        self.error = error
        self.offset = message.offset() if error is None else None
