"""A publisher without a broker; it passes the suite of the real one (`publisher_suite`)."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta

from izin.consent.model import ConsentEvent, ConsentKey
from izin.producers.publishing.event_publisher import (
    OversizeError,
    Published,
    PublishResult,
    UndeliveredError,
)
from izin.producers.publishing.kafka_record import KafkaRecord, kafka_record
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec

LARGEST = 1_000_000
"""librdkafka's own bound on a message."""


class FakePublisher:
    """Records the events, and acknowledges them at once."""

    def __init__(self, clock: Callable[[], datetime], prefix: str = "") -> None:
        self._clock = clock
        self._codec = Codec()
        self._topics = KafkaSettings(topic_prefix=prefix).topics
        self.frames: list[KafkaRecord] = []
        self.events: list[ConsentEvent] = []
        self.is_away = False
        self.largest = LARGEST

    def send(
        self,
        event: ConsentEvent,
        key: ConsentKey | None,
        answered: Callable[[PublishResult], None],
        *,
        wait: timedelta = timedelta(0),  # noqa: ARG002  # nothing is ever full here
    ) -> None:
        one = kafka_record(event, key, self._clock(), self._topics, self._codec)
        if len(one.value) > self.largest:
            raise OversizeError(event.event_id)
        if self.is_away:
            answered(UndeliveredError(event.event_id, "away"))
            return
        self.frames.append(one)
        self.events.append(event)
        offset = len(self.frames) - 1
        answered(Published(event_id=event.event_id, topic=one.topic, partition=0, offset=offset))

    def publish(
        self,
        event: ConsentEvent,
        key: ConsentKey | None = None,
        *,
        wait: timedelta = timedelta(0),
    ) -> Future[Published]:
        future: Future[Published] = Future()

        def answered(answer: PublishResult) -> None:
            if isinstance(answer, Published):
                future.set_result(answer)
            else:
                future.set_exception(answer)

        self.send(event, key, answered, wait=wait)
        return future

    def flush(self, timeout: timedelta) -> int:  # noqa: ARG002  # all is answered already
        return 0

    def bulk(self) -> AbstractContextManager[None]:
        return nullcontext()
