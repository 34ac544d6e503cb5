"""The API over HTTP: what became of an event, what stands for a recipient, who has changed.

``GET /v1/events/{event_id}`` is for API keys of the scope ``publish``. The ledger finds what
happened by key, not by event: an index of events would cost every event of every source, for the
few that are asked for. So a client sends the token that it got with the event's id, which names
where in Kafka the event is, and the record there says of which key it is. ``POST
/v1/consents/lookup`` (scope ``ask``) and ``POST /v1/recipients/change`` (``publish``) have the
recipient in their body, and are looks at a person: the history has them, with the name of the key.
``POST /v1/consents/confirmation`` (``publish``) reports that a consent was confirmed to the person:
an act, which shows nothing. ``POST /v1/via`` (``publish``) has İYS ask a person for consent (ViA),
``POST /v1/via/{request}/code`` gives it the code that they give back, and ``GET
/v1/via/{request}`` says how far that is; sink workers call İYS (:mod:`izin.ledger.via`).

A key sees its own customers, brands and channels. What is outside of it is answered exactly as what
does not exist: of a recipient only keys within it are looked for, and an event of another is not
known.

Where the ledger does not answer, nothing is: who publishes opt-outs does so at the intake, which
needs no ledger.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from izin.api import answers
from izin.api.bodies import (
    CLOCKS,
    MAX_BODY,
    AskedRecipient,
    position_in,
    read_change,
    read_code,
    read_confirmation,
    read_lookup,
    read_via,
)
from izin.api.change import changed
from izin.consent import ConsentKey, OurError, SourceError, UnreadableKeyError, clean
from izin.feeds.older_records import OlderRecords
from izin.feeds.protocol import FeedRefusal
from izin.iys.wire_format.via import ViaStart
from izin.kafka.bounded_reader import OffsetGoneError
from izin.kafka.tables.api_keys import ApiKeyDirectory, authorised, outside
from izin.kafka.tables.brand_directory import BrandDirectory, customer_of
from izin.ledger import reads, via
from izin.ledger.confirmations import CONFIRMED_AT, record_confirmation
from izin.ledger.db import Ledger
from izin.ledger.history import looks, people_keys
from izin.ledger.history.append import append
from izin.ledger.record import ConsentRow
from izin.ledger.via import ConsentRequest, ViaState
from izin.producers.publishing.publisher import KafkaPublisher
from izin.runtime.errors import BrokerError
from izin.runtime.http_server.json_body import refused
from izin.runtime.http_server.problems import ProblemText, RequestRefusedError
from izin.runtime.http_server.shedding import read_body, share_of_key
from izin.runtime.logs import get_logger
from izin.schemas.api_keys import ApiKey, Scope
from izin.schemas.consistency_token import LogPosition
from izin.schemas.erasure import SuppressionKeys

RETRY_AFTER_SECONDS, _DAY = 5, 86_400
_DECIDED_WITHIN = 2
"""Seconds in which a decision is usually in the ledger."""
_CALLS = timedelta(seconds=8)
"""How long a client waits for İYS; then it looks again."""
_log = get_logger(__name__)


class ApiRefusal(ProblemText, Enum):
    """Why the API does not answer with what was asked for."""

    UNKNOWN = ProblemText(
        404,
        "No such event",
        "there is no event of this id at this token, Kafka has it no longer, or it is outside this "
        "API key; send both as the intake returned them, or look up the recipient",
    )
    UNDECIDED = ProblemText(
        404,
        "Not decided yet",
        "Kafka has the event, and the ledger no decision on it yet; send this again",
        _DECIDED_WITHIN,
    )
    NO_CONSENT = ProblemText(
        404,
        "No such consent",
        "the ledger has no consent (ONAY) of this event and recipient within this API key; where "
        "it was just given, send this again",
        _DECIDED_WITHIN,
    )
    OUTSIDE = ProblemText(
        403,
        "Nothing within the key",
        "the brand is not registered, or nothing of this request is within this API key; use a key "
        "for it",
    )
    LEDGER = ProblemText(
        503,
        "Ledger does not answer",
        "nothing can be said about what is stored now; send this again",
        RETRY_AFTER_SECONDS,
    )
    NOT_ACKNOWLEDGED = ProblemText(
        503,
        "Try again",
        "Kafka does not acknowledge every opt-out; send this again, what was published counts once",
        RETRY_AFTER_SECONDS,
    )
    OPTED_OUT = ProblemText(
        409,
        "Person opted out",
        "they have refused (RET) one of these types; only they can change that, by themselves: "
        "do not ask them",
    )
    ASKED_ALREADY = ProblemText(
        409,
        "Asked already",
        "this person is being asked for other types, or in another way; wait until that is over",
    )
    ASKED_TOO_OFTEN = ProblemText(
        429,
        "Asked too often",
        "this person was asked as often in 24 hours as IZIN_VIA_A_DAY allows; ask another day",
        _DAY,
    )
    NO_REQUEST = ProblemText(
        404,
        "No such request",
        "there is no request of this name within this API key; send it as it was returned",
    )
    NO_CODE_AWAITED = ProblemText(
        409,
        "No code awaited",
        "this request is none that a code is awaited for; look at its state",
    )
    KAFKA = FeedRefusal.UNREACHABLE.value
    BUSY = FeedRefusal.BUSY.value


class ApiMetrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "izin_api_requests",
            "Requests to the API, by path and HTTP status.",
            ["path", "status"],
            registry=self.registry,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiEndpoint:
    """Serves the requests of the API."""

    ledger: Ledger
    records: OlderRecords
    """Reads the topics of events."""
    publisher: KafkaPublisher
    brands: BrandDirectory
    keys: ApiKeyDirectory
    digests: SuppressionKeys
    """Under which people are digested who were looked at."""
    via_a_day: int
    """How often one person may be asked."""
    partitions: Mapping[str, int]
    """How many each topic of events has."""
    clock: Callable[[], datetime]
    metrics: ApiMetrics = field(default_factory=ApiMetrics)

    async def event(self, request: Request) -> Response:
        """Answer what became of an event."""
        return await self._answer(request, EVENT_PATH, Scope.PUBLISH, self._event)

    async def lookup(self, request: Request) -> Response:
        """Answer what stands for a recipient."""
        return await self._answer(request, LOOKUP_PATH, Scope.ASK, self._lookup)

    async def confirmation(self, request: Request) -> Response:
        """Record that a consent was confirmed to the person."""
        return await self._answer(request, CONFIRMATION_PATH, Scope.PUBLISH, self._confirmation)

    async def change(self, request: Request) -> Response:
        """Close the consents of a recipient that is the person's no longer."""
        return await self._answer(request, CHANGE_PATH, Scope.PUBLISH, self._change)

    async def ask(self, request: Request) -> Response:
        """Have İYS ask a person for consent."""
        return await self._answer(request, VIA_PATH, Scope.PUBLISH, self._ask)

    async def code(self, request: Request) -> Response:
        """Have İYS given the code that a person gave back."""
        return await self._answer(request, VIA_CODE_PATH, Scope.PUBLISH, self._code)

    async def asked(self, request: Request) -> Response:
        """Answer how far a request for consent is."""
        return await self._answer(request, VIA_REQUEST_PATH, Scope.PUBLISH, self._asked)

    async def _answer(
        self,
        request: Request,
        path: str,
        scope: Scope,
        work: Callable[[Request, ApiKey], Awaitable[Response]],
    ) -> Response:
        try:
            key = authorised(request, self.keys, scope, now=self.clock())
            with share_of_key(request, key.name):
                response = await work(request, key)
        except RequestRefusedError as error:
            response = error.response()
        except OurError as error:
            _log.error("request not answered", path=path, error=str(error))
            response = ApiRefusal.LEDGER.response()
        self.metrics.requests.labels(path, str(response.status_code)).inc()
        return response

    async def _event(self, request: Request, key: ApiKey) -> Response:
        event_id = request.path_params["event_id"]
        at = position_in(request.query_params, self.partitions)
        consent_key = await self._key_at(event_id, at, name=key.name)
        customer_id = customer_of(self.brands.customers, consent_key.brand_code)
        if outside(
            key,
            customer_id=customer_id,
            brand_code=consent_key.brand_code,
            channel=consent_key.channel,
        ):
            raise ApiRefusal.UNKNOWN.error()
        keys = [str(consent_key)]
        rows, facts = await reads.rows(self.ledger, keys), await reads.facts(self.ledger, keys)
        content = answers.of_event(event_id, customer_id, next(iter(rows), None), facts)
        if content is None:
            raise ApiRefusal.UNDECIDED.error()
        return answers.answer(content)

    async def _key_at(self, event_id: str, at: LogPosition, *, name: str) -> ConsentKey:
        """Return of which key the event is.

        Raises:
            RequestRefusedError: there is no such event, its key cannot be read, or Kafka does not
                answer.
        """
        starts = {at.partition: at.offset}
        try:
            stretches = await self.records.read(at.topic, starts, 1, name=name)
        except OffsetGoneError:
            raise ApiRefusal.UNKNOWN.error() from None
        except BrokerError as error:
            _log.warning("event not readable", error=str(error))
            raise ApiRefusal.KAFKA.error() from None
        for record in stretches[at.partition].records[:1]:
            if record.offset == at.offset and record.record_id == event_id:
                try:
                    return ConsentKey.parse(clean(record.key.decode("utf-8", "replace")))
                except UnreadableKeyError:
                    break
        raise ApiRefusal.UNKNOWN.error()

    async def _lookup(self, request: Request, key: ApiKey) -> Response:
        body = await read_body(request, largest=MAX_BODY)
        asked = read_lookup(request.headers.get("content-type", ""), body)
        rows = await self._rows("api lookup", asked, key)
        found = [answers.of_consent(self._customer(row), row) for row in rows]
        return answers.answer({"consents": found})

    async def _confirmation(self, request: Request, key: ApiKey) -> Response:
        body, now = await read_body(request, largest=MAX_BODY), self.clock()
        given = read_confirmation(request.headers.get("content-type", ""), body, now)
        keys = list(map(str, given.asked.keys(key, self.brands.customers)))
        if not keys:
            raise ApiRefusal.OUTSIDE.error()
        facts = await reads.facts(self.ledger, keys)
        consent = answers.consent_of(facts, given.event_id)
        if consent is None:
            raise ApiRefusal.NO_CONSENT.error()
        if given.confirmed_at < consent.occurred_at - CLOCKS:
            raise refused(
                "confirmed_at", "is before the consent was given; report when it went out"
            )
        async with self.ledger.transaction() as connection:
            await record_confirmation(connection, consent, given.confirmed_at, by=key.name, now=now)
        known = answers.confirmed_at(facts, given.event_id) or given.confirmed_at
        return answers.answer({"event_id": given.event_id, CONFIRMED_AT: known})

    async def _change(self, request: Request, key: ApiKey) -> Response:
        body = await read_body(request, largest=MAX_BODY)
        change = read_change(request.headers.get("content-type", ""), body)
        rows = await self._rows("api change", change.old, key)
        found = changed(rows, change, self.brands, by=key.name, now=self.clock())
        opt_outs = {
            index: (one.opt_out.event, one.opt_out.key)
            for index, one in enumerate(found)
            if one.opt_out is not None
        }
        try:
            published = await self.publisher.publish_all(opt_outs)
        except BrokerError as error:
            _log.error("opt-outs not acknowledged", error=str(error))
            raise ApiRefusal.NOT_ACKNOWLEDGED.error() from None
        content = []
        for index, (row, result, _) in enumerate(found):
            written = published.get(index)
            if isinstance(written, SourceError):
                raise written
            content.append(answers.of_change(self._customer(row), row, result, written))
        return answers.answer({"consents": content}, 202)

    async def _ask(self, request: Request, key: ApiKey) -> Response:
        body = await read_body(request, largest=MAX_BODY)
        start, occasion = read_via(request.headers.get("content-type", ""), body)
        brand = self.brands.find(start.brand_code)
        if brand is None or brand.is_stopped or not self._sees(key, start):
            raise ApiRefusal.OUTSIDE.error()
        found = await via.ask(
            self.ledger,
            start,
            customer_id=brand.customer_id,
            occasion=occasion,
            by=key.name,
            most=self.via_a_day,
            now=self.clock(),
        )
        if isinstance(found, via.ViaRefusal):
            raise ApiRefusal[found.name].error()
        return await self._after_calls(found, 202)

    async def _code(self, request: Request, key: ApiKey) -> Response:
        found = await self._request(request, key)
        body = await read_body(request, largest=MAX_BODY)
        code = read_code(request.headers.get("content-type", ""), body)
        if await via.give_code(self.ledger, found.id, code, now=self.clock()):
            found = await self._request(request, key)
        elif found.state not in {*via.MOVING, ViaState.CONSENTED}:
            raise ApiRefusal.NO_CODE_AWAITED.error()
        return await self._after_calls(found)

    async def _asked(self, request: Request, key: ApiKey) -> Response:
        return answers.answer(answers.of_request(await self._request(request, key)))

    async def _request(self, request: Request, key: ApiKey) -> ConsentRequest:
        """Return the request that is named; raises RequestRefusedError where there is none."""
        with suppress(ValueError):
            found = await via.find(self.ledger, UUID(request.path_params["request"]))
            if found is not None and self._sees(key, found.start):
                return found
        raise ApiRefusal.NO_REQUEST.error()

    def _sees(self, key: ApiKey, start: ViaStart) -> bool:
        """Whether all that somebody is asked for is within ``key``."""
        code = start.brand_code
        customer_id = customer_of(self.brands.customers, code)
        return not any(
            outside(key, customer_id=customer_id, brand_code=code, channel=channel)
            for channel in start.channels
        )

    async def _after_calls(self, found: ConsentRequest, status: int = 200) -> Response:
        """Answer how far a request is once İYS was called, or as it is after a while."""
        found = await via.after_calls(self.ledger, found, within=_CALLS)
        return answers.answer(answers.of_request(found), status)

    def _customer(self, row: ConsentRow) -> str:
        return customer_of(self.brands.customers, row.brand_code)

    async def _rows(self, command: str, asked: AskedRecipient, key: ApiKey) -> Sequence[ConsentRow]:
        """Return the rows of what is ``asked`` for within ``key``, a look at a person.

        Raises:
            RequestRefusedError: nothing of it is within the key.
            OurError: the ledger does not answer.
        """
        keys = list(map(str, asked.keys(key, self.brands.customers)))
        if not keys:
            raise ApiRefusal.OUTSIDE.error()
        await self._record_look(command, asked.recipient, key)
        return await reads.rows(self.ledger, keys)

    async def _record_look(self, command: str, recipient: str, key: ApiKey) -> None:
        """Write a look to the history; where the ledger takes no writes, the log says so."""
        now = self.clock()
        entries = looks(
            people_keys([recipient], self.digests),
            command,
            by=key.name,
            now=now,
            customer_id=key.customer_id,
        )
        try:
            async with self.ledger.transaction() as connection:
                await append(connection, entries, now=now)
        except OurError as error:
            _log.error("look not recorded", command=command, by=key.name, error=str(error))


EVENT_PATH, LOOKUP_PATH = "/v1/events/{event_id}", "/v1/consents/lookup"
CONFIRMATION_PATH, CHANGE_PATH = "/v1/consents/confirmation", "/v1/recipients/change"
VIA_PATH, VIA_REQUEST_PATH = "/v1/via", "/v1/via/{request}"
VIA_CODE_PATH = f"{VIA_REQUEST_PATH}/code"


def routes_of(endpoint: ApiEndpoint) -> list[Route]:
    """Return the routes of ``endpoint``."""
    return [
        Route(EVENT_PATH, endpoint.event, methods=["GET"]),
        Route(LOOKUP_PATH, endpoint.lookup, methods=["POST"]),
        Route(CONFIRMATION_PATH, endpoint.confirmation, methods=["POST"]),
        Route(CHANGE_PATH, endpoint.change, methods=["POST"]),
        Route(VIA_PATH, endpoint.ask, methods=["POST"]),
        Route(VIA_REQUEST_PATH, endpoint.asked, methods=["GET"]),
        Route(VIA_CODE_PATH, endpoint.code, methods=["POST"]),
    ]
