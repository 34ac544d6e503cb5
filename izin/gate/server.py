"""The gate over HTTP: the endpoint at which senders ask, for API keys of the scope ``ask``, and the
process that serves it.

``POST /v1/may-send`` takes one question about 1 to 100,000 recipients, and answers with a verdict
for each. There is no GET: recipients do not belong in access logs. A receipt that is wanted is
acknowledged by Kafka before there is an answer. The tables of problems and fields are read by the
docs, too.

The process listens at once, and answers with 503 until its state was read, which takes a minute for
millions of recipients: health says what it waits for. On SIGTERM it answers who has asked, and
ends. It stores nothing: its state is in memory, and its receipts are in Kafka.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache, partial
from time import perf_counter

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from izin.gate.metrics import GateMetrics, iys_warnings, suspensions
from izin.gate.question import AskedQuestion, read_question
from izin.gate.receipts import OPTIONS, ReceiptRecord, ReceiptWriter, receipt_records
from izin.gate.state import ForeignTokenError, GateState
from izin.gate.verdicts import Judge, judge_all
from izin.kafka.broker_watch import BrokerWatch
from izin.kafka.clients import producer
from izin.kafka.tables.api_keys import ApiKeyDirectory, ApiKeyReader, authorised
from izin.runtime.errors import BrokerError
from izin.runtime.http_server.problems import (
    JSON_TYPE,
    HttpApi,
    ProblemText,
    RequestRefusedError,
)
from izin.runtime.http_server.server import HttpListeners, serve_until_stopped
from izin.runtime.http_server.shedding import OF_KEY, Shares, read_body, share_of_key
from izin.runtime.logs import get_logger
from izin.runtime.process import tune_gc_for_batches
from izin.runtime.settings import GateSettings, KafkaSettings
from izin.schemas.api_keys import ApiKey, Scope as KeyScope
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition, token_of
from izin.schemas.may_send_api import PATH, ReceiptKind
from izin.schemas.uuids import CHANCE_BYTES, uuid7

RETRY_AFTER_SECONDS = 1
ANSWER_FIELDS: Mapping[str, str] = {
    "as_of": "The token of the state that was asked: everything up to it is in the answer.",
    "receipt": "The id of the receipt, or null where none was wanted.",
    "verdicts": "One for each recipient, in the order of the request.",
}
VERDICT_FIELDS: Mapping[str, str] = {
    "recipient": "As it was given.",
    "may_send": "Whether the message may be sent. Anything but true is a no.",
    "reason": "Why.",
    "violation": "Only where the recipient is no valid address: what is wrong (docs/codes.md).",
}
MAX_BODY = 16 * 1024 * 1024
"""Of a list. A hundred thousand phone numbers take 1.6 MB."""
REACHED_WITHIN = 0.25
"""Seconds for which a question waits for what its token names."""
_SMALL_BODY = 64 * 1024
"""A body up to this size counts as no list."""
_LISTS = 8
"""So many lists may be in memory; a hundred thousand phone numbers take about 20 MB."""
_SMALL = nullcontext(_SMALL_BODY)
_LENGTH = re.compile(r"[0-9]{1,8}")
_HEADERS = [
    (b"content-type", JSON_TYPE.encode()),
    # Recipients are personal data: no cache between us and the client keeps them.
    (b"cache-control", b"no-store"),
]
_DRAIN = 15
"""Seconds for what was asked: a receipt takes up to ten."""
_log = get_logger(__name__)
_now = partial(datetime.now, UTC)


class GateRefusal(ProblemText, Enum):
    """Why the gate does not answer with verdicts."""

    TOKEN = ProblemText(
        422,
        "Token of another installation",
        "/at_least names no topics of this installation; send it to the one whose intake or gate "
        "gave it",
    )
    STARTING = ProblemText(
        503,
        "Starting",
        "the gate has not read everything yet; send this again, or ask another",
        RETRY_AFTER_SECONDS,
    )
    BUSY = ProblemText(
        503, "Busy", "too many lists are judged at once; send this again", RETRY_AFTER_SECONDS
    )
    NO_RECEIPT = ProblemText(
        503,
        "Not kept",
        "Kafka does not acknowledge the receipt, so nothing is answered; send this again",
        RETRY_AFTER_SECONDS,
    )


def answer(as_of: str, receipt_id: str | None, verdicts: Sequence[bytes]) -> list[bytes]:
    """Return the JSON of an answer in parts; ``verdicts`` are parts of it."""
    kept = b"null" if receipt_id is None else b'"%b"' % receipt_id.encode()
    start = b'{"as_of":"%b","receipt":%b,"verdicts":[' % (as_of.encode(), kept)
    return [start, *verdicts, b"]}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateEndpoint:
    """The ASGI application of the path at which senders ask."""

    state: GateState
    is_loaded: Callable[[], bool]
    """Whether the state has been read to its end once."""
    keys: ApiKeyDirectory
    receipts: ReceiptWriter
    codec: Codec
    settings: GateSettings
    metrics: GateMetrics
    clock: Callable[[], datetime]
    chance: Callable[[int], bytes]
    """Returns so many random bytes."""
    lists: Shares = field(default_factory=lambda: Shares(_LISTS))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request with verdicts, or a problem."""
        began = perf_counter()
        request = Request(scope, receive)
        try:
            key = self._authorise(request)
            with share_of_key(request, key.name), self._room(request, key) as largest:
                body = await read_body(request, largest=largest)
                question = read_question(request.headers.get("content-type", ""), body)
                del body
                parts = await self._answer(request, question, key)
                # In the room still: what a slow client has not taken is in memory.
                await _send(parts, send)
        except RequestRefusedError as error:
            self.metrics.refused(error.text.status)
            await error.response()(scope, receive, send)
        else:
            self.metrics.answered(perf_counter() - began)

    def _authorise(self, request: Request) -> ApiKey:
        return authorised(request, self.keys, KeyScope.ASK, now=self.clock())

    def _room(self, request: Request, key: ApiKey) -> AbstractContextManager[int]:
        """Return a context that says how many bytes the body may have; a list counts as one within
        it.
        """
        if _is_small(request.headers.get("content-length", "")):
            return _SMALL
        return self._room_of_list(key)

    @contextmanager
    def _room_of_list(self, key: ApiKey) -> Iterator[int]:
        """Yield how many bytes a list may have.

        Raises:
            RequestRefusedError: there are as many lists as there may be, in all or of the key.
        """
        if self.lists.free <= 0:
            raise GateRefusal.BUSY.error()
        if self.lists.is_spent(key.name):
            raise OF_KEY.error()
        with self.lists.taking(key.name):
            yield MAX_BODY

    async def _answer(self, request: Request, question: AskedQuestion, key: ApiKey) -> list[bytes]:
        """Return the answer to ``question`` in parts; raises RequestRefusedError."""
        if not self.is_loaded():
            raise GateRefusal.STARTING.error()
        is_reached = await self._is_reached(question)
        now = self.clock()
        judge = Judge(self.state, question, key, self.settings, now, is_reached=is_reached)
        # Before the verdicts: they may know more than the token says, and never less.
        is_list = len(question.recipients) > 1
        as_of = (
            token_of(self.state.positions())
            if is_list
            else _token(*self.state.positions(judge.partitions()))
        )
        answered = await judge_all(judge, question)
        receipt_id = None
        if question.receipt is not None:
            receipt_id = uuid7(now, self.chance(CHANCE_BYTES))
            records = receipt_records(
                question,
                answered,
                key,
                self.codec,
                receipt_id=receipt_id,
                customer_id=judge.customer_id,
                names_recipients=judge.is_known,
                asked_at=now,
                as_of=as_of,
            )
            await self._keep(question.receipt, records)
        if is_list or question.receipt is not None or question.at_least is not None:
            # It took its time: the key may have been revoked meanwhile.
            self._authorise(request)
        self.metrics.judged(answered.reasons)
        return answer(as_of, receipt_id, answered.json)

    async def _is_reached(self, question: AskedQuestion) -> bool:
        """Return whether the state reflects what ``question`` demands, after a short wait.

        An exempt message does not depend on the state.
        """
        if question.at_least is None or question.is_exempt:
            return True
        try:
            return await self.state.reached(question.at_least, REACHED_WITHIN)
        except ForeignTokenError:
            raise GateRefusal.TOKEN.error() from None

    async def _keep(self, kind: ReceiptKind, records: Iterable[ReceiptRecord]) -> None:
        try:
            await self.receipts.write(records)
        except BrokerError as error:
            _log.error("receipt not acknowledged", error=str(error))
            raise GateRefusal.NO_RECEIPT.error() from error
        self.metrics.kept(kind)


