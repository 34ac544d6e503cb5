"""Links that act for a person, and forms: only a POST acts, a link says nothing of its recipient,
and what was never confirmed is no event.
"""

import base64
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import time_machine

from izin.api.bodies import read_via
from izin.consent import SourceError
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.links import BrokenLinkError, LinkKeys, OptOutLink, opt_out_link
from izin.producers.mapping.saved import MappingError
from izin.producers.sources.folder import source_at
from izin.producers.sources.source import FormMapping
from izin.runtime.errors import SettingError
from tests.support.builders import BRAND, EMAIL, PHONE
from tests.unit.producers.conftest import (
    LINK_KEYS,
    NOW,
    FakePublisher,
    FakeReceipts,
    MovingClock,
    intake_client,
)

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
FORM = """
brands = [100001]
capture = "form"
[columns]
"/phone" = "phone"
"/mail" = "email"
"/sms" = "MESAJ.status"
"/news" = "EPOSTA.status"
[constants]
source = "HS_WEB"
notice_version = "2026-03"
[values.status]
on = "ONAY"
off = "RET"
"""
DOUBLE = f'double_opt_in = true\n{FORM}\n[sender]\nkind = "secret"\nsignature = "header:x-secret"\n'
_SENDER = '[sender]\nkind = "secret"\nsignature = "header:x-secret"\n'
BY_IYS = f'{FORM}\n{_SENDER}[via]\nSMS_OTP = "12"\nEPOSTA_SHORTURL = "13"\n'
FILLED_IN = {"phone": "0555 000 00 01", "mail": EMAIL, "sms": "on", "news": "on"}


