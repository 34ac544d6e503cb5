"""Texts at the entrances: bounded and clean, and no opt-out (RET) is refused for one."""

import json

import httpx
import pytest

from izin.consent import ConsentEvent
from tests.support.builders import BRAND, PHONE
from tests.unit.producers.conftest import ImportOf
from tests.unit.producers.fakes import FakePublisher, a_record

FORM = "application/x-www-form-urlencoded"
HALF = "\ud800"
BOUNDED = ("actor", "origin_ref", "correlation_id", "notice_version", "evidence_hash", "source")


async def post(client: httpx.AsyncClient, body: object) -> httpx.Response:
    """Post JSON; half a surrogate pair is escaped, as JSON spells it."""
    return await post_bytes(client, json.dumps(body).encode())


async def post_bytes(
    client: httpx.AsyncClient, body: bytes, media_type: str = "application/json"
) -> httpx.Response:
    return await client.post("/v1/consents", content=body, headers={"Content-Type": media_type})


def violations(answer: httpx.Response) -> set[tuple[str, str]]:
    """Return field and code of each violation, of published and refused records."""
    body = answer.json()
    listed = [*body.get("violations", []), *(v for e in body["events"] for v in e["violations"])]
    return {(one["field"], one["code"]) for one in listed}


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("text", ["x" * 1001, "ş" * 501], ids=["ascii", "turkish"])
async def test_long_text_refuses_an_onay_and_is_cut_of_a_ret(
    client: httpx.AsyncClient, fake: FakePublisher, name: str, text: str
):
    """422 names field and limit; the opt-out is published with what fits."""
    refused = await post(client, a_record(**{name: text}))
    assert refused.status_code == 422
    (found,) = [v for v in refused.json()["violations"] if v["code"] == "IZIN-TEXT-SIZE"]
    assert found["pointer"] == f"/{name}"
    assert "1000 bytes" in found["reason"]
    taken = await post(client, a_record(**{name: text}, status="RET"))
    assert taken.status_code == 202
    assert (found["field"], "IZIN-TEXT-SIZE") in violations(taken)
    (event,) = fake.events
    kept = text_of(event, name)
    assert text.startswith(kept)
    assert len(kept.encode()) == 1000


@pytest.mark.parametrize("name", BOUNDED[:-1])
async def test_text_of_the_longest_size_is_taken(
    client: httpx.AsyncClient, fake: FakePublisher, name: str
):
    """The limit itself is within it."""
    assert (await post(client, a_record(**{name: "x" * 1000}))).status_code == 202
    assert len(fake.events) == 1


async def test_long_recipient_of_a_ret_is_read(client: httpx.AsyncClient, fake: FakePublisher):
    """It is read whole, whatever its punctuation; what is kept of the raw text is bounded."""
    text = f"{PHONE[:4]}{' -' * 100_000}{PHONE[4:]}"
    assert (await post(client, a_record(recipient=text))).status_code == 422
    answer = await post(client, a_record(recipient=text, status="RET"))
    assert answer.status_code == 202
    assert violations(answer) == {("recipient", "IZIN-TEXT-SIZE")}
    (event,) = fake.events
    assert event.recipient == PHONE
    assert len(event.recipient_raw or "") == 1000


@pytest.mark.parametrize("status", ["ONAY", "RET"])
@pytest.mark.parametrize(
    "name",
    ["actor", "origin_ref", "correlation_id", "notice_version", "evidence_hash", "source", "id"],
)
async def test_half_a_surrogate_pair_is_taken_out(
    client: httpx.AsyncClient, fake: FakePublisher, name: str, status: str
):
    """JSON can spell it, and UTF-8 has none."""
    clean = "HS_WEB" if name == "source" else "a text"
    answer = await post(client, a_record(**{name: f"{clean[:3]}{HALF}{clean[3:]}"}, status=status))
    assert answer.status_code == 202
    (event,) = fake.events
    if name != "id":
        assert text_of(event, name) == clean
        flagged = {(name, "IZIN-CHARACTER")} if status == "RET" else set()
        assert violations(answer) == flagged


