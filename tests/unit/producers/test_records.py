"""Fields become events; names are read from tables, without fuzzy matching.

Texts at the entrances: bounded and clean, and no opt-out (RET) is refused for one.

A date is read or refused, never guessed.

What a spreadsheet adds to a cell to keep its text is taken off again, and nothing else.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import httpx
import pytest

from izin.consent import Channel, ConsentEvent, DateBasis, RecipientType, Source, Status
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand, UnknownBrandError
from izin.producers.files import cell_text
from izin.producers.mapping.dates import (
    DateRules,
    DayOrder,
    ExcelEpoch,
    UnreadableDateError,
    read_date,
    read_opt_out_date,
)
from izin.producers.mapping.field_names import Field, field_of
from izin.producers.mapping.records import (
    AcceptedRecord,
    EventOrigin,
    RefusedRecord,
    read,
    validate,
)
from izin.schemas.words import channel_of, recipient_type_of, source_of, status_of
from tests.support.builders import BRAND, CUSTOMER, EMAIL, NOON, PHONE, a_key
from tests.unit.producers.conftest import FakePublisher, ImportOf, a_record

GOOD = {
    Field.RECIPIENT: "0555 000 00 01",
    Field.TYPE: "SMS",
    Field.STATUS: "EVET",
    Field.SOURCE: "HS_WEB",
    Field.CONSENT_DATE: "02.03.2026 12:00:00",
    Field.BRAND_CODE: str(BRAND),
}
FORM = "application/x-www-form-urlencoded"
HALF = "\ud800"
BOUNDED = ("actor", "origin_ref", "correlation_id", "notice_version", "evidence_hash", "source")


def an_origin(*, is_live: bool = False) -> EventOrigin:
    """Return the origin of a record received an hour after noon."""
    return EventOrigin(
        event_id="event-1",
        origin="file",
        received_at=NOON + timedelta(hours=1),
        is_live=is_live,
    )


def validated(
    directory: BrandDirectory, *, is_live: bool = False, **changes: str | None
) -> AcceptedRecord | RefusedRecord:
    """Return the result for the valid record with some fields changed, or omitted (None)."""
    fields = {**GOOD, **{Field(name): value for name, value in changes.items()}}
    said = {name: value for name, value in fields.items() if value is not None}
    return validate(read(said, DateRules()), directory, an_origin(is_live=is_live))


def accepted(directory: BrandDirectory, **given: Any) -> AcceptedRecord:  # noqa: ANN401  # as above
    found = validated(directory, **given)
    assert isinstance(found, AcceptedRecord), found.violations
    return found


def codes(found: AcceptedRecord | RefusedRecord) -> set[tuple[str, str]]:
    """Return field and code of each violation."""
    return {(one.field, one.code) for one in found.violations}


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ("ALICI", Field.RECIPIENT),
        ("recipient", Field.RECIPIENT),
        ("Telefon No", Field.PHONE),
        ("E-Posta", Field.EMAIL),
        ("İZİN TÜRÜ", Field.TYPE),
        ("IZIN_TURU", Field.TYPE),
        ("kanal", Field.TYPE),
        ("İzin Durumu", Field.STATUS),
        ("ONAY(1)-RET(0)", Field.STATUS),
        ("İZİN KAYNAĞI", Field.SOURCE),
        ("consentDate", Field.CONSENT_DATE),
        ("izin tarihi", Field.CONSENT_DATE),
        ("Alıcı Tipi", Field.RECIPIENT_TYPE),
        ("MARKA", Field.BRAND_CODE),
        ("brandCode", Field.BRAND_CODE),
        ("Ref", Field.ORIGIN_REF),
        ("puan", None),
        ("", None),
        *((one.value, one) for one in Field),
    ],
)
def test_headers_are_read(header: str, field: Field | None):
    """Turkish and English, with or without diacritics, and no fuzzy matching."""
    assert field_of(header) is field


@pytest.mark.parametrize(
    ("read_word", "text", "value"),
    [
        *((status_of, one, Status.ONAY) for one in ("1", "evet", "Onay")),
        *((status_of, one, Status.RET) for one in ("0", "HAYIR", "hayır", "RED", "ret")),
        *((status_of, one, one) for one in ("BELKİ", "2", "")),
        *((channel_of, one, Channel.MESAJ) for one in ("SMS", "Kısa Mesaj")),
        (channel_of, "E-POSTA", Channel.EPOSTA),
        *((channel_of, one, Channel.ARAMA) for one in ("TELEFON", "Çağrı")),
        (channel_of, "FAKS", "FAKS"),
        (recipient_type_of, "", RecipientType.BIREYSEL),
        (recipient_type_of, "TACİR", RecipientType.TACIR),
        (source_of, "", None),
        (source_of, "Çağrı Merkezi", Source.HS_CAGRI_MERKEZI),
        (source_of, "HS_UZAY", "HS_UZAY"),
    ],
)
def test_words_of_crms_are_read(
    read_word: Callable[[str], str | None], text: str, value: str | None
):
    """An unknown one is passed on as it is; a missing type is BIREYSEL, as at İYS."""
    assert read_word(text) == value


def test_valid_record_is_accepted(directory: BrandDirectory):
    """With its key, its customer and canonical values."""
    found = accepted(directory)
    event = found.event
    assert (found.key, found.violations) == (a_key(), ())
    assert (event.recipient, event.recipient_raw) == (PHONE, "0555 000 00 01")
    assert (event.customer_id, event.consent_date) == (CUSTOMER, NOON)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"consent_date": "03/04/2026 10:00:00", "source": "HS_UZAY", "type": "FAKS"},
            {("consent_date", "H158"), ("source", "H119"), ("type", "H117")},
        ),
        ({"consent_date": None}, {("consent_date", "H112")}),
        ({"consent_date": "02.03.2026"}, {("consent_date", "H158")}),
        ({"consent_date": "dün", "is_live": True}, {("consent_date", "H158")}),
        ({"status": "RET", "recipient": "12"}, {("recipient", "H121")}),
        (
            {"brand_code": "999999", "type": "FAKS"},
            {("brand_code", "IZIN-BRAND-UNKNOWN"), ("type", "H117")},
        ),
        ({"phone": "+905550000002"}, {("recipient", "IZIN-TWO-RECIPIENTS")}),
        ({"retailer_access": "12345678,x"}, {("retailer_access", "IZIN-NOT-A-NUMBER")}),
    ],
)
def test_refused_record_names_every_violation(
    directory: BrandDirectory, changes: dict[str, Any], found: set[tuple[str, str]]
):
    """Ours and the law's: no date is assumed, and no opt-out applies to nobody."""
    refused = validated(directory, **changes)
    assert isinstance(refused, RefusedRecord)
    assert codes(refused) == found


