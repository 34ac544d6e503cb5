"""The client against a real İYS twin over real HTTP."""

import json
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from pydantic import SecretStr

from izin.consent.model import Channel, RecipientType, Status
from izin.iys import (
    BrandPath,
    BusyError,
    CallError,
    InMemoryTokenStore,
    InProcessPacer,
    ItemStatus,
    IysClient,
    MisconfiguredError,
    OutcomeUnknownError,
    Pace,
    PushConnection,
    RefusedError,
    Slot,
    Stream,
    ThrottledError,
    TokenAuth,
    TokenLimitError,
    UnauthenticatedError,
    Verdict,
    parse_push,
)
from izin.runtime.settings import IysSettings
from tests.integration.iys.conftest import a_client
from tests.integration.iys.twin import BRAND, IYS_CODE, PHONE, Twin, an_item, now

OTHER = "+905550000002"
KEY = (Channel.MESAJ, RecipientType.BIREYSEL, PHONE)


async def test_a_consent_is_added_and_read_back(client: IysClient):
    """What İYS confirms it also states."""
    item = an_item()
    receipt = await client.add(BRAND, item)
    record = await client.status(BRAND, *KEY)

    assert record is not None
    assert record.status == Status.ONAY
    assert record.transaction_id == receipt.transaction_id
    assert record.creation_date == receipt.creation_date
    assert item.consent_date is not None
    assert record.consent_date == item.consent_date.replace(microsecond=0)


async def test_an_identical_resend_has_no_second_effect(twin: Twin, client: IysClient):
    """V2 gives the first answer again."""
    item = an_item()

    assert await client.add(BRAND, item) == await client.add(BRAND, item)
    assert len(twin.movements()) == 1


@pytest.mark.parametrize("how", ["empty", "not_found"])
async def test_no_record_is_none(twin: Twin, client: IysClient, how: str):
    """However İYS says it."""
    twin.order("settings", unknownStatus=how)

    assert await client.status(BRAND, *KEY) is None


@pytest.mark.parametrize(
    ("first", "then", "verdict"),
    [
        (None, an_item(Status.RET), Verdict.ALREADY),
        (an_item(), an_item(consent_date=now() - timedelta(hours=1)), Verdict.ALREADY),
        (None, an_item(consent_date=now() - timedelta(days=30)), Verdict.EXPIRED),
        (None, an_item(consent_date=now() + timedelta(days=1)), Verdict.DATA),
        (None, an_item(recipient="+9012"), Verdict.DATA),
        (None, an_item(retailer_access=(12345678,)), Verdict.RIGHTS),
    ],
    ids=["first is RET", "older", "too late", "ahead", "no number", "no such retailer"],
)
async def test_a_record_is_refused_for_what_it_says(
    client: IysClient, first: object, then: object, verdict: Verdict
):
    """The verdict tells what to do with the record."""
    if first is not None:
        await client.add(BRAND, first)  # type: ignore[arg-type]
    with pytest.raises(RefusedError) as told:
        await client.add(BRAND, then)  # type: ignore[arg-type]

    assert told.value.verdict is verdict


async def test_a_batch_goes_from_nothing_over_enqueue_to_its_results(twin: Twin, client: IysClient):
    """Taken in is not saved; each item has its own outcome."""
    items = [an_item(), an_item(recipient="Ada@example.com"), an_item(Status.RET, recipient=OTHER)]
    batch = await client.add_batch(BRAND, items)

    assert await client.batch_result(BRAND, batch.request_id) == ()
    twin.advance(200)
    waiting = await client.batch_result(BRAND, batch.request_id)
    assert {item.status for item in waiting} == {ItemStatus.ENQUEUE}
    assert {item.verdict for item in waiting} == {None}
    twin.advance(101)
    results = {r.sub_request_id: r for r in await client.batch_result(BRAND, batch.request_id)}
    first, second, third = (results[name] for name in batch.sub_request_ids)

    assert (first.verdict, second.verdict) == (Verdict.SUCCESS, Verdict.SUCCESS)
    assert (third.code, third.verdict) == ("H175", Verdict.ALREADY)


async def test_a_batch_sent_again_names_the_request_that_saved_it(twin: Twin, client: IysClient):
    """The success of a resend speaks of the old save."""
    item = an_item()
    batches = []
    for _ in range(2):
        batches.append(await client.add_batch(BRAND, [item]))
        twin.advance(301)
    first, again = [(await client.batch_result(BRAND, b.request_id))[0] for b in batches]

    assert first.original is None
    assert again.original is not None
    assert again.original.request_id == batches[0].request_id
    assert again.receipt == first.receipt


async def test_a_batch_is_refused_whole_and_names_its_items(twin: Twin, client: IysClient):
    """One wrong item refuses all; the index says which to take out."""
    with pytest.raises(RefusedError) as told:
        await client.add_batch(BRAND, [an_item(), an_item(recipient="+9012")])

    assert {refusal.index for refusal in told.value.refusals} == {1}
    assert "+9012" not in str(told.value)
    assert twin.movements() == []


