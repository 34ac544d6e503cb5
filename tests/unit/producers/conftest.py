"""A directory with one brand, a publisher without a broker, a clock that tests move.

A publisher without a broker; it passes the suite of the real one (`test_publishers`). And the
topic of first receipts as a list in memory, and an intake over both.
"""

import csv
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar
from uuid import UUID

import httpx
import openpyxl
import pytest
from starlette.routing import Route

from izin.consent import ConsentEvent, ConsentKey
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.producers.files import Import, ImportReport, import_file
from izin.producers.intake.first_receipts import FirstReceipts
from izin.producers.intake.forms import FormIntake
from izin.producers.intake.links import LinkIntake
from izin.producers.intake.process import routes_of
from izin.producers.intake.receipt_log import ReceiptLog
from izin.producers.intake.server import Intake
from izin.producers.intake.sources import SourceIntake
from izin.producers.links import LinkKeys
from izin.producers.publishing.delivery_errors import OversizeError, UndeliveredError
from izin.producers.publishing.publisher import (
    KafkaPublisher,
    KafkaRecord,
    Published,
    PublishResult,
    kafka_record,
)
from izin.producers.sources import SourceFolder
from izin.producers.sources.source import FormMapping, SourceMapping
from izin.runtime.errors import BrokerError
from izin.runtime.http_server.problems import operations_app, public_app
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from tests.support.builders import AUTHORIZATION, BRAND, CUSTOMER, NOON, PHONE, an_api_key, known

Receipt = tuple[bytes, datetime, datetime]
"""Event id, receipt and append of a record of first receipts."""

T = TypeVar("T")

LINK_KEYS = LinkKeys(["a secret of 32 characters or more", "an older one, of which links are"])
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
    return {
        name: value
        for name, value in (
            {
                "recipient": PHONE,
                "type": "MESAJ",
                "status": "ONAY",
                "source": "HS_WEB",
                "consent_date": "2026-03-02 12:00:00",
                "brand_code": BRAND,
            }
            | overrides
        ).items()
        if value is not None
    }


class FakePublisher(KafkaPublisher):
    """Records the events, and acknowledges them at once."""

    def __init__(self, clock: Callable[[], datetime], prefix: str = "") -> None:
        self._clock = clock
        self._codec = Codec()
        self._topics = KafkaSettings(topic_prefix=prefix).topics
        self.frames: list[KafkaRecord] = []
        self.letters: list[KafkaRecord] = []
        self.events: list[ConsentEvent] = []
        self.is_away_for: Callable[[ConsentEvent], bool] = lambda _: False
        self.largest = LARGEST
        self.skew = timedelta(0)
        """How far the clock is ahead of the broker's."""

    def send(
        self,
        event: ConsentEvent,
        key: ConsentKey | None,
        on_result: Callable[[PublishResult], None],
        *,
        wait: timedelta = timedelta(0),  # noqa: ARG002  # nothing is ever full here
    ) -> None:
        one = kafka_record(event, key, self._clock(), self._topics, self._codec)
        if len(one.value) > self.largest:
            raise OversizeError(event.event_id)
        if self.is_away_for(event):
            on_result(UndeliveredError(event.event_id, "away"))
            return
        self.frames.append(one)
        self.events.append(event)
        offset = len(self.frames) - 1
        on_result(
            Published(
                event_id=event.event_id,
                topic=one.topic,
                partition=0,
                offset=offset,
                appended_at=self._clock() - self.skew,
            )
        )

    def append(self, event_id: str, record: KafkaRecord) -> Future[Published]:
        self.letters.append(record)
        return done(Published(event_id=event_id, topic=record.topic, partition=0, offset=0))

    def flush(self, timeout: timedelta) -> int:  # noqa: ARG002  # all is answered already
        return 0

    @contextmanager
    def bulk(self) -> Iterator[None]:
        yield


