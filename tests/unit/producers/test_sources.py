"""Webhooks of foreign systems: each recipe reads the payload that its system is known to send, what
is none of an event becomes a dead letter with its bytes, and nobody is believed who proves nothing.
"""

import base64
import hmac
import json
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from standardwebhooks import Webhook
from typer.testing import CliRunner

from izin import producers
from izin.cli.cli import app
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.sources.folder import source_at
from izin.producers.sources.source import SourceMapping
from izin.schemas.codec import Codec
from tests.support.builders import BRAND, EMAIL, PHONE
from tests.unit.producers.conftest import (
    NOW,
    FakePublisher,
    FakeReceipts,
    MovingClock,
    intake_client,
)

RECIPES = Path(producers.__file__).parent / "sources" / "recipes"
SECRET = "whsec_" + base64.b64encode(b"not a secret, 24 bytes..").decode()
AT = (NOW - timedelta(minutes=5)).replace(microsecond=0)
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = base64.b64encode(
    KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()
TEXT = "a text that only two know"
Posted = tuple[str, Mapping[str, str], bytes]
"""What stands behind the path, headers, body."""


def unix(at: datetime) -> int:
    return int(at.timestamp())


def of_json(value: object, **headers: str) -> tuple[dict[str, str], bytes]:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return {"content-type": "application/json", **named}, json.dumps(value).encode()


def shopify(**email: object) -> Posted:
    consent = {"state": "unsubscribed", "consent_updated_at": AT.isoformat(), **email}
    sms = {"state": "not_subscribed", "consent_updated_at": None}
    headers, body = of_json(
        {"id": 1, "email": EMAIL, "phone": None, "email_marketing_consent": consent,
         "sms_marketing_consent": sms},
        x_shopify_topic="customers/update", x_shopify_event_id="e-1",
    )  # fmt: skip
    digest = base64.b64encode(hmac.digest(TEXT.encode(), body, "sha256")).decode()
    return "", {**headers, "x-shopify-hmac-sha256": digest}, body


def salesforce() -> Posted:
    header = {"entityName": "ContactPointTypeConsent", "changeType": "UPDATE",
              "transactionKey": "t-1", "commitTimestamp": unix(AT) * 1000}  # fmt: skip
    change = {"ChangeEventHeader": header, "ContactPointType": "Email", "Email__c": EMAIL,
              "PrivacyConsentStatus": "OptOut", "CaptureDate": unix(AT) * 1000}  # fmt: skip
    headers, body = of_json({"schema": "s", "payload": change, "event": {"replayId": 1}})
    return "", {**headers, "x-source-secret": TEXT}, body


def dynamics() -> Posted:
    attributes = [
        {"key": "msdynmkt_contactpointvalue", "value": EMAIL},
        {"key": "msdynmkt_contactpointtype", "value": {"Value": 534120000}},
        {"key": "msdynmkt_value", "value": {"Value": 534120002}},
    ]
    headers, body = of_json(
        {
            "PrimaryEntityName": "msdynmkt_contactpointconsent4",
            "OperationId": "o-1",
            "OperationCreatedOn": f"/Date({unix(AT) * 1000}+0000)/",
            "PostEntityImages": [
                {"key": "image", "value": {"Attributes": attributes, "Id": "c-1"}}
            ],
        }
    )
    return "", {**headers, "x-source-secret": TEXT}, body


def segment() -> Posted:
    headers, body = of_json(
        {
            "type": "track",
            "event": "Marketing Consent Changed",
            "messageId": "m-1",
            "userId": "u-1",
            "timestamp": AT.isoformat(),
            "properties": {"email": EMAIL, "channel": "email", "consent": False},
            "context": {"ip": "192.0.2.1"},
        }
    )
    digest = hmac.digest(TEXT.encode(), body, "sha1").hex()
    return "", {**headers, "x-signature": digest}, body


def sendgrid(at: datetime = NOW) -> Posted:
    headers, body = of_json(
        [
            {"email": EMAIL, "timestamp": unix(AT), "event": "delivered", "sg_event_id": "s-0"},
            {"email": EMAIL, "timestamp": unix(AT), "event": "spamreport", "sg_event_id": "s-1"},
        ]
    )
    instant = str(unix(at))
    signature = base64.b64encode(KEY.sign(instant.encode() + body, ec.ECDSA(SHA256()))).decode()
    name = "x-twilio-email-event-webhook"
    return "", {**headers, f"{name}-signature": signature, f"{name}-timestamp": instant}, body


def mailgun() -> Posted:
    instant, token = str(unix(NOW)), "token"
    digest = hmac.digest(TEXT.encode(), f"{instant}{token}".encode(), "sha256").hex()
    event = {"id": "g-1", "event": "unsubscribed", "timestamp": unix(AT) + 0.25, "recipient": EMAIL}
    signature = {"timestamp": instant, "token": token, "signature": digest}
    return "", *of_json({"signature": signature, "event-data": event})


def netgsm(text: str = "MARKA RET") -> Posted:
    fields = {"gsm": "05550000001", "message": text, "date": AT.isoformat()}
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return f"?secret={TEXT}", headers, urlencode(fields).encode()


def iletimerkezi() -> Posted:
    messages = [{"number": "05550000001", "body": "lütfen stop artık", "time": AT.isoformat()}]
    return f"?secret={TEXT}", *of_json(messages)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every recipe with a secret."""
    for recipe in RECIPES.glob("*.toml"):
        shutil.copy(recipe, tmp_path)
        secret = PUBLIC if recipe.stem == "sendgrid" else TEXT
        (tmp_path / f"{recipe.stem}.secret").write_text(f"an older one\n{secret}\n", "utf-8")
    return tmp_path


Post = Callable[..., Any]


@pytest.fixture
async def post(
    fake: FakePublisher, directory: BrandDirectory, clock: MovingClock, folder: Path
) -> AsyncIterator[Post]:
    """Post a delivery to a source."""
    async with posting(fake, directory, clock, folder, FakeReceipts([], clock)) as one:
        yield one


@asynccontextmanager
async def posting(
    fake: FakePublisher,
    directory: BrandDirectory,
    clock: MovingClock,
    folder: Path,
    receipts: FakeReceipts,
) -> AsyncIterator[Post]:
    async with intake_client(fake, directory, clock, receipts, folder) as client:
        del client.headers["Authorization"]

        async def run(name: str, posted: Posted) -> httpx.Response:
            behind, headers, body = posted
            url = f"/v1/sources/{name}{behind}"
            return await client.post(url, content=body, headers=dict(headers))

        yield run


def letters_of(fake: FakePublisher) -> list[dict[str, Any]]:
    return [Codec().decode("DeadLetter", one.value) for one in fake.letters]


@pytest.mark.parametrize(
    ("name", "posted"),
    [
        ("shopify", shopify()),
        ("salesforce", salesforce()),
        ("dynamics", dynamics()),
        ("segment", segment()),
        ("sendgrid", sendgrid()),
        ("mailgun", mailgun()),
        ("netgsm", netgsm()),
        ("iletimerkezi", iletimerkezi()),
    ],
    ids=lambda one: one if isinstance(one, str) and one.isalpha() else "",
)
async def test_recipe_reads_an_opt_out(post: Post, fake: FakePublisher, name: str, posted: Posted):
    """One event, of the instant that the system states; the same webhook twice is one."""
    answers = [await post(name, posted) for _ in range(2)]
    assert [one.status_code for one in answers] == [202, 202]
    assert letters_of(fake) == []
    assert len(fake.events) == 2
    assert len({one.event_id for one in fake.events}) == 1
    event = fake.events[0]
    sent_to = (PHONE, "MESAJ") if name in {"netgsm", "iletimerkezi"} else (EMAIL, "EPOSTA")
    assert (event.recipient, event.type, event.status) == (*sent_to, "RET")
    assert (event.brand_code, event.origin, event.consent_date) == (BRAND, f"sources/{name}", AT)
    assert event.actor == event.origin


async def test_recipe_reads_an_opt_in(post: Post, fake: FakePublisher):
    """What it says of nobody is no event: the state of text messages without a number."""
    assert (await post("shopify", shopify(state="subscribed"))).status_code == 202
    assert [(one.status, one.recipient) for one in fake.events] == [("ONAY", EMAIL)]


@pytest.mark.parametrize("state", ["pending", "not_subscribed"])
async def test_status_that_says_nothing_is_no_event(post: Post, fake: FakePublisher, state: str):
    """Nor a dead letter."""
    answer = await post("shopify", shopify(state=state))
    assert answer.json()["events"] == []
    assert (fake.events, fake.letters) == ([], [])


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b'{"a": 1}', b"[]", b"[1, null]", b"null", b"1e999"]
)
async def test_what_does_not_map_is_a_dead_letter_with_its_bytes(
    post: Post, fake: FakePublisher, body: bytes
):
    """Where the sender is proven, and answered with 202: it would repeat for ever what it cannot
    correct.
    """
    answer = await post("netgsm", (f"?secret={TEXT}", {"content-type": "application/json"}, body))
    assert answer.status_code == 202
    assert fake.events == []
    letters = letters_of(fake)
    assert answer.json()["dead_letters"] == len(letters) == (body != b"[]")
    for letter in letters:
        assert (letter["reason"], letter["topic"]) == ("unmapped", "sources/netgsm")
        assert letter["value"] == body


async def test_what_does_not_map_is_counted(
    fake: FakePublisher, directory: BrandDirectory, clock: MovingClock, folder: Path
):
    """By a metric of its own, of which somebody is alerted: an opt-out may be in it."""
    async with intake_client(fake, directory, clock, FakeReceipts([], clock), folder) as client:
        url = f"/v1/sources/netgsm?secret={TEXT}"
        headers = {"content-type": "application/json", "authorization": ""}
        assert (await client.post(url, content=b"?", headers=headers)).status_code == 202
        page = (await client.get("http://operations/metrics")).text
    assert 'izin_intake_records_total{outcome="dead_letter"} 1.0' in page


@pytest.mark.parametrize(("secret", "code"), [(TEXT, 0), ("a wrong one", 1)])
def test_trial_with_a_wrong_secret_ends_with_1(
    folder: Path, tmp_path: Path, secret: str, code: int
):
    """As the intake would refuse it; what it says is shown all the same."""
    _, headers, body = netgsm()
    (tmp_path / "body").write_bytes(body)
    given = [f"--header={name}: {value}" for name, value in dict(headers).items()]
    words = ["sources", "test", "netgsm", str(tmp_path / "body"), f"--folder={folder}", *given]
    done = CliRunner().invoke(app, [*words, f"--query=secret={secret}"])
    assert done.exit_code == code, done.output
    assert f"by the mapping {folder / 'netgsm.toml'}" in done.stderr


async def test_deeply_nested_payload_is_a_dead_letter(post: Post, fake: FakePublisher):
    """It is kept as it came, at every depth from the bound to where Python gives up."""
    headers = {"content-type": "application/json"}
    for depth in (*range(100, 1010), 5000):
        body = b'{"date": "2026-03-02", "more": ' + b"[" * depth + b"]" * depth + b"}"
        answer = await post("netgsm", (f"?secret={TEXT}", headers, body))
        assert (answer.status_code, answer.json()["dead_letters"]) == (202, 1), depth
    assert fake.events == []


async def test_unreadable_date_of_an_opt_out_is_no_reason_to_lose_it(
    post: Post, fake: FakePublisher
):
    """It counts from its receipt."""
    assert (await post("shopify", shopify(consent_updated_at="soon"))).status_code == 202
    assert [one.status for one in fake.events] == ["RET"]


async def test_part_that_is_refused_leaves_the_others(post: Post, fake: FakePublisher):
    """An event for each that maps, and one dead letter of the delivery, which can be read anew."""
    messages = [{"number": number, "body": "RET"} for number in (PHONE, "12", "13")]
    answer = await post("iletimerkezi", (f"?secret={TEXT}", *of_json(messages)))
    assert answer.status_code == 202
    assert [one.recipient for one in fake.events] == [PHONE]
    (letter,) = letters_of(fake)
    assert json.loads(letter["value"]) == messages
    assert [one["code"] for one in letter["violations"]] == ["H121"]


LOYALTY = """
brands = [100001]
records = "/changes"
id = "header:x-delivery"
[columns]
"payload:/member/phone" = "phone"
"/medium" = "type"
"/answer" = "status"
[values.status]
evet = "ONAY"
hayir = "RET"
[constants]
source = "HS_WEB"
date_basis = "received"
[sender]
kind = "secret"
signature = "query:secret"
"""


@pytest.mark.parametrize("beside", [10, 60_000, 500_000])
async def test_large_delivery_has_few_dead_letters_that_can_be_read(
    post: Post, fake: FakePublisher, tmp_path: Path, beside: int
):
    """However many of its records do not map, and however much stands beside them: each letter is
    within what is kept, and no record is in none.
    """
    (tmp_path / "loyalty.toml").write_text(LOYALTY, "utf-8")
    (tmp_path / "loyalty.secret").write_text(TEXT, "utf-8")
    changes = [{"medium": "WHATSAPP", "answer": "hayir", "no": one} for one in range(4000)]
    payload = {"member": {"phone": PHONE}, "padding": "x" * beside, "changes": changes}
    body = json.dumps(payload).encode()
    headers = {"content-type": "application/json"}
    answer = await post("loyalty", (f"?secret={TEXT}", headers, body))
    assert answer.status_code == 202
    letters = letters_of(fake)
    assert answer.json()["dead_letters"] == len(letters) < 10
    kept = [json.loads(one["value"]) for one in letters]
    assert [one for some in kept for one in some["changes"]] == changes
    assert all(one["value_size"] == len(one["value"]) for one in letters)


@pytest.mark.parametrize("others", [1, 3000])
async def test_dead_letter_of_a_record_has_whose_it_is(
    post: Post, fake: FakePublisher, tmp_path: Path, others: int
):
    """Also where the delivery is too large to be kept whole: what the mapping reads beside a record
    is kept with it, and so are the headers.
    """
    (tmp_path / "loyalty.toml").write_text(LOYALTY, "utf-8")
    (tmp_path / "loyalty.secret").write_text(TEXT, "utf-8")
    payload = {
        "member": {"phone": PHONE},
        "changes": [
            {"medium": "WHATSAPP", "answer": "hayir"},
            *[{"medium": "SMS", "answer": "hayir"}] * others,
        ],
    }
    headers = {"content-type": "application/json", "x-delivery": "d-1"}
    body = json.dumps(payload).encode()
    answer = await post("loyalty", (f"?secret={TEXT}", headers, body))
    assert (answer.status_code, answer.json()["dead_letters"]) == (202, 1)
    (letter,) = letters_of(fake)
    kept = json.loads(letter["value"])
    assert kept["member"] == {"phone": PHONE}
    assert kept["changes"][0] == payload["changes"][0]
    assert {one["name"]: one["value"] for one in letter["headers"]}["x-delivery"] == b"d-1"


@pytest.mark.parametrize(
    ("name", "posted", "title"),
    [
        ("shopify", ("", {}, b"{}"), "Not signed"),
        ("shopify", ("", {"x-shopify-hmac-sha256": "AAAA"}, b"{}"), "Wrong signature"),
        ("shopify", ("", shopify()[1], shopify(state="subscribed")[2]), "Wrong signature"),
        ("sendgrid", sendgrid(NOW - timedelta(minutes=6)), "Signature out of time"),
        ("sendgrid", sendgrid(NOW + timedelta(minutes=6)), "Signature out of time"),
        ("sendgrid", ("", {**sendgrid()[1], "x-twilio-email-event-webhook-timestamp": "x"}, b"[]"),
         "Not signed"),
        ("mailgun", ("", *of_json({"signature": "x"})), "Not signed"),
        ("netgsm", ("", *netgsm()[1:]), "Not signed"),
        ("netgsm", ("?secret=other", *netgsm()[1:]), "Wrong signature"),
        ("netgsm", ("?secret=", *netgsm()[1:]), "Not signed"),
    ],
)  # fmt: skip
async def test_sender_that_proves_nothing_changes_nothing(
    post: Post, fake: FakePublisher, name: str, posted: Posted, title: str
):
    """Each with its answer, in which no secret stands."""
    answer = await post(name, posted)
    assert (answer.status_code, answer.json()["title"]) == (401, title)
    assert (fake.events, fake.letters) == ([], [])
    assert TEXT not in answer.text


MAPPING = """
brands = [100001]
id = "header:webhook-id"
[sender]
kind = "standard-webhooks"
[columns]
"/who" = "recipient"
"/channel" = "type"
"/answer" = "status"
[constants]
source = "HS_WEB"
date_basis = "received"
[values.status]
yes = "ONAY"
no = "RET"
"""


def write(folder: Path, name: str, mapping: str = MAPPING, secret: str = SECRET) -> None:
    (folder / f"{name}.toml").write_text(mapping, "utf-8")
    (folder / f"{name}.secret").write_text(secret, "utf-8")


def standard(answer: str = "yes", at: datetime = NOW, number: int = 1) -> Posted:
    """Sign by the library of Standard Webhooks, as others do."""
    headers, body = of_json({"who": PHONE, "channel": "SMS", "answer": answer})
    signature = Webhook(SECRET).sign(f"w-{number}", at, body.decode())
    named = {"id": f"w-{number}", "timestamp": str(unix(at)), "signature": f"v1a,x {signature}"}
    return "", {**headers, **{f"webhook-{name}": text for name, text in named.items()}}, body


def nobody() -> Posted:
    headers, body = of_json({"answer": "no"})
    named = {"id": "w-9", "timestamp": str(unix(NOW)),
             "signature": Webhook(SECRET).sign("w-9", NOW, body.decode())}  # fmt: skip
    return "", {**headers, **{f"webhook-{name}": text for name, text in named.items()}}, body


async def test_mapping_is_used_as_soon_as_it_is_written(
    post: Post, fake: FakePublisher, folder: Path
):
    """And as it was before, where what was written then cannot be used."""
    assert (await post("mine", standard())).status_code == 404
    write(folder, "mine")
    assert (await post("mine", standard())).status_code == 202
    write(folder, "mine", MAPPING.replace("/who", "/whom"))
    assert (await post("mine", standard(number=2))).json()["dead_letters"] == 1
    write(folder, "mine", "brands = 1")
    assert (await post("mine", standard(number=3))).json()["dead_letters"] == 1
    write(folder, "other", "brands = 1")
    assert (await post("other", standard())).status_code == 503
    assert [one.consent_date for one in fake.events] == [NOW]


async def test_opt_in_counts_from_its_receipt_only_where_it_proves_when(
    post: Post, fake: FakePublisher, folder: Path
):
    """Of a delivery that somebody has recorded nobody may make a consent of today."""
    sender = 'kind = "hmac"\nsignature = "header:x-signature"'
    write(folder, "mine", MAPPING.replace('kind = "standard-webhooks"', sender), TEXT)
    for answer in ("yes", "no"):
        _, headers, body = standard(answer)
        headers = {**headers, "x-signature": hmac.digest(TEXT.encode(), body, "sha256").hex()}
        assert (await post("mine", ("", headers, body))).status_code == 202
    assert [one.status for one in fake.events] == ["RET"]
    assert len(fake.letters) == 1


async def test_same_delivery_at_two_replicas_is_one_event(
    fake: FakePublisher, directory: BrandDirectory, clock: MovingClock, folder: Path
):
    """With the instant of its first receipt, also once the clock has moved on."""
    write(folder, "mine")
    log: list[Any] = []
    for _ in range(2):
        receipts = FakeReceipts(log, clock)
        async with posting(fake, directory, clock, folder, receipts) as post:
            assert (await post("mine", standard())).status_code == 202
        clock.now += timedelta(minutes=1)
    assert len({(one.event_id, one.consent_date) for one in fake.events}) == 1
    assert len(fake.events) == 2


async def test_reply_without_a_brand_means_all(
    post: Post, fake: FakePublisher, folder: Path, directory: BrandDirectory
):
    """One that names a brand means that one; one that names none, every brand of the number."""
    text = (folder / "netgsm.toml").read_text("utf-8").replace("[100001]", "[100001, 100002]")
    (folder / "netgsm.toml").write_text(text, "utf-8")
    await post("netgsm", netgsm("Marka ret."))
    assert [one.brand_code for one in fake.events] == [100001]
    assert fake.letters == []
    await post("netgsm", netgsm("STOP"))
    assert [one.brand_code for one in fake.events] == [100001, 100001]
    (letter,) = letters_of(fake)  # the other is not registered
    assert {one["code"] for one in letter["violations"]} == {"IZIN-BRAND-UNKNOWN"}


async def test_opt_out_of_nobody_is_a_dead_letter(post: Post, fake: FakePublisher, folder: Path):
    """Of several channels, too: where none has a recipient, it does not vanish."""
    mapping = MAPPING.replace('"/channel" = "type"\n', "").replace('"recipient"', '"phone"')
    write(folder, "mine", f'channels = ["MESAJ", "EPOSTA"]\n{mapping}')
    answers = [await post("mine", standard("no")), await post("mine", nobody())]
    assert [one.json()["dead_letters"] for one in answers] == [0, 1]
    assert [(one.status, one.type) for one in fake.events] == [("RET", "MESAJ")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("brands = [100001]", "brands = []"), "brands"),
        (('"/who"', '"who"'), '"who" is no place'),
        (('"/who" = "recipient"', '"/who" = "ref"'), "no column holds recipient"),
        (('"/answer" = "status"', '"/answer" = "what"'), 'no field "what"'),
        (("[values.status]\nyes", '[values.status]\n"hayır"'), "word of an opt-out"),
        (('kind = "standard-webhooks"', 'kind = "hmac"\ntimestamp = "header:x"'), "proves none"),
        (('kind = "standard-webhooks"', 'kind = "none"'), "sender.kind"),
    ],
)
def test_mapping_that_contradicts_itself_is_an_error(
    tmp_path: Path, change: tuple[str, str], said: str
):
    """Which names the file, and what is wrong."""
    assert change[0] in MAPPING
    write(tmp_path, "mine", MAPPING.replace(*change))
    with pytest.raises(producers.SourceError, match=r"mine\.toml: ") as raised:
        source_at(tmp_path, "mine", SourceMapping)
    assert said in str(raised.value)


def test_source_without_a_secret_is_an_error(tmp_path: Path):
    """It says where the secret belongs."""
    write(tmp_path, "mine", secret="\n \n")
    with pytest.raises(producers.SourceError, match=r"mine\.secret: it has no secret"):
        source_at(tmp_path, "mine", SourceMapping)
    (tmp_path / "mine.secret").unlink()
    with pytest.raises(producers.SourceError, match=r"mine\.secret: it cannot be read"):
        source_at(tmp_path, "mine", SourceMapping)
