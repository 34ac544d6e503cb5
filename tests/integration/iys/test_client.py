"""The client against the simulator over real HTTP."""

import json
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from pydantic import SecretStr

from izin.consent import Channel, RecipientType, Status
from izin.iys.client import IysClient
from izin.iys.errors import (
    BusyError,
    CallError,
    MisconfiguredError,
    OutcomeUnknownError,
    RefusedError,
    ThrottledError,
    TokenLimitError,
    UnauthenticatedError,
    Verdict,
)
from izin.iys.rate_limit import Pace, Slot
from izin.iys.tokens import TokenAuth
from izin.iys.wire_format import BrandPath, PushConnection, Stream, parse_push
from izin.iys.wire_format.batches import ItemStatus
from izin.runtime.settings import IysSettings
from tests.integration.iys.conftest import a_client
from tests.integration.iys.consent_items import BRAND, an_item, now
from tests.support.builders import PHONE
from tests.support.iys import InMemoryTokenStore, InProcessPacer
from tests.support.simulator import IYS_CODE, SimulatorAdmin

OTHER = "+905550000002"
KEY = (Channel.MESAJ, RecipientType.BIREYSEL, PHONE)


async def test_added_consent_is_read_back(client: IysClient):
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


async def test_identical_resend_has_no_second_effect(admin: SimulatorAdmin, client: IysClient):
    """V2 gives the first answer again."""
    item = an_item()

    assert await client.add(BRAND, item) == await client.add(BRAND, item)
    assert len(admin.movements()) == 1


@pytest.mark.parametrize("how", ["empty", "not_found"])
async def test_missing_record_is_none(admin: SimulatorAdmin, client: IysClient, how: str):
    """In every notation of İYS."""
    admin.post("settings", unknownStatus=how)

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
async def test_invalid_record_is_refused(
    client: IysClient, first: object, then: object, verdict: Verdict
):
    """The verdict determines what to do with the record."""
    if first is not None:
        await client.add(BRAND, first)  # type: ignore[arg-type]
    with pytest.raises(RefusedError) as caught:
        await client.add(BRAND, then)  # type: ignore[arg-type]

    assert caught.value.verdict is verdict


async def test_batch_result_is_empty_then_enqueued_then_final(
    admin: SimulatorAdmin, client: IysClient
):
    """Accepted is not saved; each item has its own result."""
    items = [an_item(), an_item(recipient="Ada@example.com"), an_item(Status.RET, recipient=OTHER)]
    batch = await client.add_batch(BRAND, items)

    assert await client.batch_result(BRAND, batch.request_id) == ()
    admin.advance(200)
    waiting = await client.batch_result(BRAND, batch.request_id)
    assert {item.status for item in waiting} == {ItemStatus.ENQUEUE}
    assert {item.verdict for item in waiting} == {None}
    admin.advance(101)
    results = {r.sub_request_id: r for r in await client.batch_result(BRAND, batch.request_id)}
    first, second, third = (results[name] for name in batch.sub_request_ids)

    assert (first.verdict, second.verdict) == (Verdict.SUCCESS, Verdict.SUCCESS)
    assert (third.code, third.verdict) == ("H175", Verdict.ALREADY)


async def test_batch_sent_again_names_the_original_request(
    admin: SimulatorAdmin, client: IysClient
):
    """The success of a resend refers to the first save."""
    item = an_item()
    batches = []
    for _ in range(2):
        batches.append(await client.add_batch(BRAND, [item]))
        admin.advance(301)
    first, again = [(await client.batch_result(BRAND, b.request_id))[0] for b in batches]

    assert first.original is None
    assert again.original is not None
    assert again.original.request_id == batches[0].request_id
    assert again.receipt == first.receipt


async def test_batch_with_invalid_items_is_refused_whole_naming_them(
    admin: SimulatorAdmin, client: IysClient
):
    """One wrong item refuses all; the index shows which to remove."""
    with pytest.raises(RefusedError) as caught:
        await client.add_batch(BRAND, [an_item(), an_item(recipient="+9012")])

    assert {refusal.index for refusal in caught.value.refusals} == {1}
    assert "+9012" not in str(caught.value)
    assert list(admin.rows("movements")) == []