@pytest.fixture
async def client(
    fake: FakePublisher, directory: BrandDirectory, clock: MovingClock, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a browser: it has no API key."""
    (tmp_path / "signup.toml").write_text(FORM, "utf-8")
    (tmp_path / "double.toml").write_text(DOUBLE, "utf-8")
    (tmp_path / "byiys.toml").write_text(BY_IYS, "utf-8")
    for name in ("double", "byiys"):
        (tmp_path / f"{name}.secret").write_text("a secret", "utf-8")
    receipts = FakeReceipts([], clock)
    async with intake_client(fake, directory, clock, receipts, tmp_path) as client:
        del client.headers["Authorization"]
        yield client


def path_of(url: str) -> str:
    return urlsplit(url).path


def a_link(**given: Any) -> str:  # noqa: ANN401 - of the function
    link = {"brand_code": BRAND, "channel": "EPOSTA", "recipient": EMAIL, **given}
    return path_of(opt_out_link(LINK_KEYS, "http://intake/", **link))


async def test_only_a_post_opts_out(client: httpx.AsyncClient, fake: FakePublisher):
    """As mail programs open links by themselves. Posted again it is the same event."""
    page = await client.get(a_link(others=[PHONE]))
    assert page.status_code == 200
    assert "script" not in page.text
    assert "set-cookie" not in page.headers
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert EMAIL not in page.text
    assert page.text.count("<button") == 4
    assert fake.events == []
    for _ in range(2):
        done = await client.post(a_link(), data=ONE_CLICK)
        assert (done.status_code, "Done" in done.text) == (200, True)
    link = a_link()
    for _ in range(2):
        await client.post(link, data=ONE_CLICK)
    assert {(one.recipient, one.type, one.status, one.source) for one in fake.events} == {
        (EMAIL, "EPOSTA", "RET", "HS_EPOSTA")
    }
    assert len({one.event_id for one in fake.events}) == 3
    assert {one.consent_date for one in fake.events} == {NOW}


async def test_everything_of_a_brand_is_every_address_of_the_link(
    client: httpx.AsyncClient, fake: FakePublisher
):
    """A number is that of calls and of text messages."""
    await client.post(a_link(others=[PHONE]), data={"scope": "brand"})
    assert {(one.type, one.recipient) for one in fake.events} == {
        ("EPOSTA", EMAIL),
        ("ARAMA", PHONE),
        ("MESAJ", PHONE),
    }


@pytest.mark.parametrize(
    "form", [{"files": {"scope": (None, "brand")}}, {"json": 1}, {"data": ONE_CLICK}]
)
async def test_any_body_opts_out_of_the_channel_at_least(
    client: httpx.AsyncClient, fake: FakePublisher, form: dict[str, Any]
):
    """Multipart is what RFC 8058 allows as well."""
    assert (await client.post(a_link(), **form)).status_code == 200
    assert [one.type for one in fake.events] == ["EPOSTA"]


async def test_link_says_nothing_of_its_recipient(client: httpx.AsyncClient):
    """Not by its length either; and nobody can make or change one."""
    short, long = a_link(recipient="a@example.com"), a_link(recipient="a" * 12 + "@example.com")
    assert len(short) == len(long)
    assert b"example" not in base64.urlsafe_b64decode(short.rpartition("/")[2])
    for changed in (short[:-6] + "AAAAA=", short[:-9], "/v1/opt-out/x", "/v1/opt-out/ğ"):
        for method in ("GET", "POST"):
            answer = await client.request(method, changed)
            assert (answer.status_code, "geçerli değil" in answer.text) == (404, True)


async def test_retired_secret_opens_and_never_seals():
    """Links in old mails go on to work, and new ones are of the newest secret."""
    old, new = "the old one, of 32 characters ...", "the new one, of 32 characters ..."
    link = OptOutLink(brand_code=BRAND, channel="EPOSTA", recipients={"EPOSTA": EMAIL})
    before = link.sealed(LinkKeys([old]))
    assert OptOutLink.opened(LinkKeys([new, old]), before) == link
    after = link.sealed(LinkKeys([new, old]))
    assert OptOutLink.opened(LinkKeys([new]), after) == link
    with pytest.raises(BrokenLinkError):
        OptOutLink.opened(LinkKeys([new]), before)


def test_secret_that_is_short_or_missing_is_an_error():
    """It names the variable that operators set."""
    for texts in ([], ["short"]):
        with pytest.raises(SettingError, match="IZIN_LINK_SECRETS"):
            LinkKeys(texts)
    with pytest.raises(SourceError, match="none of the channel"):
        a_link(recipient=PHONE)


async def test_brand_that_is_served_no_more_is_a_page(client: httpx.AsyncClient):
    """With the status that a mail program understands."""
    assert (await client.post(a_link(brand_code=100002))).status_code == 404


async def test_kafka_that_is_away_is_a_page_that_says_later(
    client: httpx.AsyncClient, fake: FakePublisher
):
    """Nothing is said to be done that is not."""
    fake.is_away_for = lambda _: True
    answer = await client.post(a_link())
    assert (answer.status_code, "try again" in answer.text) == (503, True)


@pytest.mark.parametrize("how", ["data", "json", "multipart"])
async def test_form_is_an_event_for_each_box(
    client: httpx.AsyncClient, fake: FakePublisher, how: str
):
    """With what the server knows as evidence; the answer has a link to take it back."""
    body = {"data": FILLED_IN, "json": FILLED_IN}.get(how)
    if how == "multipart":
        sent: dict[str, Any] = {"files": {name: (None, text) for name, text in FILLED_IN.items()}}
    else:
        sent = {how: body}
    answer = await client.post("/v1/forms/signup", headers={"User-Agent": "a browser"}, **sent)
    assert answer.status_code == 202
    assert [(one.type, one.recipient) for one in fake.events] == [
        ("MESAJ", PHONE),
        ("EPOSTA", EMAIL),
    ]
    event = fake.events[0]
    assert (event.origin, event.consent_date, event.notice_version) == (
        "forms/signup",
        NOW,
        "2026-03",
    )
    assert event.evidence == {
        "capture": "form",
        "form": "signup",
        "ip": "127.0.0.1",
        "user_agent": "a browser",
    }
    links = [path_of(one["opt_out"]) for one in answer.json()["events"]]
    await client.post(links[1], data=ONE_CLICK)
    assert (fake.events[-1].status, fake.events[-1].recipient) == ("RET", EMAIL)


async def test_form_says_what_is_wrong(client: httpx.AsyncClient, fake: FakePublisher):
    """To a back end by the fields, to a browser by a page."""
    answer = await client.post("/v1/forms/signup", data={"phone": "12", "sms": "on"})
    assert answer.status_code == 422
    assert [one["code"] for one in answer.json()["violations"]] == ["H121"]
    for phone, status in (("12", 422), (PHONE, 202)):
        page = await client.post(
            "/v1/forms/signup", data={"phone": phone, "sms": "on"}, headers={"Accept": "text/html"}
        )
        assert (page.status_code, page.headers["content-type"][:9]) == (status, "text/html")
    assert (await client.post("/v1/forms/signup", content=b"{")).status_code == 400
    assert (await client.post("/v1/forms/none", data={})).status_code == 404
    assert len(fake.events) == 1


async def test_box_that_is_not_ticked_is_no_event(client: httpx.AsyncClient, fake: FakePublisher):
    """It says neither yes nor no."""
    answer = await client.post("/v1/forms/signup", data={"phone": PHONE, "mail": EMAIL})
    assert (answer.status_code, answer.json()) == (202, {"events": []})
    assert fake.events == []
    page = await client.post(
        "/v1/forms/signup", data={"phone": PHONE}, headers={"Accept": "text/html"}
    )
    assert "nothing was recorded" in page.text


async def test_opt_in_waits_until_it_is_confirmed(
    client: httpx.AsyncClient, fake: FakePublisher, clock: MovingClock
):
    """It counts from when it was entered, once however often; an opt-out beside it never waits."""
    secret = {"x-secret": "a secret"}
    assert (await client.post("/v1/forms/double", data=FILLED_IN)).status_code == 401
    answer = await client.post(
        "/v1/forms/double", data={**FILLED_IN, "news": "off"}, headers=secret
    )
    assert [(one.status, one.type) for one in fake.events] == [("RET", "EPOSTA")]
    link = path_of(answer.json()["confirm"]["MESAJ"])
    assert EMAIL not in json.dumps(answer.json())
    entered_at = clock.now
    clock.now += timedelta(hours=1)
    assert "Stop" not in (page := await client.get(link)).text
    assert "May Example send you commercial messages: text messages?" in page.text
    assert len(fake.events) == 1
    for _ in range(2):
        assert (await client.post(link)).status_code == 200
    assert {(one.status, one.type, one.consent_date) for one in fake.events[1:]} == {
        ("ONAY", "MESAJ", entered_at)
    }
    assert len({one.event_id for one in fake.events[1:]}) == 1
    event = fake.events[1]
    assert (event.origin, event.notice_version) == ("forms/double", "2026-03")
    assert set(event.evidence) >= {"capture", "form", "ip", "link", "entered_at", "entered_ip"}


async def test_confirmation_while_receipts_are_away_is_to_be_repeated(
    fake: FakePublisher, directory: BrandDirectory, clock: MovingClock, tmp_path: Path
):
    """Its instant cannot be determined: the page says later, and nothing is published."""
    (tmp_path / "double.toml").write_text(DOUBLE, "utf-8")
    (tmp_path / "double.secret").write_text("a secret", "utf-8")
    receipts = FakeReceipts([], clock)
    async with intake_client(fake, directory, clock, receipts, tmp_path) as client:
        answer = await client.post(
            "/v1/forms/double", data=FILLED_IN, headers={"x-secret": "a secret"}
        )
        links = {path_of(link) for link in answer.json()["confirm"].values()}
        receipts.is_away = True
        for link in links:
            page = await client.post(link)
            assert (page.status_code, "try again" in page.text, fake.events) == (503, True, [])
        receipts.is_away = False
        for link in links:
            assert (await client.post(link)).status_code == 200
    assert len(fake.events) == len(links) == 2


async def test_link_confirms_for_the_recipient_who_got_it(
    client: httpx.AsyncClient, fake: FakePublisher
):
    """An address that was entered beside a number proves nothing of that."""
    secret = {"x-secret": "a secret"}
    answer = await client.post("/v1/forms/double", data=FILLED_IN, headers=secret)
    assert (await client.post(path_of(answer.json()["confirm"]["EPOSTA"]))).status_code == 200
    assert [(one.type, one.recipient) for one in fake.events] == [("EPOSTA", EMAIL)]


@pytest.mark.parametrize(
    "alter",
    [
        lambda link: f"{link}y",
        lambda link: f"{link}.",
        lambda link: f"{link}==",
        lambda link: f"{link[:30]}!{link[30:]}",
        lambda link: f"{link[:30]}%0A{link[30:]}",
    ],
)
async def test_altered_text_of_a_link_is_no_link(
    client: httpx.AsyncClient, fake: FakePublisher, alter: Callable[[str], str]
):
    """It would be another act: an opt-in over the opt-out that came since."""
    secret = {"x-secret": "a secret"}
    answer = await client.post("/v1/forms/double", data=FILLED_IN, headers=secret)
    link = path_of(answer.json()["confirm"]["MESAJ"])
    assert (await client.post(alter(link))).status_code == 404
    assert fake.events == []


async def test_opt_out_outranks_a_link_that_was_made_before_it(
    client: httpx.AsyncClient, fake: FakePublisher, clock: MovingClock
):
    """Also one that is confirmed, or confirmed again, the day after, when nobody remembers it."""
    secret = {"x-secret": "a secret"}
    answer = await client.post("/v1/forms/double", data=FILLED_IN, headers=secret)
    link = path_of(answer.json()["confirm"]["MESAJ"])
    assert (await client.post(link)).status_code == 200
    clock.now += timedelta(minutes=1)
    await client.post(
        "/v1/forms/double", data={**FILLED_IN, "sms": "off", "news": ""}, headers=secret
    )
    clock.now += timedelta(days=1, hours=3)
    assert (await client.post(link)).status_code == 200
    first, opted_out, again = fake.events
    assert (opted_out.status, again.status, again.event_id) == ("RET", "ONAY", first.event_id)
    assert again.consent_date == first.consent_date
    assert again.consent_date < opted_out.received_at


async def test_confirmation_that_comes_too_late_is_no_event(
    client: httpx.AsyncClient, fake: FakePublisher, clock: MovingClock
):
    """Up to the last second it is one."""
    with time_machine.travel(NOW, tick=False):
        answer = await client.post(
            "/v1/forms/double", data=FILLED_IN, headers={"x-secret": "a secret"}
        )
    link = path_of(answer.json()["confirm"]["MESAJ"])
    clock.now = NOW + timedelta(days=2)
    assert (await client.get(link)).status_code == 200
    clock.now += timedelta(seconds=1)
    assert (await client.post(link)).status_code == 404
    assert fake.events == []


async def test_what_would_be_refused_is_refused_before_it_is_sealed(client: httpx.AsyncClient):
    """Nobody is asked to confirm what cannot be registered."""
    answer = await client.post(
        "/v1/forms/double",
        data={"phone": "12", "sms": "on"},
        headers={"x-secret": "a secret"},
    )
    assert (answer.status_code, "confirm" in answer.json()) == (422, False)


async def test_links_of_one_kind_are_of_no_use_as_the_other(
    client: httpx.AsyncClient, fake: FakePublisher
):
    """An opt-out cannot be confirmed, and what waits for its confirmation opts nobody out."""
    answer = await client.post("/v1/forms/double", data=FILLED_IN, headers={"x-secret": "a secret"})
    sealed = answer.json()["confirm"]["MESAJ"].rpartition("/")[2]
    assert (await client.post(f"/v1/opt-out/{sealed}")).status_code == 404
    sealed = a_link().rpartition("/")[2]
    assert (await client.post(f"/v1/confirm/{sealed}")).status_code == 404
    assert fake.events == []


async def test_form_whose_consents_iys_asks_for_publishes_none(
    client: httpx.AsyncClient, fake: FakePublisher
):
    """The answer has what is to be posted to `izin api`; an opt-out beside it never waits."""
    secret = {"x-secret": "a secret"}
    assert (await client.post("/v1/forms/byiys", data=FILLED_IN)).status_code == 401
    answer = await client.post("/v1/forms/byiys", data={**FILLED_IN, "news": "off"}, headers=secret)
    assert answer.status_code == 202
    assert [(one.status, one.type) for one in fake.events] == [("RET", "EPOSTA")]
    asked = {"brand_code": BRAND, "recipient_type": None, "occasion": "form"}
    by_text = {"recipient": PHONE, "types": ["MESAJ"], "way": "SMS_OTP", "form_id": "12"}
    assert answer.json()["via"] == [asked | by_text]
    start, occasion = read_via("application/json", json.dumps(asked | by_text).encode())
    assert (start.recipient, occasion) == (PHONE, "form")
    both = (await client.post("/v1/forms/byiys", data=FILLED_IN, headers=secret)).json()["via"]
    by_mail = {"recipient": EMAIL, "types": ["EPOSTA"], "way": "EPOSTA_SHORTURL", "form_id": "13"}
    assert sorted(both, key=str) == sorted([asked | by_text, asked | by_mail], key=str)
    wrong = await client.post("/v1/forms/byiys", data={**FILLED_IN, "phone": "1"}, headers=secret)
    assert (wrong.status_code, "via" in wrong.json()) == (422, False)
    assert len(fake.events) == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"double_opt_in = true\n{BY_IYS}", "choose one"),
        (BY_IYS.replace(_SENDER, ""), r"\[sender\]"),
        (BY_IYS.replace('"form"', '"paper"', 1), "form, call, shop"),
        (BY_IYS.replace("SMS_OTP", "SMS"), "via"),
    ],
)
def test_form_that_iys_asks_for_is_checked(tmp_path: Path, text: str, fault: str):
    """It is one way of two, for a back end, and on an occasion of the person's own."""
    (tmp_path / "mine.toml").write_text(text, "utf-8")
    (tmp_path / "mine.secret").write_text("a secret", "utf-8")
    with pytest.raises(MappingError, match=fault):
        source_at(tmp_path, "mine", FormMapping)


def test_double_opt_in_needs_a_sender(tmp_path: Path):
    """Who posts a form of their own would open the link themselves."""
    (tmp_path / "mine.toml").write_text(f"double_opt_in = true\n{FORM}", "utf-8")
    with pytest.raises(MappingError, match="needs a \\[sender\\]"):
        source_at(tmp_path, "mine", FormMapping)