@lru_cache(1024)
def _token(*positions: LogPosition) -> str:
    """Return the token of a few ``positions``, which stay the same while nothing is written."""
    return token_of(positions)


def _is_small(content_length: str) -> bool:
    """Whether a body of this length, which is empty where it is not known, is surely small."""
    return bool(_LENGTH.fullmatch(content_length)) and int(content_length) <= _SMALL_BODY


async def _send(parts: Sequence[bytes], send: Send) -> None:
    """Send ``parts`` as the body of a response; between some of them, others have their turn."""
    length = sum(map(len, parts))
    headers = [*_HEADERS, (b"content-length", b"%d" % length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if length <= _SMALL_BODY:
        await send({"type": "http.response.body", "body": b"".join(parts)})
        return
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b""})


def routes_of(gate: GateEndpoint) -> list[Route]:
    """Return the routes of ``gate``."""
    return [Route(PATH, gate, methods=["POST"])]


def serve(kafka: KafkaSettings, settings: GateSettings, codec: Codec) -> None:
    """Serve the gate until SIGTERM or SIGINT.

    Raises:
        PortError: an address cannot be used.
        BrokerError: Kafka cannot be reached at the start, or lacks a topic.
    """
    how = partial(run, kafka, settings, codec, when_read=tune_gc_for_batches)
    serve_until_stopped(settings, how, server="the gate", variables="IZIN_GATE")


