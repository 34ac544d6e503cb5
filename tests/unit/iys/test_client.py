import asyncio
import inspect
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from pydantic import SecretStr

from izin.consent import Channel, RecipientType, Source, Status
from izin.iys.client import DayReports, IysClient
from izin.iys.errors import (
    Actor,
    BusyError,
    CallError,
    MisconfiguredError,
    OutcomeUnknownError,
    RefusedError,
    ThrottledError,
    TokenLimitError,
    UnauthenticatedError,
    UnreadableError,
    Verdict,
    WithheldError,
)
from izin.iys.exchange import FOREIGN_ERRORS, Call, Exchange, Method, translate
from izin.iys.rate_limit import CallClass
from izin.iys.wire_format import BrandPath, ConsentItem, PushConnection, Stream, read_refusals
from izin.iys.wire_format.json_reader import _ERRORS
from izin.runtime.settings import IysSettings
from tests.support.iys import RecordingPacer

SETTINGS = IysSettings(
    base_url="http://iys.example.com",
    username="ada",
    password=SecretStr("not-a-password"),
    timeout=timedelta(seconds=5),
)
BRAND = BrandPath(iys_code=100001, brand_code=100001)
TRANSACTION = "ab" * 32
RECEIPT = {"transactionId": TRANSACTION, "creationDate": "2026-03-02 12:00:07"}
Answering = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]