@pytest.mark.parametrize(
    ("text", "basis", "hour"),
    [
        ("02.03.2026", "day", 0),
        ("2026-03-02 00:00:00", "day", 0),
        ("2026-03-02 11:30", "minute", 11),
    ],
)
def test_ret_is_stated_as_exactly_as_its_text(
    directory: BrandDirectory, text: str, basis: str, hour: int
):
    """By its day, or its minute, without a fault: the law decides from when it counts."""
    found = accepted(directory, status="RET", consent_date=text)
    assert (found.violations, found.event.date_basis) == ((), basis)
    assert (found.event.consent_date + timedelta(hours=3)).hour == hour
    onay = accepted(directory, consent_date="2026-03-02 11:30")
    assert onay.event.date_basis == "stated"


@pytest.mark.parametrize(
    ("given", "fields", "found"),
    [
        (
            {"consent_date": None, "is_live": True},
            {"consent_date": NOON + timedelta(hours=1)},
            set(),
        ),
        (
            {"status": "HAYIR", "consent_date": "geçen hafta"},
            {"consent_date": None, "date_basis": DateBasis.RECEIVED},
            {("consent_date", "H158")},
        ),
        ({"recipient": None, "phone": PHONE, "email": EMAIL}, {"recipient": PHONE}, set()),
        (
            {"recipient": None, "phone": PHONE, "email": EMAIL, "type": "E-POSTA"},
            *({"recipient": EMAIL}, set()),
        ),
        (
            {"retailer_code": "12345678", "retailer_access": "12345678|87654321"},
            *({"retailer_access": (12345678, 87654321)}, set()),
        ),
    ],
    ids=["live", "unreadable date", "phone of both", "e-mail of both", "retailers"],
)
def test_record_is_accepted_with_its_fields(
    directory: BrandDirectory,
    given: dict[str, Any],
    fields: dict[str, object],
    found: set[tuple[str, str]],
):
    """A live one counts from its receipt, for the recipient acts right now; so does a RET without a
    readable date, and the violation names why İYS would not accept it.
    """
    record = accepted(directory, **given)
    assert {name: getattr(record.event, name) for name in fields} == fields
    assert codes(record) == found