async def run(  # noqa: PLR0913  # what is served, where, and until when
    kafka: KafkaSettings,
    settings: GateSettings,
    codec: Codec,
    listeners: HttpListeners,
    stopping: asyncio.Event,
    *,
    when_read: Callable[[], None] | None = None,
) -> None:
    """Serve the gate on ``listeners`` until ``stopping`` is set; raises BrokerError.

    ``when_read`` is called once the state is read.
    """
    state = GateState(
        kafka, codec, stale_after=settings.stale_after, suppressions=settings.suppressions
    )
    writer = ReceiptWriter(kafka.topics.gate_receipts, lambda: producer(kafka, **OPTIONS))
    with ApiKeyReader(kafka, codec).follow() as keys, writer.open() as receipts:
        async with _following(state, stopping, when_read) as is_read:
            gate = GateEndpoint(
                state=state,
                is_loaded=is_read,
                keys=keys,
                receipts=receipts,
                codec=codec,
                settings=settings,
                metrics=GateMetrics(state, settings, _now),
                clock=_now,
                chance=secrets.token_bytes,
            )
            broker = BrokerWatch(kafka)
            await listeners.serve_api(
                _api(gate, broker), stopping, drain=_DRAIN, beside=(broker.run,)
            )


@asynccontextmanager
async def _following(
    state: GateState, stopping: asyncio.Event, when_read: Callable[[], None] | None
) -> AsyncIterator[Callable[[], bool]]:
    """Read ``state`` until the context ends; yield whether all of it was read once.

    Where it cannot be read, ``stopping`` is set.

    Raises:
        BrokerError: it cannot be read.
    """
    following, read = state.following(), asyncio.Event()
    loading = asyncio.create_task(asyncio.to_thread(following.__enter__), name="gate state")

    def loaded(task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is not None:
            stopping.set()
        if stopping.is_set():
            return
        if when_read is not None:
            when_read()
        read.set()
        _log.info("gate state read", known=state.counts().keys)

    loading.add_done_callback(loaded)
    try:
        yield read.is_set
    finally:
        state.stop()
        await loading
        await asyncio.to_thread(following.__exit__, None, None, None)


def _api(gate: GateEndpoint, broker: BrokerWatch) -> HttpApi:
    def faults() -> Mapping[str, str]:
        is_read = {} if gate.is_loaded() else {"gate state": "being read"}
        return {**broker.faults(), **gate.keys.faults(), **gate.state.faults(), **is_read}

    return HttpApi(
        routes=routes_of(gate),
        registry=gate.metrics.registry,
        faults=faults,
        warnings=lambda: {
            **suspensions(gate.state),
            **iys_warnings(gate.state, gate.settings, _now()),
        },
    )
