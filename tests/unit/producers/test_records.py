"""Fields become events; names are read from tables, without fuzzy matching."""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest

from izin.consent import Channel, DateBasis, RecipientType, Source, Status
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand, UnknownBrandError
from izin.producers.mapping.dates import DateRules
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

GOOD = {
    Field.RECIPIENT: "0555 000 00 01",
    Field.TYPE: "SMS",
    Field.STATUS: "EVET",
    Field.SOURCE: "HS_WEB",
    Field.CONSENT_DATE: "02.03.2026 12:00:00",
    Field.BRAND_CODE: str(BRAND),
}


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
    ],
)
def test_headers_are_read(header: str, field: Field | None):
    """Turkish and English, with or without diacritics, and no fuzzy matching."""
    assert field_of(header) is field


def test_every_field_has_its_own_name():
    """So that an error that names a field can be followed."""
    assert all(field_of(one) is one for one in Field)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("1", Status.ONAY),
        ("evet", Status.ONAY),
        ("Onay", Status.ONAY),
        ("0", Status.RET),
        ("HAYIR", Status.RET),
        ("hayır", Status.RET),
        ("RED", Status.RET),
        ("ret", Status.RET),
        ("BELKİ", "BELKİ"),
        ("2", "2"),
        ("", ""),
    ],
)
def test_status_names_are_read(text: str, status: str):
    """An unknown value is passed on as it is."""
    assert status_of(text) == status


@pytest.mark.parametrize(
    ("text", "channel"),
    [
        ("SMS", Channel.MESAJ),
        ("Kısa Mesaj", Channel.MESAJ),
        ("E-POSTA", Channel.EPOSTA),
        ("TELEFON", Channel.ARAMA),
        ("Çağrı", Channel.ARAMA),
        ("FAKS", "FAKS"),
    ],
)
def test_channel_names_are_read(text: str, channel: str):
    """What CRMs call the three channels."""
    assert channel_of(text) == channel


def test_recipient_types_and_sources_are_read():
    """A missing type means BIREYSEL, as at İYS; a missing source stays missing."""
    assert recipient_type_of("") == RecipientType.BIREYSEL
    assert recipient_type_of("TACİR") == RecipientType.TACIR
    assert source_of("") is None
    assert source_of("Çağrı Merkezi") == Source.HS_CAGRI_MERKEZI
    assert source_of("HS_UZAY") == "HS_UZAY"


def test_valid_record_is_accepted(directory: BrandDirectory):
    """With its key, its customer and canonical values."""
    found = accepted(directory)
    assert found.key == a_key()
    assert found.event.recipient == PHONE
    assert found.event.recipient_raw == "0555 000 00 01"
    assert found.event.customer_id == CUSTOMER
    assert found.event.consent_date == NOON
    assert found.violations == ()


def test_onay_with_any_violation_is_not_accepted(directory: BrandDirectory):
    """Every violation is listed, ours and the law's."""
    found = validated(directory, consent_date="03/04/2026 10:00:00", source="HS_UZAY", type="FAKS")
    assert isinstance(found, RefusedRecord)
    assert codes(found) == {("consent_date", "H158"), ("source", "H119"), ("type", "H117")}


def test_onay_without_a_date_is_refused(directory: BrandDirectory):
    """No date is assumed, unless the recipient acts right now."""
    assert codes(validated(directory, consent_date=None)) == {("consent_date", "H112")}
    live = accepted(directory, consent_date=None, is_live=True)
    assert live.event.consent_date == NOON + timedelta(hours=1)


def test_live_record_with_an_unreadable_date_is_refused(directory: BrandDirectory):
    """It states a date, only we cannot read it."""
    assert codes(validated(directory, consent_date="dün", is_live=True)) == {
        ("consent_date", "H158")
    }


def test_ret_with_an_unreadable_date_is_accepted_without_it(directory: BrandDirectory):
    """It counts from its receipt, and the violation names why İYS would not accept it."""
    found = accepted(directory, status="HAYIR", consent_date="geçen hafta")
    assert found.event.consent_date is None
    assert found.event.date_basis == DateBasis.RECEIVED
    assert codes(found) == {("consent_date", "H158")}


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
    assert found.event.consent_date is not None
    assert (found.event.consent_date + timedelta(hours=3)).hour == hour
    onay = accepted(directory, consent_date="2026-03-02 11:30")
    assert onay.event.date_basis == "stated"
    assert codes(validated(directory, consent_date="02.03.2026")) == {("consent_date", "H158")}


def test_ret_with_everything_else_wrong_is_accepted(directory: BrandDirectory):
    """Only its key must be readable."""
    found = accepted(
        directory, status="RET", consent_date="x", source="x", retailer_code="x", sequence="x"
    )
    assert len(found.violations) == 4


def test_ret_without_a_readable_key_is_refused(directory: BrandDirectory):
    """There is no recipient it could apply to."""
    assert codes(validated(directory, status="RET", recipient="12")) == {("recipient", "H121")}


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


def test_unknown_brand_hides_no_other_violation(directory: BrandDirectory):
    """The source corrects all in one go."""
    found = validated(directory, brand_code="999999", type="FAKS")
    assert codes(found) == {("brand_code", "IZIN-BRAND-UNKNOWN"), ("type", "H117")}


def test_channel_selects_phone_or_email(directory: BrandDirectory):
    """With both filled in, the channel selects one."""
    both: dict[str, str | None] = {"recipient": None, "phone": PHONE, "email": EMAIL}
    by_text, by_mail = accepted(directory, **both), accepted(directory, **both, type="E-POSTA")
    assert (by_text.key.recipient, by_mail.key.recipient) == (PHONE, EMAIL)


def test_two_recipients_are_a_violation(directory: BrandDirectory):
    """Which one is meant cannot be known."""
    found = validated(directory, phone="+905550000002")
    assert codes(found) == {("recipient", "IZIN-TWO-RECIPIENTS")}


def test_retailers_are_read(directory: BrandDirectory):
    """Lists are read with the separators in use."""
    found = accepted(directory, retailer_code="12345678", retailer_access="12345678|87654321")
    assert found.event.retailer_access == (12345678, 87654321)
    wrong = validated(directory, retailer_access="12345678,x")
    assert codes(wrong) == {("retailer_access", "IZIN-NOT-A-NUMBER")}


def test_unknown_brand_names_its_remedy():
    """And a removed brand is forgotten."""
    directory = BrandDirectory()
    brand = RegisteredBrand(brand_code=7, iys_code=1, customer_id="acme", name="x")
    directory.put(asdict(brand))
    assert len(directory) == 1
    directory.remove(b"7")
    with pytest.raises(UnknownBrandError, match=r"brand 7 .*izin brands add 7"):
        directory.get(7)