async def test_statuses_list_only_opt_ins(client: IysClient):
    """RET and no record are alike absent; e-mails come back in lower case."""
    await client.add(BRAND, an_item(recipient="Ada@Example.com"))
    found = await client.statuses(
        BRAND,
        Channel.EPOSTA,
        RecipientType.BIREYSEL,
        ["ADA@example.com", "ada@example.com", "bob@example.com"],
    )

    assert found == {"ada@example.com"}


async def test_both_streams_are_pulled_page_by_page(admin: SimulatorAdmin, client: IysClient):
    """What we wrote and what the citizen did are two streams with two cursors."""
    await client.add(BRAND, an_item())
    await client.add(BRAND, an_item(recipient=OTHER))
    admin.citizen(Status.RET)
    assert await client.changes(BRAND, Stream.IYS) is None
    admin.advance(3601)

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


async def test_closed_line_without_date_has_none(admin: SimulatorAdmin, client: IysClient):
    """The movement counts all the same."""
    admin.citizen(Status.RET, recipientType="TACIR", source="IYS_AHS_HAT_KAPATMA")
    admin.advance(3601)
    page = await client.changes(BRAND, Stream.IYS)

    assert page is not None
    assert page.movements[0].consent_date is None


async def test_lost_answer_is_outcome_unknown(admin: SimulatorAdmin, client: IysClient):
    """It took effect, and sending the same body again is safe."""
    item = an_item()
    admin.inject_fault("addV2", drop="after")
    with pytest.raises(OutcomeUnknownError):
        await client.add(BRAND, item)
    record = await client.status(BRAND, *KEY)
    receipt = await client.add(BRAND, item)

    assert record is not None
    assert receipt.transaction_id == record.transaction_id
    assert len(admin.movements()) == 1


async def test_late_answer_is_outcome_unknown(admin: SimulatorAdmin, settings: IysSettings):
    """The deadline is ours, the effect is İYS's."""
    admin.inject_fault("addV2", slowSeconds=1)
    impatient = settings.model_copy(update={"timeout": timedelta(milliseconds=200)})
    async with a_client(impatient, InMemoryTokenStore(), Pace(rate=1000)) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.add(BRAND, an_item())


async def test_unanswered_query_is_busy(admin: SimulatorAdmin, client: IysClient):
    """Nothing was done by asking."""
    admin.inject_fault("status", drop="before")
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
async def test_injected_faults_are_recognised_by_their_code(
    admin: SimulatorAdmin, client: IysClient, status: int, code: str, error: type[CallError]
):
    """The same codes over HTTP mean what the table says."""
    admin.inject_fault("addV2", status=status, code=code)
    with pytest.raises(error):
        await client.add(BRAND, an_item())


@pytest.mark.parametrize("spelling", ["code", "code:"])
async def test_brand_of_another_provider_is_misconfigured(
    admin: SimulatorAdmin, client: IysClient, spelling: str
):
    """H353 is read under either key."""
    admin.post("settings", forbiddenSpelling=spelling)
    with pytest.raises(MisconfiguredError) as caught:
        await client.add(BrandPath(iys_code=IYS_CODE, brand_code=100009), an_item())

    assert caught.value.verdict is Verdict.RIGHTS


async def test_token_is_shared_by_processes(admin: SimulatorAdmin, settings: IysSettings):
    """Two clients that share a store request a single token."""
    store = InMemoryTokenStore()
    for _ in range(2):
        async with a_client(settings, store, Pace(rate=1000)) as client:
            await client.brands(IYS_CODE)

    assert store.state.token is not None
    assert len(store.state.calls) == 1