async def test_only_consents_are_listed(client: IysClient):
    """RET and no record are alike absent; e-mails come back in lower case."""
    await client.add(BRAND, an_item(recipient="Ada@Example.com"))
    found = await client.statuses(
        BRAND,
        Channel.EPOSTA,
        RecipientType.BIREYSEL,
        ["ADA@example.com", "ada@example.com", "bob@example.com"],
    )

    assert found == {"ada@example.com"}


async def test_both_streams_are_pulled_page_by_page(twin: Twin, client: IysClient):
    """What we wrote and what the citizen did are two streams with two cursors."""
    await client.add(BRAND, an_item())
    await client.add(BRAND, an_item(recipient=OTHER))
    twin.citizen(Status.RET)
    assert await client.changes(BRAND, Stream.IYS) is None
    twin.advance(3601)

    theirs = await client.changes(BRAND, Stream.IYS)
    first = await client.changes(BRAND, Stream.HS, limit=1)
    assert theirs is not None
    assert first is not None
    second = await client.changes(BRAND, Stream.HS, after=first.after, limit=1)
    assert second is not None

    assert [(m.recipient, m.status) for m in theirs.movements] == [(PHONE, Status.RET)]
    assert theirs.movements[0].source.startswith("IYS_")
    assert [m.recipient for p in (first, second) for m in p.movements] == [PHONE, OTHER]
    assert await client.changes(BRAND, Stream.HS, after=second.after) is None


async def test_a_closed_line_of_no_known_date_has_none(twin: Twin, client: IysClient):
    """The movement counts all the same."""
    twin.citizen(Status.RET, recipientType="TACIR", source="IYS_AHS_HAT_KAPATMA")
    twin.advance(3601)
    page = await client.changes(BRAND, Stream.IYS)

    assert page is not None
    assert page.movements[0].consent_date is None


async def test_a_lost_answer_is_an_outcome_unknown(twin: Twin, client: IysClient):
    """It took effect, nobody was told, and the same body again is safe."""
    item = an_item()
    twin.weather("addV2", drop="after")
    with pytest.raises(OutcomeUnknownError):
        await client.add(BRAND, item)
    record = await client.status(BRAND, *KEY)
    receipt = await client.add(BRAND, item)

    assert record is not None
    assert receipt.transaction_id == record.transaction_id
    assert len(twin.movements()) == 1


async def test_a_late_answer_is_an_outcome_unknown(twin: Twin, settings: IysSettings):
    """The deadline is ours, the effect is İYS's."""
    twin.weather("addV2", slowSeconds=1)
    impatient = settings.model_copy(update={"timeout": timedelta(milliseconds=200)})
    async with a_client(impatient, InMemoryTokenStore(), Pace(rate=1000)) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.add(BRAND, an_item())


async def test_a_question_without_an_answer_may_be_asked_again(twin: Twin, client: IysClient):
    """Nothing was done by asking."""
    twin.weather("status", drop="before")
    with pytest.raises(BusyError):
        await client.status(BRAND, *KEY)

    assert await client.status(BRAND, *KEY) is None


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "H123", BusyError),
        (500, "H015", BusyError),
        (503, "H192", BusyError),
        (429, "H124", ThrottledError),
        (422, "H525", RefusedError),
    ],
)
async def test_the_weather_is_read_from_the_code(
    twin: Twin, client: IysClient, status: int, code: str, error: type[CallError]
):
    """The same codes over HTTP mean what the table says."""
    twin.weather("addV2", status=status, code=code)
    with pytest.raises(error):
        await client.add(BRAND, an_item())


@pytest.mark.parametrize("spelling", ["code", "code:"])
async def test_a_foreign_brand_is_an_operators_matter(twin: Twin, client: IysClient, spelling: str):
    """H353 is read under either key."""
    twin.order("settings", forbiddenSpelling=spelling)
    with pytest.raises(MisconfiguredError) as told:
        await client.add(BrandPath(iys_code=IYS_CODE, brand_code=100009), an_item())

    assert told.value.verdict is Verdict.RIGHTS


async def test_one_token_serves_many_processes(twin: Twin, settings: IysSettings):
    """Two clients that share a store ask for one token between them."""
    store = InMemoryTokenStore()
    for _ in range(2):
        async with a_client(settings, store, Pace(rate=1000)) as client:
            await client.brands(IYS_CODE)

    assert store.state.token is not None
    assert len(store.state.calls) == 1


async def test_a_token_that_iys_forgot_is_renewed(twin: Twin, settings: IysSettings):
    """H351 costs one renewal and is not seen by the caller."""
    store = InMemoryTokenStore()
    async with a_client(settings, store, Pace(rate=1000)) as client:
        await client.brands(IYS_CODE)
        twin.advance(7201)
        brands = await client.brands(IYS_CODE)

    assert brands[0].brand_code == BRAND.brand_code
    assert len(store.state.calls) == 2