@asynccontextmanager
async def a_client(
    answer: Answering,
    *,
    pacer: RecordingPacer | None = None,
    settings: IysSettings = SETTINGS,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[IysClient]:
    transport = httpx.MockTransport(answer)  # type: ignore[arg-type]
    async with IysClient(
        settings,
        auth=httpx.Auth(),
        pacer=pacer or RecordingPacer(),
        transport=transport,
        clock=clock,
    ) as client:
        yield client


def saying(status: int, body: object = None) -> Answering:
    if isinstance(body, bytes):
        return lambda _request: httpx.Response(status, content=body)
    return lambda _request: httpx.Response(status, json=body)


def refusing(status: int, *codes: str) -> Answering:
    return saying(status, {"errors": [{"code": code, "message": "…"} for code in codes]})


class Recorded:
    """An İYS that gives one answer to every request, and keeps the requests."""

    def __init__(self, status: int, body: object = None) -> None:
        self._answer = saying(status, body)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response | Awaitable[httpx.Response]:
        self.requests.append(request)
        return self._answer(request)

    @property
    def bodies(self) -> list[Any]:
        """What was sent, as JSON."""
        return [json.loads(one.content) for one in self.requests]


def raising(kind: type[Exception]) -> Answering:
    def answer(request: httpx.Request) -> httpx.Response:
        error = an_error(kind)
        if isinstance(error, httpx.RequestError):
            error.request = request
        raise error

    return answer


async def error_of(
    answer: Answering,
    name: str,
    *,
    settings: IysSettings = SETTINGS,
    pacer: RecordingPacer | None = None,
) -> CallError:
    """Return the error of a method of the client."""
    async with a_client(answer, settings=settings, pacer=pacer) as client:
        with pytest.raises(CallError) as caught:
            await METHODS[name](client)
    return caught.value


YES, NO = AsyncMock(return_value=True), AsyncMock(return_value=False)


def an_item(status: Status = Status.ONAY) -> ConsentItem:
    return ConsentItem(
        recipient="+905550000001",
        type=Channel.MESAJ,
        status=status,
        source=Source.HS_WEB,
        consent_date=datetime(2026, 3, 2, 9, 0, 0, tzinfo=UTC),
    )


DAY = date(2026, 3, 2)
CONNECTION = PushConnection(
    url="https://push.example.com/iys",
    type=Channel.EPOSTA,
    username="ada",
    password=SecretStr("not-a-password"),
)
METHODS: dict[str, Callable[[IysClient], Awaitable[Any]]] = {
    "add": lambda client: client.add(BRAND, an_item()),
    "add_batch": lambda client: client.add_batch(BRAND, [an_item()]),
    "batch_result": lambda client: client.batch_result(BRAND, "r-1"),
    "status": lambda client: client.status(
        BRAND, Channel.MESAJ, RecipientType.BIREYSEL, "+905550000001"
    ),
    "statuses": lambda client: client.statuses(
        BRAND, Channel.MESAJ, RecipientType.BIREYSEL, ["+905550000001"]
    ),
    "changes": lambda client: client.changes(BRAND, Stream.IYS),
    "register_push": lambda client: client.register_push(BRAND, [CONNECTION]),
    "push_registrations": lambda client: client.push_registrations(BRAND),
    "unregister_push": lambda client: client.unregister_push(BRAND, CONNECTION),
    "brands": lambda client: client.brands(100001),
    "subscription": lambda client: client.subscription(100001),
    "counts": lambda client: client.reports.counts(BRAND, DAY, RecipientType.BIREYSEL),
    "agreement": lambda client: client.reports.agreement(BRAND, DAY),
    "agree": lambda client: client.reports.agree(BRAND, DAY),
    "timestamp": lambda client: client.reports.timestamp(BRAND, DAY),
    "download": lambda client: client.reports.download(BRAND, DAY, bytearray().extend),
}


def test_every_method_of_the_client_is_covered():
    """A method that is not in the list would be covered by no rule."""
    public = {
        name
        for calls in (IysClient, DayReports)
        for name, _ in inspect.getmembers(calls, inspect.iscoroutinefunction)
        if not name.startswith("_") and (calls is DayReports or not hasattr(Exchange, name))
    }

    assert public == set(METHODS)


async def test_add_uses_the_second_version():
    """Only V2 lets the same body be sent again, and knows a resend by its bytes."""
    iys = Recorded(200, RECEIPT)
    async with a_client(iys) as client:
        receipts = [await client.add(BRAND, an_item()) for _ in range(2)]
    first, second = iys.requests
    assert first.url.path == "/v2/sps/100001/brands/100001/consents"
    assert first.headers["Content-Type"] == "application/json"
    assert iys.bodies[0] == an_item().to_body()
    assert first.content == second.content
    assert receipts[0].transaction_id == TRANSACTION


async def test_every_call_waits_for_its_slot():
    """An opt-out has the first class unless the caller sets another."""
    pacer = RecordingPacer()
    async with a_client(saying(200, RECEIPT), pacer=pacer) as client:
        await client.add(BRAND, an_item(Status.RET))
        await client.add(BRAND, an_item())
        await client.add(BRAND, an_item(), call_class=CallClass.BULK)

    assert pacer.classes == [CallClass.RET, CallClass.DUE, CallClass.BULK]
    assert pacer.numbers("until") == pacer.numbers("arrived") == [1, 2, 3]


async def test_unanswered_call_counts_as_arriving_late():
    """Only an answer, or not being sent, shows that a call arrives no more."""
    pacer = RecordingPacer()
    async with a_client(raising(httpx.ReadError), pacer=pacer) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.add(BRAND, an_item())
        assert pacer.numbers("arrived") == []
        with pytest.raises(WithheldError):
            await client.add(BRAND, an_item(), permit=NO)
    assert pacer.numbers("arrived") == [2]


async def test_call_late_for_its_slot_takes_the_next():
    """Something took too long before sending: the late use would collide with others."""
    pacer, permits = RecordingPacer(), []
    pacer.over = {1, 2}

    async def permit() -> bool:
        permits.append(len(pacer.classes))
        return True

    async with a_client(saying(200, RECEIPT), pacer=pacer) as client:
        await client.add(BRAND, an_item(), permit=permit)
    assert (pacer.numbers("until"), pacer.numbers("arrived"), permits) == ([3], [3], [3])


@pytest.mark.parametrize(
    ("status", "body"), [(404, None), (404, {}), (204, None), (200, None), (200, {})]
)
async def test_missing_record_is_none_in_any_form(status: int, body: object):
    """İYS does not document the response for "no record"."""
    async with a_client(saying(status, body)) as client:
        assert await METHODS["status"](client) is None


async def test_404_with_a_code_is_an_error():
    """No such provider does not mean no record."""
    assert isinstance(await error_of(refusing(404, "H001"), "status"), MisconfiguredError)


async def test_call_without_permit_is_withheld():
    """The permit is awaited just before the call is sent."""
    iys = Recorded(200, RECEIPT)
    async with a_client(iys) as client:
        with pytest.raises(WithheldError):
            await client.add(BRAND, an_item(), permit=NO)
        with pytest.raises(WithheldError):
            await client.add_batch(BRAND, [an_item()], permit=NO)
        assert iys.requests == []
        await client.add(BRAND, an_item(), permit=YES)
    assert len(iys.requests) == 1


async def test_changes_query_one_stream_after_a_cursor():
    """Both streams are queried by name, for the default is only one of them; 204 brings no new
    cursor, so the old one stays.
    """
    iys = Recorded(204)
    async with a_client(iys) as client:
        assert await client.changes(BRAND, Stream.HS, after="1_a b", limit=5) is None
        await client.changes(BRAND, Stream.IYS)
    assert [dict(one.url.params) for one in iys.requests] == [
        {"source": "HS", "limit": "5", "after": "1_a b"},
        {"source": "IYS", "limit": "1000"},
    ]


async def test_early_result_is_empty_and_not_failed():
    """İYS answers an empty list before it has begun."""
    async with a_client(saying(200, [])) as client:
        assert await client.batch_result(BRAND, "r-1") == ()


async def test_repeated_recipients_are_queried_once():
    """One repetition would refuse the whole call (H193)."""
    iys = Recorded(200, {"requestId": "r", "list": ["ada@example.com"]})
    asked = ["Ada@Example.com", "ada@example.com"]
    async with a_client(iys) as client:
        found = await client.statuses(BRAND, Channel.EPOSTA, RecipientType.BIREYSEL, asked)
    assert iys.bodies == [{"recipients": ["ada@example.com"]}]
    assert found == {"ada@example.com"}


ERRORS_OF_HTTPX = [
    value
    for name in httpx.__all__
    if inspect.isclass(value := getattr(httpx, name)) and issubclass(value, Exception)
]


@pytest.mark.parametrize("count", [0, 1001])
async def test_list_of_a_wrong_length_is_not_sent(count: int):
    """İYS would refuse it, and the refusal would count against the address."""
    pacer, phones = RecordingPacer(), [f"+90555{number:07}" for number in range(count)]
    async with a_client(saying(200, {}), pacer=pacer) as client:
        with pytest.raises(ValueError, match="1 to 1000"):
            await client.add_batch(BRAND, [an_item()] * count)
        with pytest.raises(ValueError, match="1 to 1000"):
            await client.statuses(BRAND, Channel.MESAJ, RecipientType.BIREYSEL, phones)
    assert pacer.classes == []


def an_error(kind: type[Exception]) -> Exception:
    if kind is httpx.HTTPStatusError:
        request = httpx.Request("GET", "http://iys.example.com")
        return httpx.HTTPStatusError("…", request=request, response=httpx.Response(500))
    if issubclass(kind, httpx.StreamError) and kind is not httpx.StreamError:
        return kind()
    return kind("…")


@pytest.mark.parametrize("kind", ERRORS_OF_HTTPX, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", METHODS)
async def test_every_httpx_error_is_translated(kind: type[Exception], name: str):
    """Whatever httpx raises becomes one of ours, at every method; a new branch of its tree would be
    seen here first.
    """
    assert issubclass(kind, FOREIGN_ERRORS)
    assert await error_of(raising(kind), name)


@pytest.mark.parametrize(
    ("kind", "writing", "asking"),
    [
        (httpx.ConnectError, BusyError, BusyError),
        (httpx.ConnectTimeout, BusyError, BusyError),
        (httpx.PoolTimeout, BusyError, BusyError),
        (httpx.ReadTimeout, OutcomeUnknownError, BusyError),
        (httpx.WriteTimeout, OutcomeUnknownError, BusyError),
        (httpx.ReadError, OutcomeUnknownError, BusyError),
        (httpx.WriteError, OutcomeUnknownError, BusyError),
        (httpx.RemoteProtocolError, OutcomeUnknownError, BusyError),
        (httpx.DecodingError, OutcomeUnknownError, BusyError),
        (httpx.InvalidURL, MisconfiguredError, MisconfiguredError),
        (httpx.UnsupportedProtocol, MisconfiguredError, MisconfiguredError),
    ],
)
def test_only_a_sent_writing_call_is_outcome_unknown(
    kind: type[Exception], writing: type[CallError], asking: type[CallError]
):
    """A query may be repeated; a write may not."""
    written = Call(method=Method.POST, path="/consents", name="add", writes=True)
    asked = Call(method=Method.GET, path="/brands", name="brands")

    assert type(translate(an_error(kind), written)) is writing
    assert type(translate(an_error(kind), asked)) is asking


def test_lost_token_request_is_busy_and_not_unknown():
    """The write itself was never sent."""
    call = Call(method=Method.POST, path="/consents", name="add", writes=True)
    token = httpx.Request("POST", "http://iys.example.com/oauth2/token")
    own = httpx.Request("POST", "http://iys.example.com/consents")

    assert isinstance(translate(httpx.ReadTimeout("…", request=token), call), BusyError)
    assert isinstance(translate(httpx.ReadTimeout("…", request=own), call), OutcomeUnknownError)


async def test_deadline_covers_the_whole_exchange():
    """A slow answer is as late as none."""

    async def answer(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    impatient = SETTINGS.model_copy(update={"timeout": timedelta(milliseconds=10)})
    for name, error in (("add", OutcomeUnknownError), ("brands", BusyError)):
        assert isinstance(await error_of(answer, name, settings=impatient), error)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (429, "H124", ThrottledError),
        (400, "H083", ThrottledError),
        (429, "H086", ThrottledError),
        (429, "H084", TokenLimitError),
        (400, "H123", BusyError),
        (500, "H015", BusyError),
        (503, "H192", BusyError),
        (401, "H351", UnauthenticatedError),
        (401, "H251", MisconfiguredError),
        (403, "H353", MisconfiguredError),
        (400, "H363", MisconfiguredError),
        (403, "H521", MisconfiguredError),
        (403, "H180", RefusedError),
        (400, "H467", RefusedError),
        (422, "H467", RefusedError),
        (400, "H178", RefusedError),
        (422, "H525", RefusedError),
        (422, "H121", RefusedError),
        (400, "H999", RefusedError),
        (200, "H121", RefusedError),
    ],
)
async def test_code_decides_and_not_the_status(status: int, code: str, error: type[CallError]):
    """Busy comes as 400 and too late as 400 or 422."""
    caught = await error_of(refusing(status, code), "add")
    assert type(caught) is error
    assert [refusal.code for refusal in caught.refusals] == [code]


@pytest.mark.parametrize(
    ("status", "writing", "asking"),
    [
        (500, OutcomeUnknownError, BusyError),
        (502, OutcomeUnknownError, BusyError),
        (504, OutcomeUnknownError, BusyError),
        (401, UnauthenticatedError, UnauthenticatedError),
        (403, MisconfiguredError, MisconfiguredError),
        (404, MisconfiguredError, MisconfiguredError),
        (400, MisconfiguredError, MisconfiguredError),
        (429, ThrottledError, ThrottledError),
        (302, OutcomeUnknownError, UnreadableError),
        (200, OutcomeUnknownError, UnreadableError),
    ],
)
async def test_status_decides_without_a_code(
    status: int, writing: type[CallError], asking: type[CallError]
):
    """A gateway answers without İYS's codes."""
    assert isinstance(await error_of(saying(status, b"<html>"), "add"), writing)
    assert isinstance(await error_of(saying(status, b"<html>"), "brands"), asking)


def test_every_verdict_has_its_error():
    """Only success and the unknown code are decided otherwise."""
    assert set(Verdict) - set(_ERRORS) == {Verdict.SUCCESS, Verdict.UNKNOWN}


@pytest.mark.parametrize(
    ("code", "retry_after"),
    [
        ("H124", timedelta(seconds=1)),
        ("H086", timedelta(hours=1)),
        ("H084", timedelta(hours=1)),
        ("H121", None),
    ],
)
async def test_error_says_when_to_retry(code: str, retry_after: timedelta | None):
    """The time is a field and not prose."""
    assert (await error_of(refusing(429, code), "brands")).retry_after == retry_after


@pytest.mark.parametrize(
    "error",
    [
        ThrottledError,
        TokenLimitError,
        BusyError,
        OutcomeUnknownError,
        RefusedError,
        MisconfiguredError,
        UnauthenticatedError,
        UnreadableError,
    ],
)
def test_error_says_who_acts(error: type[CallError]):
    """The type names who acts."""
    assert error.who_acts in Actor
    assert error("…").verdict is Verdict.UNKNOWN


async def test_result_of_each_call_is_counted():
    """By İYS's code where it has one, and whether it counts against the address."""
    pacer = RecordingPacer()
    lost = raising(httpx.ReadError)
    refused = refusing(400, "H174"), refusing(429, "H124"), saying(502), lost
    for answer in (saying(200, RECEIPT), *refused):
        async with a_client(answer, pacer=pacer) as client:
            with suppress(CallError):
                await client.add(BRAND, an_item())
    assert pacer.answers == [
        ("add", "200", False),
        ("add", "H174", True),
        ("add", "H124", False),
        ("add", "502", False),
        ("add", "no-answer", False),
    ]


async def test_throttle_reaches_the_pacer():
    """All calls of the address must slow down, not only the throttled one."""
    pacer = RecordingPacer()
    for code in ("H124", "H086"):
        assert isinstance(
            await error_of(refusing(429, code), "brands", pacer=pacer), ThrottledError
        )
    assert pacer.throttles == 1


async def test_refused_batch_names_its_items():
    """The items to remove are named by index, and the message names no recipient."""
    recipient = {"location": ["recipient"], "message": "…", "value": "+905550000001"}
    retailer = {"index": "2", "code:": "H180", "location": ["retailerAccess", 1]}
    body = {"errors": [{"index": 0, "code": "H121", **recipient}, retailer]}
    caught = await error_of(saying(403, body), "add_batch")
    assert isinstance(caught, RefusedError)
    assert [(one.index, one.value) for one in caught.refusals] == [
        (0, "+905550000001"),
        (2, None),
    ]
    assert "+905550000001" not in str(caught)
    assert "H121, H180" in str(caught)


@pytest.mark.parametrize(
    "body",
    [
        b'{"errors": [{"code": "H353"}]}',
        b'{"errors": [{"code:": "H353"}]}',
        b'{"errors": {"code": 353}}',
        b'{"code": "H353", "message": "m"}',
        b'{"error": {"code": "353"}}',
    ],
)
def test_refusal_is_read_in_any_shape(body: bytes):
    """Flat, nested, misspelt, in numbers: it is the same refusal."""
    assert [refusal.code for refusal in read_refusals(body)] == ["H353"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"errors": ["word"]}',
        b'{"error": "invalid_grant", "error_description": "d"}',
    ],
)
def test_other_body_has_no_refusals(body: bytes):
    """Reading a refusal never fails."""
    assert read_refusals(body) == ()
