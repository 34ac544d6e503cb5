"""Phone numbers and e-mail addresses: one form each, or a refusal.

A key as a person writes it, in the form that keys have, and texts of events.
"""

import json
from dataclasses import replace

import pytest

from izin.consent import (
    MAX_TEXT,
    AdmittedEvent,
    Channel,
    ConsentKey,
    admit,
    as_written,
    cut,
    has_surrogate,
    normalised,
    read_email,
    read_phone,
    shortened,
    visible,
)
from izin.consent.fields import RETAILER_LIMIT
from tests.support.builders import NOON, a_key, an_event, an_iys_event, an_iys_origin


@pytest.mark.parametrize(
    "text",
    [
        "+905550000001",
        "05550000001",
        "5550000001",
        "905550000001",
        "00905550000001",
        "+9005550000001",
        "9005550000001",
        "009005550000001",
        "0555 000 00 01",
        " (0555) 000-00-01 ",
        "+90 (555) 000.00.01",
        "+90 (0) 555 000 00 01",
        "0555\u00a0000\u201100\u201301",
        "\u202a+905550000001\u202c",
        "\ufeff5550000001",
    ],
)
def test_every_notation_of_a_turkish_mobile_is_one_number(text: str):
    """Every notation gives the same recipient."""
    assert read_phone(text) == "+905550000001"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0212 123 00 00", "+902121230000"),
        ("+902121230000", "+902121230000"),
        ("(312) 123 00 00", "+903121230000"),
        ("0850 123 00 00", "+908501230000"),
        # İYS's own examples: possible, though not assigned.
        ("+905992000000", "+905992000000"),
        ("+905813334455", "+905813334455"),
        ("+49 30 123456", "+4930123456"),
        ("0049 30 123456", "+4930123456"),
        ("+44 (0) 20 7946 0000", "+442079460000"),
        ("+1 202 555 0100", "+12025550100"),
    ],
)
def test_landlines_and_foreign_numbers(text: str, number: str):
    """Landlines are İYS's own example; foreign numbers need their plus."""
    assert read_phone(text) == number


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "H114"),
        (" - ", "H114"),
        ("9,05E+11", "IZIN-PHONE-AS-DECIMAL"),
        ("9.05555e+11", "IZIN-PHONE-AS-DECIMAL"),
        ("5E11", "IZIN-PHONE-AS-DECIMAL"),
        ("905550000001.0", "IZIN-PHONE-AS-DECIMAL"),
        ("555000000,0", "IZIN-PHONE-AS-DECIMAL"),
        ("+05543213232", "H121"),
        ("005550000001", "H121"),
        ("555000000", "H121"),
        ("05550000001234", "H121"),
        ("444 0 000", "H121"),
        ("+907550000001", "H121"),
        ("+90555000000", "H121"),
        ("+999123456", "H121"),
        ("+4412", "H121"),
        ("+3870056891672", "H121"),
        ("+1 1 202 555 0100", "H121"),
        ("+54 11 15 2345 6789", "H121"),
        ("+7 8 912 000 00 00", "H121"),
        ("0555 000 00 0x", "H121"),
        ("ada@example.com", "H121"),
        ("٠٥٥٥٠٠٠٠٠٠١", "H121"),
        ("0555 000 00 01/02", "H121"),
        ("+123456789012345", "H160"),
    ],
)
def test_number_that_cannot_be_dialled_is_refused(text: str, code: str):
    """Each refusal has the code that names what to correct."""
    found = read_phone(text)
    assert found.code == code
    assert text.strip(" -") == "" or text not in found.reason


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada@Example.COM ", "ada@example.com"),
        ("ada+news@example.com", "ada+news@example.com"),
        ("_-.ada..b@mail.example.com", "_-.ada..b@mail.example.com"),
        ("a@bb.cc", "a@bb.cc"),
        ("a@ex--ample.com", "a@ex--ample.com"),
        ("a@1.com", "a@1.com"),
        ("a" * 253 + "@example.com", "a" * 253 + "@example.com"),
    ],
)
def test_addresses_are_in_the_form_of_iys(text: str, address: str):
    """Lower case, and nothing else is changed."""
    assert read_email(text) == address


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "H114"),
        ("  ", "H114"),
        ("ada", "H120"),
        ("a@b.c", "H120"),
        ("ada@example", "H120"),
        ("ada@-example.com", "H120"),
        ("ada@example-.com", "H120"),
        ("ada@exam_ple.com", "H120"),
        ("ada@example.c0m", "H120"),
        ("ada lovelace@example.com", "H120"),
        ("ada@@example.com", "H120"),
        ("ada(x)@example.com", "H120"),
        ("ışık@example.com", "H120"),
        ("İada@example.com", "H120"),
        ("ada@example.com\n.tr", "H120"),
        ("a" * 254 + "@example.com", "H120"),
        ("+905550000001", "H120"),
    ],
)
def test_address_that_iys_refuses_is_refused(text: str, code: str):
    """No transliteration, no repair: another spelling may be another person."""
    assert read_email(text).code == code