class FakeReceipts(ReceiptLog):
    """What one endpoint has read of a `log` of one partition, which endpoints share."""

    def __init__(
        self,
        log: list[Receipt],
        clock: Callable[[], datetime],
        *,
        limit: int = 1000,
        is_away: bool = False,
    ) -> None:
        self._codec = Codec()
        self._append = self._appended
        self._clock = clock
        self._topic = KafkaSettings().topics.first_receipts
        self._partitions = 1
        self._ends = SimpleNamespace(ask=self._end)
        self.receipts = FirstReceipts(limit)
        self._log = log
        self._read_to = 0
        self.is_away = is_away

    def _appended(self, event_id: str, record: KafkaRecord) -> Future[Published]:
        if self.is_away:
            raise BrokerError("away")
        value = self._codec.decode(self._topic.record, record.value)
        self._log.append((UUID(event_id).bytes, value["received_at"], self._clock()))
        offset = self._follow() - 1
        return done(Published(event_id=event_id, topic=record.topic, partition=0, offset=offset))

    def _end(self, _partitions: Collection[int]) -> Mapping[int, Future[int]]:
        return {0: failed(BrokerError("away")) if self.is_away else done(self._follow())}

    def _follow(self) -> int:
        for key, received_at, appended_at in self._log[self._read_to :]:
            self.receipts.read(0, self._read_to, key, received_at, appended_at=appended_at)
            self._read_to += 1
        return self._read_to


def intake_routes(
    intake: Intake, directory: BrandDirectory | None = None, folder: Path | None = None
) -> list[Route]:
    """Return the routes of ``intake``, with the sources and the forms whose mappings are in
    ``folder``.
    """
    brands = directory or BrandDirectory([])
    sources = SourceIntake(
        intake, SourceFolder(folder, SourceMapping), brands, codec=Codec(), topics=Topics()
    )
    forms = SourceFolder(folder, FormMapping)
    return routes_of(
        intake,
        sources,
        FormIntake(intake, forms, brands, LINK_KEYS, "http://intake"),
        LinkIntake(intake, LINK_KEYS, brands),
    )


def intake_client(
    publisher: FakePublisher,
    directory: BrandDirectory,
    clock: Callable[[], datetime],
    receipts: FakeReceipts | None = None,
    folder: Path | None = None,
) -> httpx.AsyncClient:
    """Return a client that has a key of an intake, of which an error is a 500; the pages for
    operators are at ``http://operations``.
    """
    receipts = receipts or FakeReceipts([], clock)
    keys = known(an_api_key())
    intake = Intake(publisher, directory, receipts, keys, clock=clock, chance=bytes)
    app, operations = (
        public_app(intake_routes(intake, directory, folder), dict),
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


async def post(client: httpx.AsyncClient, body: object, **headers: str) -> httpx.Response:
    """Post JSON."""
    return await client.post("/v1/consents", json=body, headers=headers)


ImportOf = Callable[..., ImportReport]


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def directory() -> BrandDirectory:
    return BrandDirectory(
        [RegisteredBrand(brand_code=BRAND, iys_code=200001, customer_id=CUSTOMER, name="Example")]
    )


@pytest.fixture
def fake(clock: MovingClock) -> FakePublisher:
    return FakePublisher(clock)


@pytest.fixture
async def client(
    fake: FakePublisher, directory: BrandDirectory, clock: MovingClock
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an intake that publishes to `fake`."""
    async with intake_client(fake, directory, clock) as client:
        yield client


@pytest.fixture
def import_of(fake: FakePublisher, directory: BrandDirectory, clock: MovingClock) -> ImportOf:
    """Import a file with options of ``Import`` and, as they are, ``opt_outs`` and ``progress``."""

    def run(path: Path, **given: Any) -> ImportReport:  # noqa: ANN401  # options of any type
        apart = {name: given.pop(name) for name in ("opt_outs", "progress") if name in given}
        opted_out = apart.get("opt_outs")
        if opted_out is not None and not callable(opted_out):
            apart["opt_outs"] = lambda _brands: opted_out
        return import_file(path, fake, directory, clock=clock, how=Import(**given), **apart)

    return run


@pytest.fixture
def import_lines(tmp_path: Path, import_of: ImportOf) -> ImportOf:
    """Import lines as ``export.csv``, in the encoding given, with what ``import_of`` takes."""

    def run(*lines: str, encoding: str = "utf-8", **given: Any) -> ImportReport:  # noqa: ANN401  # the same
        path = tmp_path / "export.csv"
        path.write_bytes("\r\n".join(lines).encode(encoding))
        return import_of(path, **given)

    return run


def reported(report: ImportReport) -> list[dict[str, str]]:
    """Return the rows of the report file, by the names of its columns."""
    header, *rows = cells_of(report)
    return [dict(zip(header, row, strict=True)) for row in rows]


def cells_of(report: ImportReport) -> list[list[str]]:
    """Return the header and the rows of the report file, in either format."""
    path = report.report_path
    if path.suffix == ".xlsx":
        rows = openpyxl.load_workbook(path).active.iter_rows(values_only=True)
        return [["" if one is None else one for one in row] for row in rows]
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.reader(stream, delimiter=";"))
