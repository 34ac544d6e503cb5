"""The HTTP door for signups: what it accepted with 202, Kafka has acknowledged.

``POST /v1/consents`` takes JSON (one statement or up to 1000) or a web form, with a bearer token.
Each statement is judged by the law as the order worker will judge it. A "no" whose key can be read
is never refused; what else is wrong with it stands beside its id in the answer, and so does it of a
"yes" that its term has ended. In a list the good
statements are taken even where others are refused: the answer is then 422 and names both.

The same statement sent again under the same ``Idempotency-Key`` or ``id`` keeps its event id.
A statement without a date, made by the act itself, keeps the date of the first time too, while this
process remembers it: a retry must not outrun a "no" that came between. Another process, or this one
after a restart, cannot know that time; a sender whose retries may meet one gives the date itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any, assert_never

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from izin.consent.errors import SourceError
from izin.consent.model import Status
from izin.producers.intake.first_seen import FirstSeen
from izin.producers.intake.metrics import IntakeMetrics
from izin.producers.intake.problems import IntakeProblem, IntakeShutError, as_json, problem
from izin.producers.intake.request_body import InputRecord, read_body
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.names import Field
from izin.producers.mapping.records import AcceptedRecord, EventOrigin, RefusedRecord, judge, read
from izin.producers.mapping.violations import too_large
from izin.producers.publishing.event_ids import CHANCE_BYTES, message_event_id, new_event_id
from izin.runtime.kafka import BrokerError
from izin.runtime.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from pydantic import SecretStr
    from starlette.requests import Request

    from izin.consent.violations import Violation
    from izin.producers.brand_directory import BrandDirectory
    from izin.producers.publishing.publisher import EventPublisher, Published

LARGEST_BODY = 1024 * 1024
RETRY_AFTER_SECONDS = 5
ORIGIN = "web"

_BODY_WITHIN = 15.0
_ACKNOWLEDGED_WITHIN = 15.0

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """An admitted statement and its place in the body."""

    index: int
    place: str
    names: Mapping[str, str]
    admitted: AcceptedRecord


class Intake:
    """The door: judges what is posted, publishes it and answers."""

    def __init__(
        self,
        publisher: EventPublisher,
        directory: BrandDirectory,
        tokens: Sequence[SecretStr],
        *,
        clock: Callable[[], datetime],
        chance: Callable[[int], bytes],
    ) -> None:
        self._publisher = publisher
        self._directory = directory
        self._tokens = [_digest(one.get_secret_value()) for one in tokens]
        self._clock = clock
        self._chance = chance
        self._first_seen = FirstSeen()
        self.metrics = IntakeMetrics()

    async def post(self, request: Request) -> Response:
        """Take the statements of a request."""
        began = perf_counter()
        try:
            self._authorise(request)
            body = await _read_bounded(request)
            said, is_alone = read_body(request.headers.get("content-type", ""), body)
            response = await self._take(
                said, request.headers.get("idempotency-key") or None, is_alone=is_alone
            )
        except IntakeProblem as error:
            response = problem(error.status, error.title, error.detail, headers=error.headers)
        except IntakeShutError as error:
            response = problem(503, "Intake is shut", str(error))
        except BrokerError as error:
            _log.error("intake-broker-away", error=str(error))
            response = problem(
                503,
                "Try again",
                "Kafka does not acknowledge now; send this again, with the same Idempotency-Key",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        self.metrics.answered(response.status_code, perf_counter() - began)
        return response

    async def health(self, _request: Request) -> Response:
        """Say whether the door can publish now."""
        reachable = await asyncio.to_thread(self._publisher.is_reachable)
        state = "ok" if reachable else "kafka is not reachable"
        return JSONResponse({"status": state}, status_code=200 if reachable else 503)

    async def show_metrics(self, _request: Request) -> Response:
        """Give the metrics in Prometheus' text format."""
        body, media_type = self.metrics.exposition()
        return PlainTextResponse(body, media_type=media_type)

    def _authorise(self, request: Request) -> None:
        if not self._tokens:
            raise IntakeShutError("no token is configured; set IZIN_INTAKE_TOKENS to a JSON list")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        digest = _digest(token.strip())
        # Every token is compared, so the time taken tells nothing of which one is near.
        matches = [hmac.compare_digest(digest, one) for one in self._tokens]
        if scheme.lower() != "bearer" or not any(matches):
            raise IntakeProblem(
                401,
                "Not authorised",
                "send a configured token: Authorization: Bearer <token>",
                {"WWW-Authenticate": "Bearer"},
            )

    async def _take(
        self, said: Sequence[InputRecord], idempotency_key: str | None, *, is_alone: bool
    ) -> Response:
        taken: list[_Taken] = []
        refused: list[dict[str, Any]] = []
        for index, one in enumerate(said):
            place = "" if is_alone else f"/{index}"
            match self._judge(one, idempotency_key):
                case RefusedRecord(violations=violations):
                    refused += as_json(violations, place, one.names)
                case AcceptedRecord() as admitted:
                    taken.append(
                        _Taken(index=index, place=place, names=one.names, admitted=admitted)
                    )
                case never:
                    assert_never(never)
        oversize = await self._publish(taken)
        published = [one for one in taken if one.index not in oversize]
        refused += [
            told
            for one in taken
            if one.index in oversize
            for told in as_json([oversize[one.index]], one.place, one.names)
        ]
        self.metrics.judged(published=len(published), refused=len(said) - len(published))
        if len(published) == len(said):
            return JSONResponse({"events": _events(published)}, status_code=202)
        return problem(
            422,
            "Statements refused",
            f"{len(said) - len(published)} of {len(said)} statements were refused, "
            f"{len(published)} published; correct what violations names and send those again",
            members={"violations": refused, "events": _events(published)},
        )

    def _judge(
        self, said: InputRecord, idempotency_key: str | None
    ) -> AcceptedRecord | RefusedRecord:
        statement = read(said.values, DateRules()).with_violations(said.violations)
        now = self._clock()
        reference = said.reference or idempotency_key
        if reference is None and statement.consent_date is not None:
            # Without a date, a customer's number would make the next change of mind the same event.
            reference = statement.texts.get(Field.ORIGIN_REF)
        if reference is None:
            event_id = new_event_id(now, self._chance(CHANCE_BYTES))
        else:
            event_id = message_event_id(ORIGIN, reference, "\x1f".join(statement.identity))
            if statement.status == Status.ONAY:
                now = self._first_seen.at(event_id, now)
        origin = EventOrigin(
            event_id=event_id,
            origin=ORIGIN,
            received_at=now,
            evidence=said.evidence,
            is_live=said.is_live,
        )
        return judge(statement, self._directory, origin)

    async def _publish(self, taken: Sequence[_Taken]) -> Mapping[int, Violation]:
        """Publish all, wait for every acknowledgement, and return what proved too large, by index.

        Raises BrokerError where Kafka does not have all the rest.
        """
        refused: dict[int, Violation] = {}
        under_way: dict[int, Future[Published]] = {}
        for one in taken:
            admitted = one.admitted
            try:
                under_way[one.index] = self._publisher.publish(
                    admitted.event, admitted.key, wait=timedelta(0)
                )
            except SourceError as error:
                refused[one.index] = too_large(error)
        try:
            async with asyncio.timeout(_ACKNOWLEDGED_WITHIN):
                answers = await asyncio.gather(
                    *map(asyncio.wrap_future, under_way.values()), return_exceptions=True
                )
        except TimeoutError:
            raise BrokerError("Kafka did not acknowledge in time") from None
        for index, answer in zip(under_way, answers, strict=True):
            if isinstance(answer, SourceError):
                refused[index] = too_large(answer)
            elif isinstance(answer, BaseException):
                raise answer
        return refused


def intake_app(intake: Intake) -> Starlette:
    """Return the ASGI application of ``intake``."""
    return Starlette(
        routes=[
            Route("/v1/consents", intake.post, methods=["POST"]),
            Route("/health", intake.health),
            Route("/metrics", intake.show_metrics),
        ],
        exception_handlers={HTTPException: _not_here},
    )


async def _not_here(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return problem(
        status,
        "No such door",
        f"{request.method} {request.url.path} is not served; POST to /v1/consents",
    )


async def _read_bounded(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST_BODY:
                    raise IntakeProblem(
                        413,
                        "Too large",
                        f"the body is over {LARGEST_BODY} bytes; send less at once",
                    )
    except TimeoutError:
        raise IntakeProblem(
            408, "Too slow", f"the body did not arrive within {_BODY_WITHIN:.0f} s; send it again"
        ) from None
    return bytes(body)


def _events(taken: Sequence[_Taken]) -> list[dict[str, Any]]:
    return [
        {
            "index": one.index,
            "event_id": one.admitted.event.event_id,
            "status": one.admitted.event.status,
            "violations": as_json(one.admitted.violations, one.place, one.names),
        }
        for one in taken
    ]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