PHONE = a_key(recipient="+905550000001")
EMAIL = replace(PHONE, channel=Channel.EPOSTA, recipient="ada@example.com")


@pytest.mark.parametrize(
    ("key", "written", "found"),
    [
        *((PHONE, one, PHONE) for one in ("+905550000001", "0555 000 00 01", "(555) 000-00-01")),
        (EMAIL, " Ada@Example.com ", EMAIL),
        (PHONE, "12", replace(PHONE, recipient="12")),
        (replace(EMAIL, channel="MESAJ"), EMAIL.recipient, replace(EMAIL, channel="MESAJ")),
    ],
)
def test_recipient_in_any_notation_is_the_same_key(
    key: ConsentKey, written: str, found: ConsentKey
):
    """Of calls, text messages and e-mail; what is no recipient of the channel stays."""
    assert normalised(replace(key, recipient=written)) == found


def test_control_is_shown_as_json_writes_it() -> None:
    """Tab and newline stay, and JSON stays JSON of the same value."""
    assert visible("a\x1b[31m\u202e\tb\n") == "a\\u001b[31m\\u202e\tb\n"
    assert json.loads(visible('"a\x1b"')) == "a\x1b"


def test_text_is_returned_as_it_was_written() -> None:
    """What only looks like a control that was shown stays."""
    for text in ("a\x1b[31m\u202eb", "plain", "\\u0041", "\\u00zz"):
        assert as_written(visible(text)) == text


def admitted(**fields: object) -> AdmittedEvent:
    """Return an admitted opt-out with these fields."""
    return admit(an_event(status="RET", **fields), appended_at=NOON)


def test_oversized_opt_out_keeps_its_effect():
    """Its texts are cut, its evidence and an endless list are dropped, and each is named."""
    before = admitted(
        actor="ş" * 5000,
        evidence={"page": "x" * 5000},
        retailer_code=1,
        retailer_access=tuple(range(RETAILER_LIMIT + 1)),
    )
    after = shortened(before)
    assert (after.key, after.event.status) == (before.key, "RET")
    assert len((after.event.actor or "").encode()) <= MAX_TEXT
    assert (after.event.evidence, after.event.retailer_access) == ({}, None)
    named = {one.field for one in after.violations if one.code == "IZIN-TEXT-SIZE"}
    assert named >= {"actor", "evidence", "retailer_access"}


def test_opt_out_of_usual_size_is_unchanged():
    """Nothing is cut, and nothing named."""
    before = admitted()
    assert shortened(before) == before


@pytest.mark.parametrize("transaction", [None, "t" * 5000])
def test_texts_of_iys_are_cut_too(transaction: str | None):
    """And what is short stays."""
    origin = an_iys_origin(path="p" * 5000, transaction_id=transaction)
    found = admit(an_iys_event(status="RET", iys=origin), appended_at=NOON)
    after = shortened(found).event.iys
    assert after.path == cut("p" * 5000)
    short = admit(an_iys_event(status="RET", iys=an_iys_origin()), appended_at=NOON)
    assert shortened(short).event.iys == short.event.iys


def test_half_of_a_surrogate_pair_is_found():
    """Whatever is around it."""
    assert has_surrogate("ş\ud800")
    assert not has_surrogate("ş😀")