async def test_revoked_token_is_renewed(admin: SimulatorAdmin, settings: IysSettings):
    """H351 costs one renewal and is not seen by the caller."""
    store = InMemoryTokenStore()
    async with a_client(settings, store, Pace(rate=1000)) as client:
        await client.brands(IYS_CODE)
        admin.advance(7201)
        brands = await client.brands(IYS_CODE)

    assert brands[0].brand_code == BRAND.brand_code
    assert len(store.state.calls) == 2


@pytest.mark.parametrize("shape", ["errors", "flat"])
async def test_too_many_token_requests_block_the_account(
    admin: SimulatorAdmin, settings: IysSettings, shape: str
):
    """H084 is read in either shape, and no further request is made."""
    admin.post("settings", tokenLimit=1, h084Shape=shape)
    async with a_client(settings, InMemoryTokenStore(), Pace(rate=1000)) as client:
        await client.brands(IYS_CODE)
    async with a_client(settings, InMemoryTokenStore(), Pace(rate=1000)) as client:
        with pytest.raises(TokenLimitError) as caught:
            await client.brands(IYS_CODE)
        with pytest.raises(BusyError) as rests:
            await client.brands(IYS_CODE)
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > timedelta(minutes=60)
    assert rests.value.retry_after is not None
    assert rests.value.retry_after > timedelta(seconds=30)


async def test_wrong_credentials_are_unauthenticated(admin: SimulatorAdmin, settings: IysSettings):
    """İYS answers them with 400 and no H-code."""
    wrong = settings.model_copy(update={"password": SecretStr("not-it")})
    async with a_client(wrong, InMemoryTokenStore(), Pace(rate=1000)) as client:
        with pytest.raises(UnauthenticatedError):
            await client.brands(IYS_CODE)


async def test_unreachable_iys_is_busy(settings: IysSettings):
    """A connection that was never established had no effect."""
    nowhere = settings.model_copy(update={"base_url": "http://127.0.0.1:1"})
    async with a_client(nowhere, InMemoryTokenStore(), Pace(rate=1000)) as client:
        with pytest.raises(BusyError):
            await client.add(BRAND, an_item())


async def test_paced_calls_are_never_throttled(admin: SimulatorAdmin, settings: IysSettings):
    """Nine a second pass where ten are counted by sliding seconds, the strictest reading."""
    admin.post("settings", requestsPerSecond=10, requestWindow="sliding")
    async with a_client(settings, InMemoryTokenStore(), Pace(rate=9)) as client:
        for _ in range(15):
            await client.brands(IYS_CODE)


async def test_account_is_read(client: IysClient):
    """Brands and subscription as İYS shows them."""
    await client.add(BRAND, an_item())
    brand = (await client.brands(IYS_CODE))[0]
    subscription = await client.subscription(IYS_CODE)

    assert (brand.brand_code, brand.name, brand.approvals) == (100001, "Örnek", 1)
    assert subscription.status == "ACTIVE"


class Receiver(BaseHTTPRequestHandler):
    """A push endpoint that requires HTTP Basic and records the bodies."""

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
        """Send no response."""


async def test_push_is_registered_tested_and_removed(admin: SimulatorAdmin, client: IysClient):
    """İYS tries the address with its fixed test, which is recognised."""
    admin.post("settings", pushHttpsRequired=False)
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
    assert not any(parse_push(body).movements for body in receiver.bodies)
    assert json.loads(receiver.bodies[0])


async def test_push_over_plain_http_is_refused(client: IysClient):
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


async def test_call_counts_as_sent_with_its_last_byte(admin: SimulatorAdmin, settings: IysSettings):
    """Not when its slot came: a connection may have to be made first. With a body or without.

    The slot is awaited once the connection is established.
    """
    pacer, auth = _Watched(), TokenAuth(settings, InMemoryTokenStore())
    async with IysClient(settings, auth=auth, pacer=pacer) as client:
        await client.add(BRAND, an_item())
        await client.batch_result(BRAND, "00000000-0000-4000-a000-000000000000")
    assert pacer.noted == [
        (what, slot) for slot in (1, 2, 3) for what in ("until", "left", "arrived")
    ]
