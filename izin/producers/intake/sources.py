"""``POST /v1/sources/{source}``: systems that can only send their own webhook.

What proves the sender is checked first; what its mapping finds is validated and published as what
is posted to ``/v1/consents`` is. The rest becomes a dead letter with its bytes. Kafka has
acknowledged both before the answer, which is 202 either way: a gateway would repeat for ever what
it cannot correct. An opt-in whose instant cannot be determined now gets 503, and is sent again.
"""

import json
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from izin.consent import Violation
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.intake.server import (
    MAX_BODY,
    RETRY_AFTER_SECONDS,
    Intake,
    as_json,
    event_json,
)
from izin.producers.intake.validation import ForbiddenRecord, PostponedRecord
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.records import AcceptedRecord, RefusedRecord
from izin.producers.publishing.publisher import KafkaRecord
from izin.producers.sources import Delivery, PayloadSource, SourceFolder, SourceRecord, Unmapped
from izin.producers.sources.payloads import MULTIPART, PayloadError
from izin.producers.sources.source import SourceMapping, unmapped
from izin.runtime.http_server.problems import JsonResponse, ProblemText
from izin.runtime.http_server.shedding import read_body, share_of_key
from izin.runtime.logs import get_logger
from izin.schemas.api_keys import ApiKey, Scope
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import token_of
from izin.schemas.records import MAX_COPIED_BYTES, dead_letter_to_avro, headers
from izin.schemas.topics import Topics
from izin.schemas.uuids import CHANCE_BYTES, uuid7

UNMAPPED: Final = "unmapped"
"""The reason of a dead letter."""
MAX_PARTS: Final = 5000
_AGENT: Final = 300
_FIELDS: Final = 1000
_NOWHERE: Final = -1
TOO_MANY: Final = ProblemText(
    413, "Too many records", f"over {MAX_PARTS} consents in one delivery; send fewer at once"
)
POSTPONED: Final = ProblemText(
    503,
    "Try again",
    "an opt-in cannot be accepted now, for the instant of its first receipt is not known; send the "
    "same again",
    RETRY_AFTER_SECONDS,
)
_log = get_logger(__name__)


async def delivery_of(request: Request) -> Delivery:
    """Return a request as a delivery; raises as ``read_body``."""
    body = await read_body(request, largest=MAX_BODY)
    return Delivery(dict(request.headers), dict(request.query_params), body)


def acting(request: Request) -> Mapping[str, str]:
    """Return who acts, as far as the request says it: address and agent, for the evidence."""
    return {
        "ip": request.client.host if request.client else "",
        "user_agent": request.headers.get("user-agent", "")[:_AGENT],
    }


async def payload_of(delivery: Delivery) -> object:
    """Return what the body of ``delivery`` says; raises PayloadError."""
    if not delivery.headers.get("content-type", "").lower().startswith(MULTIPART):
        return delivery.payload()

    async def body() -> AsyncGenerator[bytes, None]:
        yield delivery.body

    parser = MultiPartParser(Headers(delivery.headers), body(), max_files=0, max_fields=_FIELDS)
    try:
        return dict(await parser.parse())
    except (MultiPartException, KeyError) as error:
        raise PayloadError("the body is no form that can be read, or has a file") from error


def key_of(origin: str, codes: Collection[int], directory: BrandDirectory, now: datetime) -> ApiKey:
    """Return what an API key would be that permits to publish for these brands."""
    brands = [brand for code in codes if (brand := directory.find(code)) is not None]
    return ApiKey(
        id="",
        name=origin,
        secret_hash=b"",
        scopes=frozenset({Scope.PUBLISH}),
        customers=frozenset(brand.customer_id for brand in brands),
        brands=frozenset(codes),
        created_at=now,
    )


def _values(
    source: PayloadSource[SourceMapping],
    delivery: Delivery,
    payload: object,
    why: Sequence[tuple[Sequence[Violation], object]],
) -> Iterator[tuple[bytes, Sequence[Violation]]]:
    """Yield the value of each dead letter, with why: the body, which alone is read as it was; of
    one that is too large the payload with the records alone that are not mapped, as many as fit.
    What is beside the records is left out where it has no room, for it would be repeated.
    """
    if not why:
        return
    if len(delivery.body) <= MAX_COPIED_BYTES or payload is None:
        yield delivery.body, [one for violations, _ in why for one in violations]
        return
    beside = payload
    room = MAX_COPIED_BYTES - len(json.dumps(source.holding(payload, [])))
    if room < MAX_COPIED_BYTES // 2:
        beside, room = None, MAX_COPIED_BYTES // 2
    violations: list[Violation] = []
    parts: dict[int, object] = {}
    size = 0
    for some, part in why:
        added = 0 if id(part) in parts else len(json.dumps(part)) + len(", ")
        if parts and size + added > room:
            yield json.dumps(source.holding(beside, [*parts.values()])).encode(), violations
            violations, parts, size = [], {}, 0
        violations += some
        parts[id(part)] = part
        size += added
    yield json.dumps(source.holding(beside, [*parts.values()])).encode(), violations