def test_live_opt_out_is_dated_exactly_however_inexact_its_letter_was(directory: BrandDirectory):
    """It counts from its receipt, also where it corrects what was stated by its day alone."""
    said = {**GOOD, Field.STATUS: "RET"}
    record = replace(read(said, DateRules()), consent_date=None, date_basis=DateBasis.DAY)
    origin = an_origin(is_live=True)
    found = validate(record, directory, origin)
    assert isinstance(found, AcceptedRecord), found.violations
    event = found.event
    assert (event.consent_date, event.date_basis) == (origin.received_at, DateBasis.STATED)


@pytest.mark.parametrize(("by", "actor"), [(None, "sender"), ("key", "key"), ("", "")])
def test_actor_is_whom_the_origin_names_if_it_names_any(
    directory: BrandDirectory, by: str | None, actor: str
):
    """Else whom the record names: a sender's word never replaces the origin's."""
    record = read({**GOOD, Field.ACTOR: "sender"}, DateRules())
    found = validate(record, directory, an_origin()._replace(actor=by))
    assert isinstance(found, AcceptedRecord), found.violations
    assert found.event.actor == actor


def test_ret_with_everything_else_wrong_is_accepted(directory: BrandDirectory):
    """Only its key must be readable."""
    found = accepted(
        directory, status="RET", consent_date="x", source="x", retailer_code="x", sequence="x"
    )
    assert len(found.violations) == 4


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (None, "IZIN-BRAND-MISSING"),
        ("Example", "IZIN-NOT-A-NUMBER"),
        ("99999999999", "IZIN-NOT-A-NUMBER"),
        ("²", "IZIN-NOT-A-NUMBER"),
        ("999999", "IZIN-BRAND-UNKNOWN"),
    ],
)
def test_unregistered_brand_is_refused(directory: BrandDirectory, code: str | None, expected: str):
    """Named, whatever the status."""
    for status in ("ONAY", "RET"):
        assert codes(validated(directory, brand_code=code, status=status)) == {
            ("brand_code", expected)
        }


def test_unknown_brand_names_its_remedy():
    """And a removed brand is forgotten."""
    directory = BrandDirectory()
    brand = RegisteredBrand(brand_code=7, iys_code=1, customer_id="acme", name="x")
    directory.put(asdict(brand))
    assert len(directory) == 1
    directory.remove(b"7")
    with pytest.raises(UnknownBrandError, match=r"brand 7 .*izin brands add 7"):
        directory.get(7)


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
    return getattr(event, name)


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


TURKISH = timedelta(hours=3)
PLAIN = DateRules()
FROM_1900 = DateRules(excel_epoch=ExcelEpoch.FROM_1900)
TEN = datetime(2026, 3, 2, 7, 0, 0, tzinfo=UTC)
"""Ten in the morning in Turkey."""
AS_TEN = (
    *("2026-03-02 10:00:00", " 2026-03-02 10:00:00 ", "2026-03-02 10:00", "2026-03-02T10:00:00"),
    *("02.03.2026 10:00:00", "02.03.2026 10:00", "2.3.2026 10:00", "2026/03/02 10:00"),
    *("02-03-2026 10:00:00", "2026-03-02T07:00:00Z", "2026-03-02T10:00:00+03:00"),
    *("2026-03-02T02:00:00-0500", "2026-03-02T09:00:00+02"),
    *("2026-03-02 10:00:00.999", "2026-03-02T07:00:00.5Z"),  # İYS's clock has whole seconds
    *("2 Mart 2026 10:00", "02 MART 2026 10:00:00", "2-Mar-2026 10:00", "2 March 2026 10:00"),
    *("02.Mar.2026 10:00", "2 Mar 2026 10:00 ÖÖ"),
)


