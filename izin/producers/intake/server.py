"""The intake over HTTP: the endpoint for signups, and the process that serves it.

Kafka has acknowledged what it answers with 202. It binds its ports first and listens once Kafka is
reachable; on SIGTERM it closes the ports first, then Kafka: stopping loses nothing.

``POST /v1/consents`` takes JSON (one record or up to 1000) or a web form, with an API key that may
publish; the name of the key is the actor of the events. Each record is validated by the law as the
order worker will do. An opt-out (RET) whose key can be read is never refused, unless its brand or
channel is outside the API key; anything else wrong with it is listed beside its id in the response,
and so is the end of the term of an opt-in (ONAY). Of a list the valid records are published even if
others are refused: the response is then 422, or 403 where some are outside the key, and lists both.
Whatever was published, the response has a consistency token of it.

The same record sent again under the same ``Idempotency-Key`` or ``id`` keeps its event id and, for
a day and at any endpoint, the instant from which it counts: see ``validation``. An opt-in whose
instant cannot be determined is not published, and the response is 503; the rest of the request is.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any, assert_never

import uvloop
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from izin.consent.errors import SourceError
from izin.consent.violations import Violation
from izin.producers.intake.first_receipts import Receipts
from izin.producers.intake.receipt_log import ReceiptLog
from izin.producers.intake.request_body import InputRecord, read_records
from izin.producers.intake.validation import (
    ClockSkew,
    ForbiddenRecord,
    PostponedRecord,
    RecordValidator,
)
from izin.producers.mapping.records import AcceptedRecord, RefusedRecord
from izin.producers.mapping.violations import violation
from izin.producers.publishing.publisher import EventPublisher, KafkaPublisher, Published
from izin.projections.api_keys import ApiKeyDirectory, ApiKeyReader, authorised
from izin.projections.brand_directory import BrandDirectory, BrandReader
from izin.runtime.broker_watch import BrokerWatch
from izin.runtime.errors import BrokerError
from izin.runtime.http_server.problems import (
    Faults,
    ProblemText,
    RequestRefusedError,
    operations_app,
    problem,
    public_app,
)
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.http_server.shedding import read_body, share_of_key
from izin.runtime.kafka import access_of
from izin.runtime.logs import get_logger
from izin.runtime.process import stopping_on_signals, tune_gc_for_batches
from izin.runtime.settings import IntakeSettings, KafkaSettings
from izin.schemas.api_keys import ApiKey, Scope
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition, token_of

_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
RETRY_AFTER_SECONDS = 5
NOT_ACKNOWLEDGED = ProblemText(
    503,
    "Try again",
    "Kafka does not acknowledge; send this again, with the same Idempotency-Key",
)
_REMEDIES = {"H112": ' (consentDate), or say "dateBasis": "received" if it is now'}
"""What only this way in has, by the code of a violation."""
MAX_BODY = 1024 * 1024
_ACKNOWLEDGEMENT_TIMEOUT = 15.0
_DELIVERY = timedelta(seconds=10)
_DRAIN = 20
_log = get_logger(__name__)


class IntakeMetrics:
    """The intake's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "izin_intake_requests",
            "Requests to the intake, by HTTP status.",
            ["status"],
            registry=self.registry,
        )
        self._records = Counter(
            "izin_intake_records",
            "Records posted to the intake, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "izin_intake_request_seconds",
            "Response time of requests to the intake; a 202 includes Kafka's acknowledgement.",
            buckets=_BUCKETS,
            registry=self.registry,
        )

        self._skew = Gauge(
            "izin_intake_clock_skew_seconds",
            "How far this clock is ahead of Kafka's, as far as append times prove it; negative: "
            "behind.",
            registry=self.registry,
        )

    def answered(self, status: int, seconds: float) -> None:
        """Count a request by its status."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def validated(self, *, published: int, postponed: int, refused: int) -> None:
        """Count the records of a request by outcome."""
        self._records.labels("published").inc(published)
        self._records.labels("postponed").inc(postponed)
        self._records.labels("refused").inc(refused)

    def measured(self, skew: timedelta) -> None:
        """Set the clock skew."""
        self._skew.set(skew.total_seconds())


def refusal(
    *, records: int, published: int, postponed: int, forbidden: int, members: Mapping[str, Any]
) -> Response:
    """Return the response to a request of which not all records were published.

    Where some can be accepted later, all are sent again then, and the others are refused again.
    """
    if postponed:
        return problem(
            503,
            "Try again",
            f"{postponed} of {records} records cannot be accepted now, for the instant of their "
            "first receipt is not known; send all again, with the same Idempotency-Key",
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            members=members,
        )
    if forbidden:
        return problem(
            403,
            "Records outside the key",
            f"{forbidden} of {records} records are outside this API key, {published} were "
            "published; use a key for what violations names, and send those again",
            members=members,
        )
    return problem(
        422,
        "Records refused",
        f"{records - published} of {records} records were refused, {published} published; correct "
        "what violations names and send those again",
        members=members,
    )


def as_json(
    violations: Sequence[Violation], place: str, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the violations of the record at ``place``, each with a JSON pointer; ``names`` are the
    sender's names of the fields.
    """
    return [
        {
            "pointer": place + _step(names.get(one.field, one.field)),
            "field": one.field,
            "code": one.code,
            "reason": one.reason + _REMEDIES.get(one.code, ""),
            "reason_tr": one.reason_tr,
        }
        for one in violations
    ]


