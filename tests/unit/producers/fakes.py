"""A publisher without a broker; it passes the suite of the real one (`publisher_suite`). And the
topic of first receipts as a list in memory, and an intake over both.
"""

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import httpx

from izin.consent import ConsentEvent, ConsentKey
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.intake.first_receipts import HALF, FirstReceipts
from izin.producers.intake.server import Intake
from izin.producers.intake.server import routes_of as intake_routes
from izin.producers.publishing.publisher import (
    KafkaRecord,
    OversizeError,
    Published,
    PublishResult,
    UndeliveredError,
    kafka_record,
)
from izin.runtime.errors import BrokerError
from izin.runtime.http_server.problems import operations_app, public_app
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.support.builders import AUTHORIZATION, BRAND, NOON, PHONE, an_api_key, known

Receipt = tuple[bytes, datetime, datetime]
"""Event id, receipt and append of a record of first receipts."""

T = TypeVar("T")

LARGEST = 1_000_000
"""librdkafka's own bound on a message."""
NOW = NOON + timedelta(hours=1)


class MovingClock:
    """A clock that is moved by the test."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def a_record(**overrides: object) -> dict[str, Any]:
    """Return a dated ONAY for text messages as JSON; None leaves a field out."""
    fields: dict[str, Any] = {
        "recipient": PHONE,
        "type": "MESAJ",
        "status": "ONAY",
        "source": "HS_WEB",
        "consent_date": "2026-03-02 12:00:00",
        "brand_code": BRAND,
    }
    return {name: value for name, value in (fields | overrides).items() if value is not None}


class FakePublisher:
    """Records the events, and acknowledges them at once."""

    def __init__(self, clock: Callable[[], datetime], prefix: str = "") -> None:
        self._clock = clock
        self._codec = Codec()
        self._topics = KafkaSettings(topic_prefix=prefix).topics
        self.frames: list[KafkaRecord] = []
        self.events: list[ConsentEvent] = []
        self.is_away_for: Callable[[ConsentEvent], bool] = lambda _: False
        self.largest = LARGEST
        self.skew = timedelta(0)
        """How far the clock is ahead of the broker's."""

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
        if self.is_away_for(event):
            answered(UndeliveredError(event.event_id, "away"))
            return
        self.frames.append(one)
        self.events.append(event)
        offset = len(self.frames) - 1
        answered(
            Published(
                event_id=event.event_id,
                topic=one.topic,
                partition=0,
                offset=offset,
                appended_at=self._clock() - self.skew,
            )
        )

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


class FakeReceipts:
    """What one endpoint has read of a `log` of one partition, which endpoints share."""

    def __init__(
        self,
        log: list[Receipt],
        clock: Callable[[], datetime],
        *,
        limit: int = 1000,
        is_away: bool = False,
    ) -> None:
        self._log = log
        self._clock = clock
        self._read = 0
        self.receipts = FirstReceipts(limit)
        self.is_away = is_away

    def claim(self, event_id: str, received_at: datetime, *, by: str = "") -> Future[datetime]:
        if self.is_away:
            return failed(BrokerError("away"))
        try:
            self.receipts.take_room(self._clock(), by)
        except BrokerError as error:
            found = self._find(event_id)
            return failed(error) if found is None else done(found)
        self._log.append((UUID(event_id).bytes, received_at, self._clock()))
        found = self._find(event_id)
        assert found is not None
        return done(found)

    def recall(self, event_ids: Collection[str]) -> Mapping[str, Future[datetime | None]]:
        if self.is_away:
            return {one: failed(BrokerError("away")) for one in event_ids}
        return {one: done(self._find(one)) for one in event_ids}

    def bind(self, request_id: str, received_at: datetime, *, by: str = "") -> Future[bool]:
        if self.is_away:
            return failed(BrokerError("away"))
        self.receipts.take_room(self._clock(), by)
        own = UUID(request_id).bytes
        self._log.append((own, received_at, self._clock()))
        self._follow()
        found = self.receipts.request_after(0, self._read, own[:HALF], received_at)
        return done(found.result(0) == own)

    def _find(self, event_id: str) -> datetime | None:
        self._follow()
        return self.receipts.after(0, self._read, UUID(event_id).bytes).result(0)

    def _follow(self) -> None:
        while self._read < len(self._log):
            key, received_at, appended_at = self._log[self._read]
            self.receipts.read(0, self._read, key, received_at, appended_at=appended_at)
            self._read += 1


def intake_client(
    publisher: FakePublisher,
    directory: BrandDirectory,
    clock: Callable[[], datetime],
    receipts: FakeReceipts | None = None,
) -> httpx.AsyncClient:
    """Return a client that has a key of an intake, of which an error is a 500; the pages for
    operators are at ``http://operations``.
    """
    receipts = receipts or FakeReceipts([], clock)
    keys = known(an_api_key())
    intake = Intake(publisher, directory, receipts, keys, clock=clock, chance=bytes)
    app, operations = (
        public_app(intake_routes(intake), dict),
        operations_app(intake.metrics.registry, dict),
    )
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False),
        mounts={"http://operations": httpx.ASGITransport(operations)},
        base_url="http://intake",
        headers=AUTHORIZATION,
    )


def done(result: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(result)
    return future


def failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