@pytest.mark.parametrize(
    ("text", "rules", "at"),
    [
        *((one, PLAIN, TEN) for one in AS_TEN),
        # As the Turkish Excel's ``s:dd`` writes it.
        ("2.03.2026 9:05", PLAIN, TEN - timedelta(minutes=55)),
        # As the Turkish and the American Excel write half a day.
        *(
            (f"2.03.2026 {one}", PLAIN, datetime(2026, 3, 2, hour, 5, tzinfo=UTC) - TURKISH)
            for one, hour in (("9:05 ÖS", 21), ("9:05 ös", 21), ("12:05 PM", 12), ("9:05 AM", 9))
        ),
        ("2.03.2026 12:05 ÖÖ", PLAIN, datetime(2026, 3, 1, 21, 5, tzinfo=UTC)),
        # The dotless i, as programs without Turkish letters write it, too.
        *(
            (f"2 {name} 2026 10:00", PLAIN, datetime(2026, 11, 2, 7, tzinfo=UTC))
            for name in ("KASIM", "Kasım", "kasim")
        ),
        # UTC+3 also in the winters before 2016, as İYS reads it.
        ("2015-12-01 10:00:00", PLAIN, datetime(2015, 12, 1, 7, tzinfo=UTC)),
        ("02/03/2026 10:00:00", DateRules(day_order=DayOrder.DAY_FIRST), TEN),
        ("03/02/2026 10:00:00", DateRules(day_order=DayOrder.MONTH_FIRST), TEN),
        ("3/2/2026 10:00 AM", DateRules(day_order=DayOrder.MONTH_FIRST), TEN),
        # The two counts lie four years apart, which is why neither is assumed.
        ("45292,5", FROM_1900, datetime(2024, 1, 1, 9, tzinfo=UTC)),
        (
            "45292,5",
            DateRules(excel_epoch=ExcelEpoch.FROM_1904),
            datetime(2028, 1, 2, 9, tzinfo=UTC),
        ),
        *(
            (one, DateRules(excel_epoch=ExcelEpoch.FROM_1900, time_of_day=time(10)), TEN)
            for one in ("2026-03-02", "02.03.2026", "46083")
        ),
    ],
)
def test_supported_notations_are_read(text: str, rules: DateRules, at: datetime):
    """In Turkish time where no offset is given; slashes, serials and days by the caller's rules."""
    assert read_date(text, rules) == at


@pytest.mark.parametrize(
    ("text", "code", "rules"),
    [
        ("2026-03-02", "H158", PLAIN),  # which hour?
        ("02.03.2026", "H158", PLAIN),
        ("03/04/2026 10:00:00", "H158", PLAIN),  # March or April?
        ("02.03.26 10:00", "H158", PLAIN),
        ("2026/03-02 10:00", "H158", PLAIN),
        ("13/03/2026 10:00:00", "H158", PLAIN),  # a source has one order for all its dates
        ("05/05/2026 10:00:00", "H158", PLAIN),
        ("2 Mrt 2026 10:00", "H158", PLAIN),
        ("2.03.2026 13:05 ÖS", "H157", PLAIN),
        ("2.03.2026 0:05 ÖÖ", "H157", PLAIN),
        ("45292,5", "H158", PLAIN),  # since 1900 or 1904?
        ("45292", "H158", PLAIN),
        ("geçen hafta", "H158", PLAIN),
        ("2026-03-0210:00:00", "H158", PLAIN),
        ("1772434800", "H158", PLAIN),
        ("２０２６-03-02 10:00:00", "H158", PLAIN),
        ("2026-15-01 10:00:00", "H157", PLAIN),
        ("30.02.2026 10:00", "H157", PLAIN),
        ("2026-03-02 24:00:00", "H157", PLAIN),
        ("2026-03-02 10:60:00", "H157", PLAIN),
        ("0000-03-02 10:00:00", "H157", PLAIN),
        ("0001-01-01 00:00:00", "H157", PLAIN),
        ("2026-03-02T10:00:00+99:00", "H157", PLAIN),
        ("2026-03-02T10:00:00+15:00", "H157", PLAIN),
        ("9999-12-31T23:59:59-14:00", "H157", PLAIN),
        # There is no thirteenth month: the order may be wrong for the whole file.
        ("03/13/2026 10:00:00", "H157", DateRules(day_order=DayOrder.DAY_FIRST)),
        ("45292", "H158", FROM_1900),
    ],
)
def test_ambiguous_date_is_refused(text: str, code: str, rules: DateRules):
    """Each is a violation in both languages, with İYS's code."""
    with pytest.raises(UnreadableDateError) as caught:
        read_date(text, rules)
    assert caught.value.violation.code == code
    assert caught.value.violation.reason_tr