def _step(name: str) -> str:
    """Return ``name`` as a step of a JSON pointer (RFC 6901); empty for an empty name."""
    return f"/{name.replace('~', '~0').replace('/', '~1')}" if name else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accepted:
    """An accepted record and its position in the body."""

    index: int
    place: str
    names: Mapping[str, str]
    record: AcceptedRecord


class Intake:
    """The endpoint: validates the records of a request, publishes them and responds."""

    def __init__(  # noqa: PLR0913  # its parts
        self,
        publisher: EventPublisher,
        directory: BrandDirectory,
        receipts: Receipts,
        keys: ApiKeyDirectory,
        *,
        clock: Callable[[], datetime],
        chance: Callable[[int], bytes],
    ) -> None:
        self._publisher = publisher
        self._keys = keys
        self._clock = clock
        self._skew = ClockSkew()
        self._validator = RecordValidator(
            directory, receipts, self._skew, clock=clock, chance=chance
        )
        self.metrics = IntakeMetrics()

    async def post(self, request: Request) -> Response:
        """Publish the records of a request."""
        began = perf_counter()
        try:
            key = authorised(request, self._keys, Scope.PUBLISH, now=self._clock())
            with share_of_key(request, key.name):
                body = await read_body(request, largest=MAX_BODY)
                records, is_single = read_records(request.headers.get("content-type", ""), body)
                reference = request.headers.get("idempotency-key") or None
                response = await self._accept(records, reference, key, is_single=is_single)
        except RequestRefusedError as error:
            response = problem(error.status, error.title, error.detail, headers=error.headers)
        except BrokerError as error:
            _log.error("events not acknowledged", error=str(error))
            retry = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            response = problem(*NOT_ACKNOWLEDGED, headers=retry)
        self.metrics.answered(response.status_code, perf_counter() - began)
        return response

    async def _accept(
        self,
        records: Sequence[InputRecord],
        idempotency_key: str | None,
        key: ApiKey,
        *,
        is_single: bool,
    ) -> Response:
        accepted: list[_Accepted] = []
        refused: list[dict[str, Any]] = []
        postponed = forbidden = 0
        validated = await self._validator.validate(records, idempotency_key, key)
        for index, (one, result) in enumerate(zip(records, validated, strict=True)):
            place = "" if is_single else f"/{index}"
            match result:
                case RefusedRecord(violations=violations):
                    refused += as_json(violations, place, one.names)
                case ForbiddenRecord(violation=violation):
                    forbidden += 1
                    refused += as_json([violation], place, one.names)
                case AcceptedRecord() as record:
                    accepted.append(
                        _Accepted(index=index, place=place, names=one.names, record=record)
                    )
                case PostponedRecord():
                    postponed += 1
                case never:
                    assert_never(never)
        oversize, token = await self._publish(accepted)
        published = [one for one in accepted if one.index not in oversize]
        for each in accepted:
            if each.index in oversize:
                refused += as_json([oversize[each.index]], each.place, each.names)
        self.metrics.validated(
            published=len(published),
            postponed=postponed,
            refused=len(records) - len(published) - postponed,
        )
        events = {"events": _events(published), **({"token": token} if published else {})}
        if len(published) == len(records):
            return JSONResponse(events, status_code=202)
        return refusal(
            records=len(records),
            published=len(published),
            postponed=postponed,
            forbidden=forbidden,
            members={"violations": refused, **events},
        )

    async def _publish(self, accepted: Sequence[_Accepted]) -> tuple[Mapping[int, Violation], str]:
        """Publish all records and wait for their results; return the oversize ones by index, and
        the consistency token of the others.

        Raises:
            BrokerError: Kafka did not acknowledge all the others.
        """
        sent_at = self._clock()
        refused: dict[int, Violation] = {}
        pending: dict[int, Future[Published]] = {}
        for one in accepted:
            record = one.record
            try:
                pending[one.index] = self._publisher.publish(
                    record.event, record.key, wait=timedelta(0)
                )
            except SourceError as error:
                refused[one.index] = _oversize(error)
        try:
            async with asyncio.timeout(_ACKNOWLEDGEMENT_TIMEOUT):
                results = await asyncio.gather(
                    *map(asyncio.wrap_future, pending.values()), return_exceptions=True
                )
        except TimeoutError:
            raise BrokerError("Kafka did not acknowledge in time") from None
        self._measure(sent_at, results)
        for index, result in zip(pending, results, strict=True):
            if isinstance(result, SourceError):
                refused[index] = _oversize(result)
            elif isinstance(result, BaseException):
                raise result
        written = (
            LogPosition(one.topic, one.partition, one.offset)
            for one in results
            if isinstance(one, Published)
        )
        return refused, token_of(written)

    def _measure(self, sent_at: datetime, results: Sequence[Published | BaseException]) -> None:
        now = self._clock()
        for one in results:
            if isinstance(one, Published) and one.appended_at is not None:
                self._skew.observe(
                    sent_at=sent_at, acknowledged_at=now, appended_at=one.appended_at
                )
        self.metrics.measured(self._skew.proven)


