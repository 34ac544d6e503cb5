"""The intake over HTTP: the endpoint for signups, and the process that serves it.

Kafka has acknowledged what it answers with 202. It binds its ports first and listens once Kafka is
reachable; on SIGTERM it closes the ports first, then Kafka: stopping loses nothing.

``POST /v1/consents`` takes JSON (one record or up to 1000) or a web form, with an API key that may
publish; the name of the key is the actor of the events. Each record is validated by the law as the
order worker will do. An opt-out (RET) whose key can be read is never refused, unless its brand or
channel is outside the API key; anything else wrong with it is listed beside its id in the response,
and so is the end of the term of an opt-in (ONAY). Of a list the valid records are published even if
others are refused: the response is then 422, or 403 where some are outside the key, and lists both.
Whatever was published, the response has a consistency token of it, and of each event its own, by
which ``izin api`` finds it. A key of the scope ``test`` gets the same answers, and nothing of it is
published.

An ``Idempotency-Key`` that came with another body within a day is refused, but for opt-outs.
The same record sent again under the same ``Idempotency-Key`` or ``id`` keeps its event id and, for
a day and at any endpoint, the instant from which it counts: see ``validation``. An opt-in whose
instant cannot be determined is not published, and the response is 503; the rest of the request is.
"""

from collections import Counter as Counts
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from time import perf_counter
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.requests import Request
from starlette.responses import Response

from izin.consent import SourceError, Violation
from izin.kafka.tables.api_keys import ApiKeyDirectory, authorised
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.intake.receipt_log import ReceiptLog
from izin.producers.intake.request_body import read_records
from izin.producers.intake.validation import (
    ORIGIN,
    ClockSkew,
    ForbiddenRecord,
    OtherBodyRecord,
    PostponedRecord,
    RecordValidator,
)
from izin.producers.mapping.field_names import Field, violation
from izin.producers.mapping.records import AcceptedRecord, InputRecord, RefusedRecord
from izin.producers.publishing.publisher import KafkaPublisher, KafkaRecord
from izin.runtime.errors import BrokerError
from izin.runtime.http_server.problems import (
    JsonResponse,
    ProblemText,
    RequestRefusedError,
)
from izin.runtime.http_server.shedding import read_body, share_of_key
from izin.runtime.logs import get_logger
from izin.schemas.api_keys import ApiKey, Scope
from izin.schemas.consistency_token import LogPosition, token_of

_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)
RETRY_AFTER_SECONDS = 5
NOT_ACKNOWLEDGED = ProblemText(
    503,
    "Try again",
    "Kafka does not acknowledge; send this again, with the same Idempotency-Key",
    RETRY_AFTER_SECONDS,
)
OTHER_BODY = ProblemText(
    422,
    "Idempotency-Key of another body",
    "this key came with another body within a day; of this request only opt-outs were published: "
    "send the others again with a key of their own",
)
_REMEDIES = {"H112": ' (consent_date), or say "date_basis": "received" if it is now'}
"""What only this way in has, by the code of a violation."""
_NO_KINDS: Counts[type] = Counts()
MAX_BODY = 1024 * 1024
_log = get_logger(__name__)


