"""Subscribers in the console: what each lacks, pausing, a test event, resends, whose they are."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from benchmarks.webhooks.receiver import ScriptedAnswer, WebhookReceiver
from izin.ledger.console.accounts import AccountRole
from izin.ledger.db import Ledger
from izin.ledger.record import StreamUnavailableError
from izin.ledger.webhooks import registry
from izin.ledger.webhooks.registry import EventFilter, NewSubscriber
from izin.runtime.settings import KafkaSettings
from izin.views import subscribers
from izin.views.i18n import Language
from tests.integration.web.test_complaints import entered
from tests.integration.web.two_customers import REFUSED, acts, hidden_field, register_both
from tests.support.builders import PHONE, a_phone
from tests.support.console import ConsoleHarness, console_over
from tests.support.webhooks import TopicWriter, a_consent, add_subscriber, random_secret

pytestmark = [pytest.mark.database, pytest.mark.broker]

ACTS = ("pause", "resume", "test", "resend", "cancel")
EVERYTHING = {"since": "2020-01-01T00:00"}


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    """Give the system of a subscriber, which takes everything."""
    async with WebhookReceiver().listening() as receiver:
        yield receiver


@pytest.fixture
async def hooked(
    ledger: Ledger,
    kafka_settings: KafkaSettings,
    receiver: WebhookReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[ConsoleHarness]:
    """Give a console over Kafka, with a subscriber of each of two customers."""
    monkeypatch.setenv("IZIN_WEBHOOK_ALLOWED", '["127.0.0.0/8"]')
    async with console_over(ledger, kafka=kafka_settings) as console:
        await register_both(console)
        await add_subscriber(ledger, kafka_settings, receiver.url())
        new = NewSubscriber(
            name="till",
            url="https://till.example.com/hook",
            filter=EventFilter(customer_id="beta"),
            parallel=1,
            secret=random_secret(),
        )
        await registry.add(ledger, new, [], by="ada", now=console.clock())
        yield console


async def lose(ledger: Ledger) -> None:
    """Have everything taken that there is, and nothing acknowledged."""
    await ledger.execute("UPDATE delivery_cursors SET next_offset = 1000000", {})


async def test_list_and_page_say_what_each_lacks(
    hooked: ConsoleHarness, kafka_settings: KafkaSettings
):
    """Never with a secret; in Turkish too, and also while Kafka does not answer."""
    TopicWriter(kafka_settings).opt_outs(*map(a_consent, (1, 2, 3)))
    browser = await hooked.signed_in(AccountRole.READER, language=Language.TURKISH)
    listed = (await browser.get("/subscribers")).text
    assert all(text in listed for text in ("crm", "till", "olayları alıyor"))
    page = (await browser.get("/subscribers/crm")).text
    cells = re.sub("<td[^>]*>", "<td>", page)
    assert "<td>hızlı hat: retler</td><td>0</td><td>3</td>" in cells
    assert "whsec_" not in listed + page
    assert "Duraklat</button>" not in page
    assert "<dt>Gecikme</dt><dd>yok</dd>" in page
    hooked.clock.ahead = timedelta(hours=3)
    later = await hooked.signed_in(AccountRole.READER, language=Language.TURKISH, name="ela")
    assert re.search("<td[^>]*>3 sa</td>", (await later.get("/subscribers")).text)


async def test_subscriber_is_paused_and_resumed(hooked: ConsoleHarness):
    """By who is signed in; the page offers what may be done now."""
    browser = await hooked.signed_in(AccountRole.OPERATOR, name="ada")
    paused = (await browser.post("/subscribers/crm/pause")).text
    assert "The subscriber is paused." in paused
    assert ">Resume</button>" in paused
    assert (await registry.of_name(hooked.ledger, "crm")).paused_for == "operator"
    assert ">Pause</button>" in (await browser.post("/subscribers/crm/resume")).text
    assert [(act["act"], act["by"]) for act in (await acts(hooked.ledger))[-2:]] == [
        ("pause subscriber", "ada"),
        ("resume subscriber", "ada"),
    ]


async def test_test_event_is_posted_and_its_reply_is_shown(
    hooked: ConsoleHarness, receiver: WebhookReceiver
):
    """Where it is taken, and where it is not; the history has both."""
    browser = await hooked.signed_in(AccountRole.OPERATOR, name="ada")
    assert "was taken (status 200)" in (await browser.post("/subscribers/crm/test")).text
    assert b"test.ping" in receiver.received[0].body
    receiver.answer = lambda _: ScriptedAnswer(status=500)
    refused = (await browser.post("/subscribers/crm/test")).text
    assert "was not taken" in refused
    assert "status 500" in refused
    done = [act for act in await acts(hooked.ledger) if act["act"] == "test subscriber"]
    assert [act["by"] for act in done] == ["ada", "ada"]


async def test_resend_is_counted_confirmed_and_cancelled(
    hooked: ConsoleHarness, kafka_settings: KafkaSettings
):
    """Never more than somebody was shown; one at a time."""
    topics = TopicWriter(kafka_settings)
    topics.opt_outs(*map(a_consent, (1, 2, 3)))
    await lose(hooked.ledger)
    browser = await hooked.signed_in(AccountRole.OPERATOR, name="ada")
    plan = await browser.post("/subscribers/crm/resend", EVERYTHING)
    assert "3 events would be sent again" in plan.text
    assert "consent.opted-out" in plan.text
    names = ("confirmed", "planned", "since", "until")
    order = {name: hidden_field(plan, name) for name in names}
    fewer = await browser.post("/subscribers/crm/resend", {**order, "planned": "2"})
    assert "more than you were shown" in fewer.text
    assert "Cancel the resend" not in (await browser.get("/subscribers/crm")).text
    # What came after the plan is none of it.
    topics.opt_outs(a_consent(4))
    ordered = (await browser.post("/subscribers/crm/resend", order)).text
    assert "3 events are sent again" in ordered
    assert "under way, 0 of 3 events taken" in ordered
    second = await browser.post("/subscribers/crm/resend", order)
    assert (second.status_code, "cancel it first" in second.text) == (409, True)
    assert "The resend is cancelled." in (await browser.post("/subscribers/crm/cancel")).text
    assert (await browser.post("/subscribers/crm/cancel")).status_code == 409
    done = [(act["act"], act["by"]) for act in await acts(hooked.ledger)][-2:]
    assert done == [("resend", "ada"), ("cancel resend", "ada")]


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({}, 422, "neyin yeniden"),
        ({"since": "yesterday"}, 422, "biçiminde yazın"),
        ({"since": "", "recipient": "12"}, 422, "telefon"),
        ({"recipient": "+905550009999"}, 404, "hiçbir kayıt yok"),
        ({"since": "2099-01-01T00:00"}, 200, "yeniden gönderilecek bir şey yok"),
    ],
)
async def test_resend_of_nothing_is_said_in_turkish(
    hooked: ConsoleHarness, form: dict[str, str], status: int, said: str
):
    """Nothing is ordered by it."""
    browser = await hooked.signed_in(AccountRole.OPERATOR, language=Language.TURKISH)
    refused = await browser.post("/subscribers/crm/resend", form)
    assert (refused.status_code, said in refused.text.lower()) == (status, True), refused.text
    assert await hooked.ledger.fetch("SELECT id FROM resends", {}) == []


async def test_recipient_of_a_resend_is_not_in_its_plan(
    hooked: ConsoleHarness, kafka_settings: KafkaSettings
):
    """It is sealed there for the session; what is ordered is of that recipient alone."""
    TopicWriter(kafka_settings).opt_outs(*map(a_consent, (1, 2)))
    await lose(hooked.ledger)
    await entered(hooked, recipient=a_phone(1))
    browser = await hooked.signed_in(AccountRole.OPERATOR, name="ada")
    plan = await browser.post("/subscribers/crm/resend", {"recipient": a_phone(1)})
    assert "1 events would be sent again" in plan.text
    assert a_phone(1) not in plan.text
    names = ("confirmed", "planned", "until", "sealed")
    order = {name: hidden_field(plan, name) for name in names}
    assert "1 events are sent again" in (await browser.post("/subscribers/crm/resend", order)).text
    other = await hooked.signed_in(AccountRole.OPERATOR, name="ela")
    assert (await other.post("/subscribers/crm/resend", order)).status_code == 403


async def test_recipient_of_another_customer_is_not_known(hooked: ConsoleHarness):
    """A resend does not say whether anybody else knows a recipient."""
    await entered(hooked, 100002)
    browser = await hooked.signed_in(AccountRole.OPERATOR, customers=["acme"])
    refused = await browser.post("/subscribers/crm/resend", {"recipient": PHONE})
    assert (refused.status_code, "Nothing is known" in refused.text) == (404, True)


async def test_other_subscriber_is_refused_as_one_that_is_not_there(hooked: ConsoleHarness):
    """Its page, and every act; nothing is changed."""
    browser = await hooked.signed_in(AccountRole.ADMIN, customers=["acme"])
    assert "till" not in (await browser.get("/subscribers")).text
    before = await acts(hooked.ledger)
    for name in ("till", "nobody"):
        answers = [await browser.get(f"/subscribers/{name}")]
        answers += [await browser.post(f"/subscribers/{name}/{one}", EVERYTHING) for one in ACTS]
        assert {one.status_code for one in answers} == {403}
        assert all(REFUSED in one.text for one in answers)
    assert await acts(hooked.ledger) == before


async def test_reader_and_compliance_act_on_no_subscriber(hooked: ConsoleHarness):
    """They see it, and no form."""
    for role in (AccountRole.READER, AccountRole.COMPLIANCE):
        browser = await hooked.signed_in(role)
        assert "/subscribers/crm/pause" not in (await browser.get("/subscribers/crm")).text
        posts = [await browser.post(f"/subscribers/crm/{one}", EVERYTHING) for one in ACTS]
        assert {one.status_code for one in posts} == {403}


async def test_page_is_shown_while_kafka_does_not_answer(
    ledger: Ledger, hooked: ConsoleHarness, monkeypatch: pytest.MonkeyPatch
):
    """So that somebody can still pause a subscriber; what is unread is said to be unknown."""

    def unreachable(*_: object) -> None:
        raise StreamUnavailableError("webhooks: no broker")

    monkeypatch.setattr(subscribers, "ends", unreachable)
    browser = await hooked.signed_in(AccountRole.READER)
    assert "Kafka does not answer" in (await browser.get("/subscribers/crm")).text
