"""ViA over the ledger and İYS's simulator: who is asked, by which way, and what comes of it. A
process is killed between each write to the ledger and the call after it, and each call and the
write after it: nobody is asked twice, and nothing is lost.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from unittest.mock import patch

import pytest

from izin.consent import Channel, RecipientType
from izin.iys.wire_format import Stream
from izin.iys.wire_format.via import ViaStart, ViaWay
from izin.kafka.bounded_reader import read_all
from izin.ledger import brands, retention, via
from izin.ledger.record import ConcurrentChangeError
from izin.ledger.via import ConsentRequest, Occasion, ViaRefusal, ViaState
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.monitor.accounts import refresh_subscriptions
from izin.sinks.outbound.via import ViaCaller
from tests.integration.sinks.sink_harness import Killed, SinkHarness, a_phone, acts, ret, until
from tests.support.builders import BRAND, CUSTOMER, PHONE
from tests.support.secret_keys import some_keys
from tests.support.simulator import IYS_CODE, PASSWORD, USERNAME, SinkProcesses

pytestmark = [pytest.mark.database]

ADDRESS = "a@example.com"
CODES, LINKS = (
    (ViaWay.SMS_OTP, ViaWay.EPOSTA_OTP),
    tuple(way for way in ViaWay if not way.is_by_code),
)
A_LEASE = timedelta(seconds=61)


class Via:
    """A person and a worker, over the harness."""

    def __init__(self, harness: SinkHarness) -> None:
        self.harness = harness

    async def ask(
        self,
        way: ViaWay = ViaWay.SMS_OTP,
        recipient: str | None = None,
        channel: Channel | None = None,
        recipient_type: RecipientType = RecipientType.BIREYSEL,
    ) -> ConsentRequest | ViaRefusal:
        """Have the person asked, for e-mail or text messages."""
        is_email = Channel.EPOSTA in way.channels
        channel = channel or (Channel.EPOSTA if is_email else Channel.MESAJ)
        start = ViaStart(
            brand_code=BRAND,
            recipient=recipient or (ADDRESS if is_email else PHONE),
            recipient_type=recipient_type,
            channels=(channel,),
            way=way,
            form_id="1",
        )
        return await via.ask(
            self.harness.ledger,
            start,
            customer_id=CUSTOMER,
            occasion=Occasion.FORM,
            by="shop",
            most=3,
            now=self.harness.clock(),
        )

    async def made(
        self, way: ViaWay = ViaWay.SMS_OTP, recipient: str | None = None
    ) -> ConsentRequest:
        """Have the person asked; return the request."""
        found = await self.ask(way, recipient)
        assert isinstance(found, ConsentRequest), found
        return found

    async def step(self) -> bool:
        """Take a step of the worker."""
        return await ViaCaller(context=self.harness.context).step()

    async def drain(self) -> None:
        """Take steps of the worker until nothing is due."""
        while await self.step():
            pass

    async def state(self, request: ConsentRequest) -> tuple[ViaState, str | None]:
        """Return state and result of a request."""
        found = await via.find(self.harness.ledger, request.id)
        assert found is not None
        return found.state, found.result

    async def asked(self, way: ViaWay = ViaWay.SMS_OTP) -> ConsentRequest:
        """Have the person asked, so that they have a code or a link."""
        request = await self.made(way)
        await self.drain()
        assert await self.state(request) == (ViaState.ASKED, None)
        return request

    async def give_code(self, request: ConsentRequest, code: str | None = None) -> bool:
        """Give back the code that was sent last, or another."""
        sent = self.harness.iys.via_requests()[-1]["code"]
        return await via.give_code(
            self.harness.ledger, request.id, code or sent, now=self.harness.clock()
        )

    def press(self) -> None:
        """Open the link that was sent last, and consent."""
        request = self.harness.iys.via_requests()[-1]["requestId"]
        self.harness.iys.post("via", requestId=request)

    def asked_at_iys(self) -> int:
        """Return how often İYS has asked."""
        return len(self.harness.iys.via_requests())

    async def events(self) -> list[tuple[str, str, str | None, str, str]]:
        """Return what was published: recipient, status, source, path and id."""
        return [
            (one.recipient, one.status, one.source, one.iys.path, one.event_id)
            for one in await self.harness.published()
            if one.iys is not None
        ]

    @asynccontextmanager
    async def killed_at(self, what: str, *, after: bool) -> AsyncIterator[None]:
        """Have the process killed where it next does ``what``, before or after that."""
        original: Callable[..., Awaitable[object]] = getattr(via, what)

        async def die(*given: object, **named: object) -> object:
            if after:
                await original(*given, **named)
            raise Killed

        with patch.object(via, what, die), suppress(Killed):
            yield
        self.harness.advance(A_LEASE)


@pytest.fixture
def person(harness: SinkHarness) -> Via:
    """Give a person and a worker."""
    return Via(harness)


@pytest.mark.parametrize("way", CODES)
async def test_code_registers_a_consent_that_iys_shows(
    person: Via, harness: SinkHarness, way: ViaWay
):
    """It is published under the id that pull gives it, permits sending, and is never submitted."""
    request = await person.asked(way)
    assert await person.give_code(request)
    await person.drain()
    assert await person.state(request) == (ViaState.CONSENTED, None)
    ((recipient, status, source, path, event_id),) = await person.events()
    assert (recipient, status, source, path) == (request.start.recipient, "ONAY", way.source, "via")
    (pulled,) = await harness.pull(Stream.IYS)
    assert pulled.event_id == event_id
    (event,) = await harness.published()
    await harness.ingest(event, pulled)
    key = str(request.keys[0])
    (row,) = await harness.ledger.fetch(
        "SELECT registered, state, may_send FROM consents WHERE key = %(key)s", {"key": key}
    )
    assert row == {"registered": "ONAY", "state": "not_needed", "may_send": True}
    assert not await harness.bulk()
    assert person.asked_at_iys() == 1
    (stored,) = await harness.ledger.fetch("SELECT code, next_at FROM via_requests")
    assert stored == {"code": None, "next_at": None}


@pytest.mark.parametrize("way", LINKS)
async def test_link_registers_a_consent_that_iys_shows(
    person: Via, harness: SinkHarness, way: ViaWay
):
    """İYS is asked in growing intervals, and the answer is the movement that pull brings."""
    request = await person.asked(way)
    harness.advance(timedelta(seconds=20))
    await person.drain()
    assert await person.state(request) == (ViaState.ASKED, None)
    person.press()
    assert not await person.step(), "it is not looked at all the time"
    harness.advance(timedelta(minutes=1))
    await person.drain()
    assert await person.state(request) == (ViaState.CONSENTED, None)
    (pulled,) = await harness.pull(Stream.IYS)
    assert [event[4] for event in await person.events()] == [pulled.event_id]


async def test_person_who_opted_out_is_not_asked(person: Via, harness: SinkHarness):
    """By an opt-out of ours, as a consumer or a merchant; of another channel it says nothing."""
    await harness.ingest(ret(PHONE))
    assert await person.ask() is ViaRefusal.OPTED_OUT
    assert await person.ask(recipient_type=RecipientType.TACIR) is ViaRefusal.OPTED_OUT
    assert isinstance(await person.ask(channel=Channel.ARAMA), ConsentRequest)
    assert [one["after"]["occasion"] for one in await acts(harness.ledger, "ask%")] == ["form"]


async def test_opt_out_at_iys_that_nobody_knew_is_published(person: Via, harness: SinkHarness):
    """İYS is asked before the person, for it would register a consent over the opt-out."""
    harness.citizen("ONAY", then=timedelta(seconds=2))
    harness.citizen("RET", then=timedelta(seconds=2))
    request = await person.made()
    await person.drain()
    assert await person.state(request) == (ViaState.REFUSED, via.OPTED_OUT)
    assert person.asked_at_iys() == 0
    assert [event[:2] for event in await person.events()] == [(PHONE, "RET")]


async def test_opt_out_before_the_call_is_written_withholds_it(person: Via, harness: SinkHarness):
    """Else İYS would register a consent over it."""
    await harness.register_onay()
    request = await person.made()

    async def opt_out() -> None:
        await harness.ingest(ret(PHONE))

    harness.pacer.meanwhile = opt_out
    await person.drain()
    assert await person.state(request) == (ViaState.REFUSED, via.OPTED_OUT)
    assert person.asked_at_iys() == 0


async def test_opt_out_before_the_code_withholds_it(person: Via, harness: SinkHarness):
    """A person who refuses after they were asked is not registered as consenting."""
    request = await person.asked()
    assert await person.give_code(request)
    await harness.ingest(ret(PHONE))
    await person.drain()
    assert await person.state(request) == (ViaState.REFUSED, via.OPTED_OUT)
    assert harness.iys.register() == {}


async def test_repeated_request_asks_nobody_again(person: Via, harness: SinkHarness):
    """While it is open and once they have consented it is the same one; for others they wait."""
    request = await person.asked()
    assert (await person.made()).id == request.id
    assert await person.ask(ViaWay.SMS_SHORTURL) is ViaRefusal.ASKED_ALREADY
    await person.give_code(request)
    await person.drain()
    assert (await person.made()).id == request.id
    await person.drain()
    assert person.asked_at_iys() == 1


async def test_person_is_asked_three_times_a_day_at_most(person: Via, harness: SinkHarness):
    """Of all brands of a customer; after a day again."""
    for _ in range(3):
        await person.asked()
        harness.advance(timedelta(minutes=20))
        await person.drain()
    assert await person.ask() is ViaRefusal.ASKED_TOO_OFTEN
    harness.advance(timedelta(days=1))
    assert isinstance(await person.ask(), ConsentRequest)
    assert person.asked_at_iys() == 3


async def test_code_that_is_not_given_ends_the_request(person: Via, harness: SinkHarness):
    """And one that comes later is not awaited."""
    request = await person.asked()
    harness.advance(timedelta(minutes=18))
    await person.drain()
    assert await person.state(request) == (ViaState.OVER, "OTP_CODE_EXPIRED")
    assert not await person.give_code(request)


async def test_wrong_code_may_be_given_again_three_times(person: Via, harness: SinkHarness):
    """Then İYS ends the request."""
    request = await person.asked()
    for _ in range(3):
        assert await person.give_code(request, "000")
        await person.drain()
        assert await person.state(request) == (ViaState.ASKED, "H1052")
    assert await person.give_code(request)
    await person.drain()
    harness.advance(timedelta(seconds=3))
    await person.drain()
    assert await person.state(request) == (ViaState.OVER, "OTP_CODE_INCORRECT")


async def test_start_that_was_not_answered_is_never_repeated(person: Via, harness: SinkHarness):
    """Neither where İYS has it nor where not; the person is held back until it is over."""
    for asked, drop in enumerate(("before", "after")):
        request = await person.made(recipient=f"+9055500000{asked + 10}")
        harness.iys.inject_fault("viaStart", drop=drop)
        await person.drain()
        assert await person.state(request) == (ViaState.UNKNOWN, via.UNANSWERED)
        harness.advance(timedelta(minutes=10))
        await person.drain()
        assert (await person.made(recipient=request.start.recipient)).id == request.id
        assert person.asked_at_iys() == asked
    harness.advance(timedelta(minutes=10))
    again = await person.made(recipient=request.start.recipient)
    assert again.id != request.id


async def test_code_that_was_not_answered_is_asked_about(person: Via, harness: SinkHarness):
    """Where İYS has it the consent is published; where not, it is given once more."""
    request = await person.asked()
    harness.iys.inject_fault("viaConfirm", drop="before")
    await person.give_code(request)
    await person.step()
    assert await person.state(request) == (ViaState.CONFIRMING, None)
    harness.iys.inject_fault("viaConfirm", drop="after")
    for _ in range(4):
        harness.advance(timedelta(seconds=3))
        await person.drain()
    assert await person.state(request) == (ViaState.CONSENTED, None)
    assert harness.iys.movements() == ["ONAY"]
    assert [event[:2] for event in await person.events()] == [(PHONE, "ONAY")]


@pytest.mark.parametrize(
    ("what", "after", "asked"), [("claim", True, 1), ("begin", False, 1), ("begin", True, 0)]
)
async def test_kill_around_the_start_asks_nobody_twice(
    person: Via, what: str, after: bool, asked: int
):
    """Before it was noted that the call is made another worker makes it; after that nobody does."""
    request = await person.made()
    async with person.killed_at(what, after=after):
        await person.step()
    await person.drain()
    assert person.asked_at_iys() == asked
    state = ViaState.ASKED if asked else ViaState.UNKNOWN
    assert (await person.state(request))[0] is state


async def test_kill_between_start_and_its_answer_asks_nobody_twice(
    person: Via, harness: SinkHarness
):
    """İYS has asked, and nobody has its id."""
    request = await person.made()
    async with person.killed_at("save", after=False):
        await person.step()
    await person.drain()
    assert await person.state(request) == (ViaState.UNKNOWN, via.UNANSWERED)
    assert person.asked_at_iys() == 1
    assert [act["after"]["state"] for act in await acts(harness.ledger, "end%")] == ["unknown"]


async def test_link_of_a_lost_start_still_brings_the_consent(person: Via, harness: SinkHarness):
    """By pull, as everything that İYS shows."""
    request = await person.made(ViaWay.SMS_SHORTURL)
    async with person.killed_at("save", after=False):
        await person.step()
    await person.drain()
    person.press()
    (pulled,) = await harness.pull(Stream.IYS)
    await harness.ingest(pulled)
    assert (await harness.row()).registered == "ONAY"
    assert (await person.state(request))[0] is ViaState.UNKNOWN


@pytest.mark.parametrize(
    ("what", "after"), [("claim", True), ("begin", False), ("begin", True), ("save", False)]
)
async def test_kill_around_the_code_loses_no_consent(
    person: Via, harness: SinkHarness, what: str, after: bool
):
    """What came of the code is asked; where it never arrived it is given again."""
    request = await person.asked()
    await person.give_code(request)
    async with person.killed_at(what, after=after):
        await person.step()
    for _ in range(3):
        await person.drain()
        harness.advance(timedelta(seconds=3))
    assert await person.state(request) == (ViaState.CONSENTED, None)
    assert person.asked_at_iys() == 1
    assert harness.iys.movements() == ["ONAY"]
    assert [event[:2] for event in await person.events()] == [(PHONE, "ONAY")]


async def test_kill_around_the_status_query_loses_no_consent(person: Via, harness: SinkHarness):
    """It is asked again."""
    request = await person.asked(ViaWay.SMS_SHORTURL)
    person.press()
    harness.advance(timedelta(minutes=1))
    async with person.killed_at("save", after=False):
        await person.step()
    await person.drain()
    assert await person.state(request) == (ViaState.CONSENTED, None)
    assert [event[:2] for event in await person.events()] == [(PHONE, "ONAY")]


async def test_worker_that_is_overtaken_saves_nothing(person: Via, harness: SinkHarness):
    """What it does too late does not undo the state that another has saved."""
    request = await person.made()
    frozen = await via.claim(harness.ledger, harness.context.lease_owner, harness.clock())
    assert frozen is not None
    harness.advance(A_LEASE)
    await person.drain()
    with pytest.raises(ConcurrentChangeError):
        async with harness.context.changes() as changes:
            await via.save(changes.connection, frozen, ViaState.OVER, now=changes.now)
    assert await person.state(request) == (ViaState.ASKED, None)


async def test_spent_credits_refuse_the_request(person: Via, harness: SinkHarness):
    """İYS says so by H1015, and shows the number to providers alone: not shown is not zero."""
    account = {"username": USERNAME, "password": PASSWORD, "iysCode": IYS_CODE}
    await refresh_subscriptions(harness.context, every=timedelta(0))
    async with harness.ledger.reading() as connection:
        assert (await brands.of_codes(connection, [BRAND]))[BRAND].via_credit is None
    harness.iys.post("accounts", **account, viaCredit=0)
    request = await person.made()
    await person.drain()
    assert await person.state(request) == (ViaState.REFUSED, "H1015")
    harness.advance(timedelta(hours=1))
    await refresh_subscriptions(harness.context, every=timedelta(0))
    async with harness.ledger.reading() as connection:
        assert (await brands.of_codes(connection, [BRAND]))[BRAND].via_credit == 0


async def test_person_who_has_left_is_not_asked(person: Via, harness: SinkHarness):
    """A code that comes minutes later would alarm them."""
    request = await person.made()
    harness.advance(timedelta(minutes=3))
    await person.drain()
    assert await person.state(request) == (ViaState.REFUSED, via.TOO_LATE)
    assert person.asked_at_iys() == 0


async def test_call_that_had_no_effect_is_made_again(person: Via, harness: SinkHarness):
    """As İYS says when: nobody was asked by it."""
    request = await person.made()
    harness.iys.inject_fault("viaStart", status=429, code="H124")
    await person.drain()
    assert (await person.state(request))[0] is ViaState.WAITING
    harness.advance(timedelta(seconds=5))
    await person.drain()
    assert await person.state(request) == (ViaState.ASKED, None)
    assert person.asked_at_iys() == 1


async def test_code_under_a_key_that_is_gone_is_to_be_given_again(
    person: Via, harness: SinkHarness
):
    """It is encrypted where a key is set, and one that cannot be read stops no other request."""
    request = await person.asked()
    harness.ledger.secret_keys = some_keys(1)
    await person.give_code(request)
    (row,) = await harness.ledger.fetch("SELECT code FROM via_requests")
    assert row["code"].startswith("aes256gcm:")
    harness.ledger.secret_keys = some_keys()
    await person.drain()
    assert await person.state(request) == (ViaState.ASKED, via.CODE_LOST)
    await person.give_code(request)
    await person.drain()
    assert (await person.state(request))[0] is ViaState.CONSENTED


async def test_request_is_deleted_after_a_month(person: Via, harness: SinkHarness):
    """And its history stays."""
    await person.asked()
    await retention.delete_expired(harness.ledger, now=harness.clock() + timedelta(days=31))
    assert await harness.ledger.fetch("SELECT id FROM via_requests") == []
    assert len(await acts(harness.ledger, "ask%")) == 1


PEOPLE = [a_phone(number) for number in range(12)]


@pytest.mark.broker
@pytest.mark.timeout(240)
async def test_killed_worker_asks_nobody_twice_and_loses_no_consent(
    person: Via, harness: SinkHarness, processes: SinkProcesses, kafka_settings: KafkaSettings
):
    """By kill -9 while İYS is starting, and while it is given codes; a process of its own."""
    requests = [await person.made(recipient=recipient) for recipient in PEOPLE]

    async def run_and_kill(operation: str) -> None:
        """Have the process work on the requests, and killed amid its third call."""
        harness.iys.inject_fault(operation, slowSeconds=5, after=2)
        processes.start()
        await until(lambda: operation not in harness.iys.faults_left())
        await asyncio.to_thread(processes.kill, 0)
        processes.start()
        await until(is_still)
        # What was killed before İYS had read it has no effect; the slow call was read.
        await until(lambda: operation in ended_at_iys())

    def ended_at_iys() -> set[str]:
        return {one["operation"] for one in harness.iys.rows("requests/log") if one["faulted"]}

    async def is_published() -> bool:
        return not await harness.ledger.fetch("SELECT 1 FROM outbox")

    async def is_still() -> bool:
        return not via.MOVING & {(await person.state(one))[0] for one in requests}

    await run_and_kill("viaStart")
    sent = {one["recipient"]: one["code"] for one in harness.iys.via_requests()}
    assert len(sent) == person.asked_at_iys(), "somebody was asked twice"
    asked = [one for one in requests if (await person.state(one))[0] is ViaState.ASKED]
    others = {await person.state(one) for one in requests if one not in asked}
    assert others <= {(ViaState.UNKNOWN, via.UNANSWERED)}
    assert {one.start.recipient for one in asked} < set(sent)
    assert asked
    for one in asked:
        code = sent[one.start.recipient]
        assert await via.give_code(harness.ledger, one.id, code, now=harness.clock())
    await run_and_kill("viaConfirm")
    await until(is_published)
    await asyncio.to_thread(processes.end)
    assert {await person.state(one) for one in asked} == {(ViaState.CONSENTED, None)}
    assert len(sent) == person.asked_at_iys()
    shown = read_all(kafka_settings, Codec(), kafka_settings.topics.express)
    consented = sorted(one.start.recipient for one in asked)
    assert sorted({one.value["recipient"] for one in shown}) == consented
    assert [harness.iys.movements(one) for one in consented] == [["ONAY"]] * len(consented)
    log = processes.log.read_text("utf-8")
    assert [code for code in sent.values() if f'"{code}"' in log or f" {code}" in log] == []


async def test_expired_token_is_renewed_for_a_start(person: Via, harness: SinkHarness):
    """ViA says so by a code of its own (H1045)."""
    request = await person.made()
    harness.iys.inject_fault("viaStart", tokenExpired=True)
    await person.drain()
    assert await person.state(request) == (ViaState.ASKED, None)
    assert person.asked_at_iys() == 1