def text_of(event: ConsentEvent, name: str) -> str:
    """Return what an event has of a field; whom the sender names as the actor is evidence."""
    if name == "actor":
        return event.evidence[name]
    found: str = getattr(event, name)
    return found


@pytest.mark.parametrize("name", ["recipient", "phone"])
async def test_half_a_surrogate_pair_in_a_recipient_refuses_an_onay(
    client: httpx.AsyncClient, fake: FakePublisher, name: str
):
    """It may hide more; the opt-out takes effect for the recipient that is left."""
    body = a_record(**{name: f"{HALF}{PHONE}"}) | ({} if name == "recipient" else {"recipient": ""})
    refused = await post(client, body)
    assert refused.status_code == 422
    assert violations(refused) == {("recipient", "IZIN-CHARACTER")}
    taken = await post(client, body | {"status": "RET"})
    assert taken.status_code == 202
    assert violations(taken) == {("recipient", "IZIN-CHARACTER")}
    (event,) = fake.events
    assert event.recipient == event.recipient_raw == PHONE


@pytest.mark.parametrize(
    "spoilt",
    [
        {"status": f"R{HALF}ET"},
        {"type": f"MES{HALF}AJ"},
        {"recipient_type": f"BIREYSEL{HALF}"},
        {"evidence": {f"page{HALF}": f"text{HALF}"}},
        {f"colour{HALF}": "red"},
        {"consent_date": f"{HALF}"},
        {"sequence": f"{HALF}1"},
        {"date_basis": f"{HALF}"},
        {"retailer_code": f"1{HALF}"},
    ],
    ids=lambda one: next(iter(one)).encode("ascii", "ignore").decode(),
)
async def test_ret_is_published_wherever_the_surrogate_is(
    client: httpx.AsyncClient, fake: FakePublisher, spoilt: dict[str, object]
):
    """In a word of the law, a name or the evidence."""
    answer = await post(client, a_record(status="RET", id=f"signup{HALF}") | spoilt)
    assert answer.status_code == 202
    assert len(fake.events) == 1


async def test_byte_that_is_no_utf_8_spoils_its_text_only(
    client: httpx.AsyncClient, fake: FakePublisher
):
    """The other records of the list are taken, in JSON and in a form."""
    records = [a_record(actor="Ay@"), a_record(recipient=f"{PHONE}@"), a_record(status="RET")]
    answer = await post_bytes(client, json.dumps(records).encode().replace(b"@", b"\xfe"))
    assert [one["index"] for one in answer.json()["events"]] == [0, 2]
    assert violations(answer) == {("recipient", "IZIN-CHARACTER")}
    assert text_of(fake.events[0], "actor") == "Ay"
    form = (
        f"phone={PHONE[1:]}&type=SMS&status=0&source=HS_WEB&brand_code={BRAND}&actor=Ay%FE%ED%A0%80"
    )
    answer = await post_bytes(client, form.encode(), FORM)
    assert answer.status_code == 202
    assert violations(answer) == {("actor", "IZIN-CHARACTER")}
    assert text_of(fake.events[-1], "actor") == "Ay"


async def test_idempotency_key_of_any_bytes_is_taken(
    client: httpx.AsyncClient, fake: FakePublisher
):
    """A header has no encoding of its own."""
    for _ in range(2):
        answer = await client.post(
            "/v1/consents",
            json=a_record(),
            headers=[(b"Idempotency-Key", b"\xff\xfe\x80")],
        )
        assert answer.status_code == 202
    first, second = fake.events
    assert first.event_id == second.event_id


def test_import_takes_a_ret_with_long_texts(import_lines: ImportOf, fake: FakePublisher):
    """Its row is reported; the ONAY of such a row is not imported."""
    row = "0555 000 00 01;SMS;{};HS_WEB;02.03.2026 12:00:00;" + str(BRAND) + ";{}"
    report = import_lines(
        "alıcı;izin türü;izin durumu;izin kaynağı;izin tarihi;marka;kullanıcı",
        row.format("RET", "x" * 2000),
        row.format("ONAY", "x" * 2000),
    )
    assert (report.opt_outs, report.published, report.refused) == (1, 1, 1)
    assert report.reasons == {"IZIN-TEXT-SIZE": 2}
    assert fake.events[0].actor == "x" * 1000