class SourceIntake:
    """The endpoint, in the process of an ``intake``."""

    def __init__(
        self,
        intake: Intake,
        folder: SourceFolder[SourceMapping],
        directory: BrandDirectory,
        *,
        codec: Codec,
        topics: Topics,
    ) -> None:
        self._intake = intake
        self._folder = folder
        self._directory = directory
        self._codec = codec
        self._topic = topics.dead_letters

    async def post(self, request: Request) -> Response:
        """Publish what a delivery says."""
        return await self._intake.answer(self._of(request))

    async def _of(self, request: Request) -> Response:
        source = self._folder.get(request.path_params["source"])
        with share_of_key(request, source.origin):
            return await self._accept(source, await delivery_of(request), self._intake.now())

    async def _accept(
        self, source: PayloadSource[SourceMapping], delivery: Delivery, now: datetime
    ) -> Response:
        payload: object = None
        found: list[SourceRecord | Unmapped] = []
        try:
            payload = await payload_of(delivery)
        except PayloadError as error:
            found.append(Unmapped(unmapped(str(error)), None))
        source.prove(delivery, payload, now)
        if not found:
            for one in source.read(delivery, payload):
                found.append(one)
                if len(found) > MAX_PARTS:
                    raise TOO_MANY.error()
        records = [one for one in found if isinstance(one, SourceRecord)]
        validated = await self._intake.validator.validate(
            [one.record for one in records],
            None,
            key_of(source.origin, source.mapping.brands, self._directory, now),
            source.origin,
        )
        why = [(one.violations, one.part) for one in found if isinstance(one, Unmapped)]
        accepted: dict[int, AcceptedRecord] = {}
        for index, result in enumerate(validated):
            if isinstance(result, AcceptedRecord):
                accepted[index] = result
            elif isinstance(result, RefusedRecord | ForbiddenRecord):
                why.append((result.violations, records[index].part))
        letters = [
            self._letter(source, delivery, value, violations, now)
            for value, violations in _values(source, delivery, payload, why)
        ]
        oversize, written = await self._intake.publish(accepted, letters)
        for index, reason in oversize.items():
            _log.error("event too large", source=source.name, error=str(reason))
            del accepted[index]
        postponed = sum(isinstance(one, PostponedRecord) for one in validated)
        self._intake.metrics.validated(
            published=len(accepted), postponed=postponed, dead_letter=len(letters)
        )
        events = [
            event_json(
                index,
                one,
                as_json(one.violations, f"/{index}", Field.RECIPIENT),
                written.get(index),
            )
            for index, one in accepted.items()
        ]
        said: dict[str, Any] = {
            "events": events,
            "dead_letters": len(letters),
            "token": token_of(written.values()),
        }
        return POSTPONED.response(**said) if postponed else JsonResponse(said, status_code=202)

    def _letter(
        self,
        source: PayloadSource[SourceMapping],
        delivery: Delivery,
        value: bytes,
        violations: Sequence[Violation],
        now: datetime,
    ) -> tuple[str, KafkaRecord]:
        """Return the dead letter of a delivery, with its id."""
        codes = Counter(one.code for one in violations)
        _log.error("payload not mapped", source=source.name, codes=dict(codes))
        kept = {
            **source.headers_of(delivery),
            "content-type": delivery.headers.get("content-type", ""),
        }
        record: Mapping[str, Any] = dead_letter_to_avro(
            reason=UNMAPPED,
            violations=tuple(dict.fromkeys(violations)),
            topic=source.origin,
            partition=_NOWHERE,
            offset=_NOWHERE,
            timestamp=now,
            key=None,
            value=value,
            headers=[(name, text.encode()) for name, text in kept.items()],
        )
        letter_id = uuid7(now, self._intake.chance(CHANCE_BYTES))
        return letter_id, KafkaRecord(
            topic=self._topic.name,
            key=b"",
            value=self._codec.encode(self._topic.record, dict(record)),
            headers=headers(
                record=self._topic.record, event_id=letter_id, source=f"/{source.origin}", at=now
            ),
        )
