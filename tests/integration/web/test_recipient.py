"""The screen of a recipient: found by what is typed, masked, recorded; what is known, what may be
sent and when; a new consent, the archive of evidence, and erasure.
"""

import asyncio
import re
from datetime import timedelta

import httpx
import pytest

from izin.consent import TURKEY, ConsentEvent
from izin.evidence.verification import verify
from izin.kafka.bounded_reader import TopicRecord, read_all
from izin.kafka.clients import codec
from izin.ledger.console.accounts import AccountRole
from izin.ledger.registry import customers
from izin.runtime.settings import KafkaSettings
from izin.schemas.records import event_from_avro
from izin.views.i18n import Language
from izin.web.screens import new_consent
from tests.integration.sinks.sink_harness import SinkHarness, acts, minutes_ago, onay, until
from tests.support.builders import BRAND, PHONE, a_key, an_iys_event, an_iys_origin
from tests.support.console import Browser, ConsoleHarness, console_over
from tests.support.published import publish_brand

pytestmark = pytest.mark.database
KEY = str(a_key(recipient=PHONE))
TYPED = "0 (555) 000 00 01"
STRANGER = "+905559998877"
_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')
_FORM = re.compile(r'<form method="post" action="([^"?]*)[^"]*"[^>]*>(.*?)</form>', re.DOTALL)


def hidden(page: httpx.Response, path: str) -> dict[str, str]:
    """Return the hidden fields of the first form of a page that is posted to ``path``."""
    body = next(body for action, body in _FORM.findall(page.text) if action == path)
    return dict(_HIDDEN.findall(body))


async def searched(browser: Browser, typed: str = TYPED, **more: str) -> httpx.Response:
    """Return the page of whom the search names."""
    return await browser.post("/recipient", {"recipient": typed, **more})


async def again(browser: Browser, page: httpx.Response, **more: str) -> httpx.Response:
    """Return the page of the same person, asked for more."""
    return await browser.post("/recipient", {"person": person_of(page), **more})