MIDNIGHT = datetime(2026, 3, 1, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at", "basis"),
    [
        ("2026-03-02", MIDNIGHT, DateBasis.DAY),
        (" 02.03.2026 ", MIDNIGHT, DateBasis.DAY),
        ("2 Mart 2026", MIDNIGHT, DateBasis.DAY),
        ("2026-03-02 00:00:00", MIDNIGHT, DateBasis.DAY),
        ("02.03.2026 00:00", MIDNIGHT, DateBasis.DAY),
        ("02.03.2026 12:00 ÖÖ", MIDNIGHT, DateBasis.DAY),
        ("2026-03-01T21:00:00Z", MIDNIGHT, DateBasis.DAY),
        ("2026-03-02T00:00:00.000Z", MIDNIGHT + timedelta(hours=3), DateBasis.DAY),
        ("2026-03-02T00:00:00+03:00", MIDNIGHT, DateBasis.DAY),
        ("2026-03-02 10:00", TEN, DateBasis.MINUTE),
        ("2.3.2026 10:00", TEN, DateBasis.MINUTE),
        ("2026-03-02T10:00+03:00", TEN, DateBasis.MINUTE),
        ("2026-03-02T07:00Z", TEN, DateBasis.MINUTE),
        ("2026-03-02 10:00 ÖÖ", TEN, DateBasis.MINUTE),
        ("2026-03-02 10:00:00", TEN, DateBasis.STATED),
        ("2026-03-02T07:00:00Z", TEN, DateBasis.STATED),
        ("2026-03-02T10:00:00+03:00", TEN, DateBasis.STATED),
        ("2026-03-02 10:00:00 ÖÖ", TEN, DateBasis.STATED),
        ("2026-03-02 00:00:01", MIDNIGHT + timedelta(seconds=1), DateBasis.STATED),
        ("2026-03-02 00:01:00", MIDNIGHT + timedelta(minutes=1), DateBasis.STATED),
        ("2026-03-02 03:00:00", MIDNIGHT + timedelta(hours=3), DateBasis.STATED),
        ("2026-03-02 10:00:00.5", TEN, DateBasis.STATED),
        ("46083", MIDNIGHT, DateBasis.DAY),  # a whole number is a day
        ("46083,0", MIDNIGHT, DateBasis.DAY),
        ("46083,5", MIDNIGHT + timedelta(hours=12), DateBasis.STATED),
    ],
)
def test_date_of_an_opt_out_is_as_exact_as_its_text(text: str, at: datetime, basis: DateBasis):
    """Midnight is what programs write for a date without a time of day."""
    assert read_opt_out_date(text, FROM_1900) == (at, basis)


@pytest.mark.parametrize("text", ["02/03/2026", "0001-01-01", "9999-12-32", "gestern", ""])
def test_date_of_an_opt_out_that_cannot_be_read_is_refused(text: str):
    """A day that is ambiguous, or none, is no day."""
    with pytest.raises(UnreadableDateError):
        read_opt_out_date(text, PLAIN)


NUMBER = (
    "05550000001",
    '="05550000001"',
    '= "05550000001" ',
    "'05550000001",
    "\u201805550000001",
    "\u201905550000001",
    "'05550000001'",
    '"05550000001"',
    ' "05550000001" ',
    '\'="05550000001"',
    "\t05550000001",
    "05550000001\u00a0",
    "\u202a05550000001\u202c",
    "\ufeff05550000001\u200b",
    '="\u200e05550000001"',
)
"""A formula of one text, the text prefix, quotes, blanks and marks of copying."""
KEPT = (
    "=HYPERLINK(1)",
    '=T("05550000001")',
    '="05"&"55"',
    '="05550000001',
    '05550000001"',
    'a "b" c',
    "O'Hara",
    "=05550000001",
    "-1",
    "nullable",
)
"""No formula is computed, and an unbalanced quote is the source's to correct."""


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        *((one, "05550000001") for one in NUMBER),
        *((one, one) for one in KEPT),
        ('="5"" boru"', '5" boru'),
        ('="a""""b"', 'a""b'),
        ('=""', ""),
        ("'", ""),
        ("02.03.2026\u00a012:00", "02.03.2026 12:00"),
        ("NULL", ""),
        ("null", ""),
        ("#YOK", ""),
        ("#N/A", ""),
        ("-", ""),
        ('="-"', ""),
    ],
)
def test_cell_means_what_the_sheet_shows(cell: str, text: str):
    """Doubled quotes are one, a placeholder is empty, and what is no text notation is kept."""
    assert cell_text(cell) == text