@pytest.mark.parametrize("shape", ["errors", "flat"])
async def test_too_many_token_calls_are_silence(twin: Twin, settings: IysSettings, shape: str):
    """H084 is read in either shape, and nothing is asked after it."""
    twin.order("settings", tokenLimit=1, h084Shape=shape)
    async with a_client(settings, InMemoryTokenStore(), Pace(rate=1000)) as client:
        await client.brands(IYS_CODE)
    async with a_client(settings, InMemoryTokenStore(), Pace(rate=1000)) as client:
        with pytest.raises(TokenLimitError) as told:
            await client.brands(IYS_CODE)
        with pytest.raises(BusyError) as rests:
            await client.brands(IYS_CODE)
    assert told.value.retry_after is not None
    assert told.value.retry_after > timedelta(minutes=60)
    assert rests.value.retry_after is not None
    assert rests.value.retry_after > timedelta(seconds=30)


async def test_wrong_credentials_are_told(twin: Twin, settings: IysSettings):
    """İYS answers them with 400 and no H-code."""
    wrong = settings.model_copy(update={"password": SecretStr("not-it")})
    async with a_client(wrong, InMemoryTokenStore(), Pace(rate=1000)) as client:
        with pytest.raises(UnauthenticatedError):
            await client.brands(IYS_CODE)


async def test_an_absent_iys_is_busy(settings: IysSettings):
    """A connection that never stood did nothing."""
    nowhere = settings.model_copy(update={"base_url": "http://127.0.0.1:1"})
    async with a_client(nowhere, InMemoryTokenStore(), Pace(rate=1000)) as client:
        with pytest.raises(BusyError):
            await client.add(BRAND, an_item())


async def test_at_our_pace_iys_never_throttles(twin: Twin, settings: IysSettings):
    """Nine a second pass where ten are counted by sliding seconds, the strictest reading."""
    twin.order("settings", requestsPerSecond=10, requestWindow="sliding")
    async with a_client(settings, InMemoryTokenStore(), Pace(rate=9)) as client:
        for _ in range(15):
            await client.brands(IYS_CODE)


async def test_the_account_is_read(client: IysClient):
    """Brands and subscription as İYS tells them."""
    await client.add(BRAND, an_item())
    brand = (await client.brands(IYS_CODE))[0]
    subscription = await client.subscription(IYS_CODE)

    assert (brand.brand_code, brand.name, brand.approvals) == (100001, "Örnek", 1)
    assert subscription.status == "ACTIVE"
    assert not subscription.is_full


class Receiver(BaseHTTPRequestHandler):
    """A push address that wants HTTP Basic and keeps what it is told."""

    bodies: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_known = "Authorization" in self.headers
        if is_known:
            self.bodies.append(body)
        self.send_response(200 if is_known else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_parts: object) -> None:
        """Say nothing."""


async def test_push_is_registered_tried_and_removed(twin: Twin, client: IysClient):
    """İYS tries the address with its fixed test, which is recognised."""
    twin.order("settings", pushHttpsRequired=False)
    receiver = type("OneReceiver", (Receiver,), {"bodies": []})
    with HTTPServer(("127.0.0.1", 0), receiver) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            connection = PushConnection(
                url=f"http://127.0.0.1:{server.server_port}/iys",
                type=Channel.MESAJ,
                username="ada",
                password=SecretStr("not-a-password"),
            )
            await client.register_push(BRAND, [connection])
            listed = await client.push_registrations(BRAND)
            await client.unregister_push(BRAND, connection)
        finally:
            server.shutdown()
            thread.join()

    assert [push.url for push in listed] == [connection.url]
    assert await client.push_registrations(BRAND) == ()
    assert all(parse_push(body).is_test for body in receiver.bodies)
    assert json.loads(receiver.bodies[0])


async def test_push_over_http_is_refused(client: IysClient):
    """İYS pushes to https only; an operator gives another address."""
    connection = PushConnection(
        url="http://push.example.com",
        type=Channel.MESAJ,
        username="ada",
        password=SecretStr("not-a-password"),
    )
    with pytest.raises(MisconfiguredError):
        await client.register_push(BRAND, [connection])


class _Watched(InProcessPacer):
    """Notes which slots were waited for, which of their calls have left, and which have arrived."""

    def __init__(self) -> None:
        super().__init__(Pace(rate=500))
        self.noted: list[tuple[str, int]] = []

    async def until(self, slot: Slot) -> None:
        self.noted.append(("until", slot.number))

    def left(self, slot: Slot) -> Slot:
        self.noted.append(("left", slot.number))
        return super().left(slot)

    def arrived(self, slot: Slot) -> None:
        self.noted.append(("arrived", slot.number))
        super().arrived(slot)


async def test_a_call_leaves_when_its_last_byte_is_written(twin: Twin, settings: IysSettings):
    """Not when its slot came: a connection may have to be made first. With a body or without.

    The slot is waited for once the connection stands.
    """
    pacer, auth = _Watched(), TokenAuth(settings, InMemoryTokenStore())
    async with IysClient(settings, auth=auth, pacer=pacer) as client:
        await client.add(BRAND, an_item())
        await client.batch_result(BRAND, "00000000-0000-4000-a000-000000000000")
    assert pacer.noted == [
        (what, slot) for slot in (1, 2, 3) for what in ("until", "left", "arrived")
    ]