def person_of(page: httpx.Response) -> str:
    """Return whom a page is about, sealed."""
    found = re.search(r'name="person" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


async def parked(harness: SinkHarness) -> None:
    """Have a consent of ours, which nothing proves, over an opt-out that a citizen gave at İYS."""
    at = minutes_ago(60)
    await harness.ingest(an_iys_event(consent_date=at, iys=an_iys_origin(creation_date=at)))
    await harness.set_columns(verified_at=at, verified_by="pull")
    await harness.ingest(onay(source="HS_FIZIKSEL_ORTAM"))
    assert await harness.columns("state", "reason") == ("parked", "reconsent")


async def test_reader_finds_a_recipient_masked_and_it_is_recorded(
    harness: SinkHarness, console: ConsoleHarness
):
    """In any notation; the page has state, history and no recipient, and the look has its actor."""
    await harness.register_onay()
    browser = await console.signed_in(role=AccountRole.READER, name="rea")
    page = await searched(browser)
    assert page.status_code == 200
    assert PHONE not in page.text
    assert TYPED not in page.text
    for words in ("+90***01 · MESAJ", "A message may be sent", "İYS holds the consent", "from web"):
        assert words in page.text
    digest = console.console.settings.suppressions.people(PHONE)[0]
    (look,) = await acts(console.ledger, "look", key=digest)
    assert (look["by"], look["after"]) == ("rea", {"command": "console recipient"})
    assert not set(re.findall(r'(?:href|action|src)="[^"]*(?:905550000001|recipient=)', page.text))


async def test_whole_recipient_needs_the_right_and_a_look(
    harness: SinkHarness, console: ConsoleHarness
):
    """A reader is refused; an operator sees it, which the history has."""
    await harness.register_onay()
    reader = await console.signed_in(role=AccountRole.READER)
    page = await searched(reader)
    assert "Show the whole recipient" not in page.text
    assert (await again(reader, page, unmask="1")).status_code == 403
    operator = await console.signed_in(role=AccountRole.OPERATOR, name="ope")
    page = await again(operator, await searched(operator), unmask="1")
    assert f"{PHONE} · MESAJ" in page.text
    assert [one["by"] for one in await acts(console.ledger, "look")][-2:] == ["ope"] * 2


async def test_sealed_recipient_is_of_its_session_alone(
    harness: SinkHarness, console: ConsoleHarness
):
    """What a page of another session has sealed opens nothing."""
    await harness.register_onay()
    page = await searched(await console.signed_in(name="one"))
    other = await console.signed_in(name="two")
    assert (await again(other, page)).status_code == 403


async def test_what_is_typed_wrong_is_said_beside_the_search(console: ConsoleHarness):
    """And somebody of whom nothing is known is looked at all the same."""
    browser = await console.signed_in(role=AccountRole.READER)
    wrong = await searched(browser, "nobody")
    assert wrong.status_code == 422
    assert "neither a phone number nor an e-mail address" in wrong.text
    assert not await acts(console.ledger, "look")
    assert "Nothing is known" in (await searched(browser, STRANGER)).text
    assert len(await acts(console.ledger, "look")) == 1


async def test_account_of_another_customer_finds_nothing(
    harness: SinkHarness, console: ConsoleHarness
):
    """Neither state nor history, nor a key that another session was shown."""
    await parked(harness)
    await add_customer(console, "beta")
    browser = await console.signed_in(AccountRole.ADMIN, ["beta"])
    page = await searched(browser)
    assert "Nothing is known" in page.text
    assert "reconsent" not in page.text
    asked = {"person": person_of(page), "brand": str(BRAND), "reason": "court"}
    assert (await browser.post("/recipient/evidence", asked)).status_code == 403


async def add_customer(console: ConsoleHarness, name: str) -> None:
    """Register another customer."""
    await customers.add(console.ledger, name, name.title(), by="test", now=console.clock())


async def test_permission_at_an_instant_is_what_was_known_then(
    harness: SinkHarness, console: ConsoleHarness
):
    """Before anything was recorded, and once İYS had the consent."""
    await harness.register_onay()
    browser = await console.signed_in(role=AccountRole.READER)
    page = await searched(browser)
    before = await again(browser, page, at="2020-01-01T12:00")
    assert "On 01.01.2020 12:00:00 nothing was known." in before.text
    late = f"{harness.clock().astimezone(TURKEY) + timedelta(minutes=1):%Y-%m-%dT%H:%M:%S}"
    after = await again(browser, page, at=late)
    assert "by what was known then: yes: İYS holds the consent" in after.text
    assert "That is no instant" in (await again(browser, page, at="soon")).text


async def test_key_with_a_history_alone_is_shown_with_that(
    harness: SinkHarness, console: ConsoleHarness
):
    """As one whose row was erased: nothing stands of it, and nothing is done about it."""
    await harness.ingest(onay())
    await harness.ledger.fetch("DELETE FROM consents RETURNING key")
    browser = await console.signed_in(role=AccountRole.ADMIN)
    page = await searched(browser)
    assert "+90***01 · MESAJ" in page.text
    assert "from web" in page.text
    assert "may be sent</span>" not in page.text
    assert "A new consent is in hand" not in page.text
    assert (await again(browser, page, at="2099-01-01T12:00")).status_code == 200


async def test_recorded_consent_is_confirmed_once_it_was_planned(
    harness: SinkHarness, console: ConsoleHarness
):
    """As ``izin brands requeue``: it goes to İYS, and the history has who vouches for it."""
    await parked(harness)
    browser = await console.signed_in(role=AccountRole.COMPLIANCE, name="cem")
    page = await searched(browser)
    planned = await browser.post(
        "/recipient/consent/confirm", hidden(page, "/recipient/consent/confirm")
    )
    assert "You vouch" in planned.text
    assert await harness.columns("state") == ("parked",)
    form = hidden(planned, "/recipient/consent/confirm")
    assert "You vouch" in (await browser.post("/recipient/consent/confirm", form)).text
    assert await harness.columns("state") == ("parked",)
    form |= {"proof": "form 7"}
    done = await browser.post("/recipient/consent/confirm", form)
    assert "It is confirmed as new, and goes to İYS." in done.text
    assert await harness.columns("state", "attested") == ("pending", True)
    (act,) = await acts(console.ledger, "requeue", key=KEY)
    assert act["by"] == "cem"
    (proven,) = await acts(console.ledger, "vouch for consent", key=KEY)
    assert (proven["by"], proven["after"]) == ("cem", {"proof": "form 7"})
    repeated = await browser.post("/recipient/consent/confirm", form)
    assert "has changed since it was shown" in repeated.text


async def test_reader_and_other_sessions_confirm_nothing(
    harness: SinkHarness, console: ConsoleHarness
):
    """The route needs its right, and a key that this session has sealed."""
    await parked(harness)
    admin = await console.signed_in(role=AccountRole.ADMIN)
    form = hidden(await searched(admin), "/recipient/consent/confirm")
    for role, name in ((AccountRole.READER, "rea"), (AccountRole.OPERATOR, "ope")):
        browser = await console.signed_in(role=role, name=name)
        form["csrf"] = await browser.csrf()
        assert (await browser.post("/recipient/consent/confirm", form)).status_code == 403
    assert await harness.columns("state") == ("parked",)


async def test_consent_without_proof_or_date_is_not_planned(
    harness: SinkHarness, console: ConsoleHarness
):
    """The form says what is missing, keeps what was typed, and nothing is published."""
    await parked(harness)
    browser = await console.signed_in(role=AccountRole.COMPLIANCE)
    page = await searched(browser)
    form = await browser.post("/recipient/consent", hidden(page, "/recipient/consent"))
    fields = {**hidden(form, "/recipient/consent/plan"), "given": "", "source": "HS_WEB"}
    refused = await browser.post("/recipient/consent/plan", fields)
    assert refused.status_code == 422
    for words in ("Say when the consent was given.", "Say what proves the consent."):
        assert words in refused.text
    same = (await harness.row()).desired_at.astimezone(TURKEY)
    refused = await browser.post(
        "/recipient/consent/plan",
        fields | {"given": f"{same:%Y-%m-%dT%H:%M:%S}", "proof": "form 7"},
    )
    assert "A consent of this instant is recorded already." in refused.text
    future = f"{harness.clock().astimezone(TURKEY) + timedelta(days=2):%Y-%m-%dT%H:%M:%S}"
    refused = await browser.post(
        "/recipient/consent/plan", fields | {"given": future, "proof": "form 7"}
    )
    assert refused.status_code == 422
    assert "form 7" in refused.text


@pytest.mark.broker
async def test_consent_in_hand_is_published_with_its_evidence_and_confirmed(
    with_topics: SinkHarness, kafka_settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
):
    """The event has source, date, text and proof; what it parks is confirmed by who vouches."""
    monkeypatch.setattr(new_consent, "_ASKED", 240)  # the test decides on it, and reads Kafka first
    harness = with_topics
    await parked(harness)
    publish_brand(kafka_settings)
    async with console_over(harness.ledger, kafka=kafka_settings) as console:
        browser = await console.signed_in(role=AccountRole.COMPLIANCE, name="cem")
        page = await searched(browser)
        form = await browser.post("/recipient/consent", hidden(page, "/recipient/consent"))
        given = minutes_ago(2).astimezone(TURKEY)
        fields = {
            **hidden(form, "/recipient/consent/plan"),
            "given": f"{given:%Y-%m-%dT%H:%M:%S}",
            "source": "HS_ISLAK_IMZA",
            "notice": "2026-1",
            "proof": "form 7, archive B",
        }
        scan = {"file": ("form.pdf", b"signed", "application/pdf")}
        plan = await browser.post("/recipient/consent/plan", fields, files=scan)
        assert "form 7, archive B; form.pdf" in plan.text
        posted = asyncio.create_task(
            browser.post("/recipient/consent/publish", hidden(plan, "/recipient/consent/publish"))
        )
        event = await published(kafka_settings)
        await harness.ingest(event)
        done = await posted
    assert "The consent is published: applied: newer than the state." in done.text
    assert "It is confirmed as new" in done.text
    assert (event.origin, event.actor, event.notice_version) == ("console", "cem", "2026-1")
    assert event.consent_date == given
    assert event.evidence == {"proof": "form 7, archive B", "file": "form.pdf"}
    assert event.evidence_hash is not None
    assert await harness.columns("state", "desired_source") == ("pending", "HS_ISLAK_IMZA")


async def published(settings: KafkaSettings) -> ConsentEvent:
    """Return the first event on the input topics, once there is one."""
    topics, found = settings.topics, list[TopicRecord]()

    def read() -> bool:
        for topic in (topics.express, topics.events):
            found.extend(read_all(settings, codec(settings), topic))
        return bool(found)

    await until(lambda: asyncio.to_thread(read))
    return event_from_avro(found[0].value)


async def test_evidence_is_downloaded_and_recorded(harness: SinkHarness, console: ConsoleHarness):
    """What ``izin evidence`` collects; the history has who, why and the digest."""
    await harness.register_onay()
    browser = await console.signed_in(role=AccountRole.COMPLIANCE, name="cem")
    page = await searched(browser)
    form = {**hidden(page, "/recipient/evidence"), "brand": str(BRAND)}
    assert (
        "Say what the evidence is needed for."
        in (await browser.post("/recipient/evidence", form)).text
    )
    done = await browser.post("/recipient/evidence", form | {"reason": "court 2026/1"})
    assert done.headers["Content-Type"] == "application/zip"
    assert PHONE not in done.headers["Content-Disposition"]
    found = verify(done.content, None)
    assert not found.faults
    assert (found.header["recipient"], found.header["made_by"]) == (PHONE, "cem")
    (act,) = await acts(console.ledger, "export evidence")
    assert act["after"]["sha256"] == found.sha256
    operator = await console.signed_in(role=AccountRole.OPERATOR)
    assert (await operator.post("/recipient/evidence", form)).status_code == 403


async def test_erasure_is_planned_and_then_requested(harness: SinkHarness, console: ConsoleHarness):
    """A consent that stands is not erased; an opt-out is, by who ordered it."""
    await harness.ingest_opt_out()
    browser = await console.signed_in(role=AccountRole.COMPLIANCE, name="cem")
    page = await searched(browser)
    plan = await browser.post("/recipient/erase", hidden(page, "/recipient/erase"))
    assert "the consent stands" in plan.text
    assert "Nothing can be erased now." in plan.text
    assert await harness.opt_out()
    plan = await browser.post("/recipient/erase", hidden(page, "/recipient/erase"))
    assert "Erase 1 keys" in plan.text
    assert PHONE not in plan.text
    form = hidden(plan, "/recipient/erase")
    assert (
        await browser.post("/recipient/erase", form | {"erasure": form["person"]})
    ).status_code == 403
    done = await browser.post("/recipient/erase", form)
    assert "1 keys are being erased." in done.text
    (act,) = await acts(console.ledger, "request erasure")
    assert act["by"] == "cem"


async def test_screen_speaks_turkish(harness: SinkHarness, console: ConsoleHarness):
    """State, history and acts, by default."""
    await parked(harness)
    browser = await console.signed_in(role=AccountRole.ADMIN, language=Language.TURKISH)
    page = await searched(browser)
    for words in (
        "İleti gönderilemez",
        "karar bekliyor",
        "uygulandı: öncekinden yeni",
        "Bu onayı ispatıyla doğrula",
        "Yeni bir onay gir",
        "marka ekleme",
    ):
        assert words in page.text