class IntakeMetrics:
    """The intake's metrics, in a registry of their own."""

    def __init__(self, skew: ClockSkew) -> None:
        self.registry = CollectorRegistry()
        requests = Counter(
            "izin_intake_requests",
            "Requests to the intake, by HTTP status.",
            ["status"],
            registry=self.registry,
        )
        records = Counter(
            "izin_intake_records",
            "Records posted to the intake, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        # The client looks a label up in several microseconds.
        self._requests, self._records = cache(requests.labels), cache(records.labels)
        self._seconds = Histogram(
            "izin_intake_request_seconds",
            "Response time of requests to the intake; a 202 includes Kafka's acknowledgement.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        proven = Gauge(
            "izin_intake_clock_skew_seconds",
            "How far this clock is ahead of Kafka's, as far as append times prove it; negative: "
            "behind.",
            registry=self.registry,
        )

        proven.set_function(lambda: skew.proven / timedelta(seconds=1))

    def answered(self, status: int, seconds: float) -> None:
        """Count a request by its status."""
        self._requests(str(status)).inc()
        self._seconds.observe(seconds)

    def validated(self, **counts: int) -> None:
        """Count the records of a request by outcome: published, postponed, refused, dead_letter."""
        for outcome, count in counts.items():
            if count:
                self._records(outcome).inc(count)


def refusal(records: int, published: int, kinds: Counts[type]) -> ProblemText:
    """Return what is answered to a request of which not all records were published.

    Where some can be accepted later, all are sent again then, and the others are refused again.
    """
    if kinds[OtherBodyRecord]:
        return OTHER_BODY
    if postponed := kinds[PostponedRecord]:
        return ProblemText(
            503,
            "Try again",
            f"{postponed} of {records} records cannot be accepted now, for the instant of their "
            "first receipt is not known; send all again, with the same Idempotency-Key",
            RETRY_AFTER_SECONDS,
        )
    if forbidden := kinds[ForbiddenRecord]:
        return ProblemText(
            403,
            "Records outside the key",
            f"{forbidden} of {records} records are outside this API key, {published} were "
            "published; use a key for what violations names, and send those again",
        )
    return ProblemText(
        422,
        "Records refused",
        f"{records - published} of {records} records were refused, {published} published; correct "
        "what violations names and send those again",
    )


def as_json(
    violations: Sequence[Violation], place: str, recipient_name: str
) -> list[dict[str, Any]]:
    """Return the violations of the record at ``place``, each with a JSON pointer (RFC 6901); the
    recipient is in the field ``recipient_name``.
    """
    found = []
    for one in violations:
        name = recipient_name if one.field == Field.RECIPIENT else one.field
        found.append(
            {
                "pointer": f"{place}/{name}" if name else place,
                "field": one.field,
                "code": one.code,
                "reason": one.reason + _REMEDIES.get(one.code, ""),
                "reason_tr": one.reason_tr,
            }
        )
    return found


def event_json(
    index: int,
    record: AcceptedRecord,
    violations: Sequence[Mapping[str, Any]],
    written: LogPosition | None,
) -> Mapping[str, Any]:
    """Return what is answered about an event, ``index`` in its request; ``written`` where, unless
    it was a test.
    """
    event = record.event
    return {
        "index": index,
        "event_id": event.event_id,
        "status": event.status,
        "violations": violations,
        **({} if written is None else {"token": token_of([written])}),
    }


class Intake:
    """The endpoint: validates the records of a request, publishes them and responds."""

    def __init__(  # noqa: PLR0913  # its parts
        self,
        publisher: KafkaPublisher,
        directory: BrandDirectory,
        receipts: ReceiptLog,
        keys: ApiKeyDirectory,
        *,
        clock: Callable[[], datetime],
        chance: Callable[[int], bytes],
    ) -> None:
        self._publisher = publisher
        self._keys = keys
        self.now = clock
        self.chance = chance
        self._skew = ClockSkew()
        self.validator = RecordValidator(
            directory, receipts, self._skew, clock=clock, chance=chance
        )
        self.metrics = IntakeMetrics(self._skew)

    async def post(self, request: Request) -> Response:
        """Publish the records of a request."""
        return await self.answer(self._of_key(request))

    async def _of_key(self, request: Request) -> Response:
        key = authorised(request, self._keys, Scope.PUBLISH, now=self.now(), other=Scope.TEST)
        with share_of_key(request, key.name):
            body = await read_body(request, largest=MAX_BODY)
            records, is_single = read_records(request.headers.get("content-type", ""), body)
            reference = request.headers.get("idempotency-key") or None
            return await self.accept(records, reference, key, is_single=is_single)

    async def answer(self, accepting: Awaitable[Response]) -> Response:
        """Return the response that ``accepting`` a request has, or why it is refused."""
        began = perf_counter()
        try:
            response = await accepting
        except RequestRefusedError as error:
            response = error.response()
        except BrokerError as error:
            _log.error("events not acknowledged", error=str(error))
            response = NOT_ACKNOWLEDGED.response()
        self.metrics.answered(response.status_code, perf_counter() - began)
        return response

    async def accept(  # noqa: PLR0913  # a request
        self,
        records: Sequence[InputRecord],
        idempotency_key: str | None,
        key: ApiKey,
        *,
        is_single: bool,
        origin: str = ORIGIN,
        more: Callable[[AcceptedRecord], Mapping[str, object]] = lambda _: {},
    ) -> Response:
        """Publish what is valid of ``records``, and return what became of each; ``more`` is said
        beside each that was published. With a key for tests nothing is published, nor claimed.

        Raises:
            BrokerError: Kafka did not acknowledge all.
        """

        def shown(index: int, violations: Sequence[Violation]) -> list[dict[str, Any]]:
            place = "" if is_single else f"/{index}"
            return as_json(violations, place, records[index].recipient_name)

        accepted: dict[int, AcceptedRecord] = {}
        refused: list[dict[str, Any]] = []
        is_test = Scope.PUBLISH not in key.scopes
        validated = await self.validator.validate(records, idempotency_key, key, origin)
        for index, result in enumerate(validated):
            if isinstance(result, AcceptedRecord):
                accepted[index] = result
            elif isinstance(result, RefusedRecord | ForbiddenRecord):
                refused += shown(index, result.violations)
        oversize, written = await self.publish({} if is_test else accepted)
        for index, error in oversize.items():
            del accepted[index]
            refused += shown(index, [violation("", "IZIN-SIZE", what=error)])
        is_whole = len(accepted) == len(records)
        kinds = _NO_KINDS if is_whole else Counts(map(type, validated))
        postponed = kinds[PostponedRecord]
        self.metrics.validated(
            published=0 if is_test else len(accepted),
            postponed=postponed,
            refused=len(records) - len(accepted) - postponed,
        )
        events: dict[str, Any] = {
            "events": [
                {
                    **event_json(index, one, shown(index, one.violations), written.get(index)),
                    **more(one),
                }
                for index, one in accepted.items()
            ]
        }
        if is_test:
            events["test"] = True
        elif accepted:
            (*_, last) = events["events"]
            events["token"] = last["token"] if len(accepted) == 1 else token_of(written.values())
        if is_whole:
            return JsonResponse(events, status_code=202)
        text = refusal(len(records), len(accepted), kinds)
        return text.response(violations=refused, **events)

    async def publish(
        self,
        accepted: Mapping[int, AcceptedRecord],
        letters: Sequence[tuple[str, KafkaRecord]] = (),
    ) -> tuple[Mapping[int, SourceError], Mapping[int, LogPosition]]:
        """Publish all records, and dead ``letters`` with their ids, and wait for their results;
        return by index why some records are refused, and where the others are.

        Raises:
            BrokerError: Kafka did not acknowledge all the others.
        """
        sent_at = self.now()
        events = {index: (one.event, one.key) for index, one in accepted.items()}
        results = await self._publisher.publish_all(events, letters)
        now = self.now()
        refused: dict[int, SourceError] = {}
        written: dict[int, LogPosition] = {}
        for index, result in results.items():
            if isinstance(result, SourceError):
                refused[index] = result
                continue
            written[index] = LogPosition(result.topic, result.partition, result.offset)
            if result.appended_at is not None:
                self._skew.observe(
                    sent_at=sent_at, acknowledged_at=now, appended_at=result.appended_at
                )
        return refused, written