def intake_app(intake: Intake, faults: Faults) -> Starlette:
    """Return the ASGI application of ``intake``, which is ready while there are no ``faults``."""
    return public_app(Route("/v1/consents", intake.post, methods=["POST"]), faults)


def _events(accepted: Sequence[_Accepted]) -> list[dict[str, Any]]:
    return [
        {
            "index": one.index,
            "event_id": one.record.event.event_id,
            "status": one.record.event.status,
            "violations": as_json(one.record.violations, one.place, one.names),
        }
        for one in accepted
    ]


def _oversize(error: SourceError) -> Violation:
    return violation("", "IZIN-SIZE", what=error)


def utc_now() -> datetime:
    """Return the current instant in UTC."""
    return datetime.now(UTC)


def serve(kafka: KafkaSettings, intake: IntakeSettings, codec: Codec) -> None:
    """Serve the intake until SIGTERM or SIGINT.

    Raises:
        PortError: an address cannot be used.
        BrokerError: Kafka cannot be reached at the start.
    """
    tune_gc_for_batches()
    with closing(HttpListeners(intake, server="the intake", variables="IZIN_INTAKE")) as listeners:
        uvloop.run(_serve(kafka, intake, codec, listeners))


async def _serve(
    kafka: KafkaSettings, intake: IntakeSettings, codec: Codec, listeners: HttpListeners
) -> None:
    stopping = stopping_on_signals()
    access = access_of(kafka)
    async with _following(BrandReader(access, codec)) as directory:
        with (
            ApiKeyReader(kafka, codec).follow() as keys,
            KafkaPublisher(access, codec, clock=utc_now, delivery_timeout=_DELIVERY) as publisher,
            ReceiptLog(
                kafka, codec, publisher.append, limit=intake.first_receipts, clock=utc_now
            ).follow() as receipts,
        ):
            endpoint = Intake(
                publisher,
                directory,
                receipts,
                keys,
                clock=utc_now,
                chance=secrets.token_bytes,
            )
            if not stopping.is_set():
                listeners.listen()
                _log.info(
                    "intake started", host=intake.host, port=intake.port, brands=len(directory)
                )
                broker, registry = BrokerWatch(kafka), endpoint.metrics.registry

                def faults() -> Mapping[str, str]:
                    return {**broker.faults(), **keys.faults()}

                await listeners.serve(
                    intake_app(endpoint, faults),
                    operations_app(registry, faults),
                    registry,
                    proxies=intake.proxies,
                    drain=_DRAIN,
                    stopping=stopping,
                    beside=[broker.run()],
                )


@asynccontextmanager
async def _following(reader: BrandReader) -> AsyncIterator[BrandDirectory]:
    following = reader.follow()
    directory = await asyncio.to_thread(following.__enter__)
    try:
        yield directory
    finally:
        await asyncio.to_thread(following.__exit__, None, None, None)
