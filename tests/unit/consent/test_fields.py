"""A key as a person writes it, in the form that keys have, and texts of events."""

import json
from dataclasses import replace

import pytest

from izin.consent import (
    MAX_TEXT,
    AdmittedEvent,
    Channel,
    RefusedEvent,
    admit,
    as_written,
    cut,
    has_surrogate,
    normalised,
    shortened,
    visible,
)
from izin.consent.fields import RETAILER_LIMIT
from tests.support.builders import NOON, a_key, an_event, an_iys_event, an_iys_origin

PHONE = a_key(recipient="+905550000001")
EMAIL = replace(PHONE, channel=Channel.EPOSTA, recipient="ada@example.com")


@pytest.mark.parametrize("text", ["+905550000001", "0555 000 00 01", "(555) 000-00-01"])
def test_phone_in_any_notation_is_the_same_key(text: str):
    """Calls and text messages."""
    assert normalised(replace(PHONE, recipient=text)) == PHONE


def test_address_in_capitals_is_the_same_key():
    """With spaces around it too."""
    assert normalised(replace(EMAIL, recipient=" Ada@Example.com ")) == EMAIL


@pytest.mark.parametrize("key", [replace(PHONE, recipient="12"), replace(EMAIL, channel="MESAJ")])
def test_what_is_no_recipient_of_the_channel_stays(key: object):
    """Nothing is known of it then."""
    assert normalised(key) == key


def test_control_is_shown_as_json_writes_it() -> None:
    """Tab and newline stay, and JSON stays JSON of the same value."""
    text = "a\x1b[31m\u202e\tb\n"
    assert visible(text) == "a\\u001b[31m\\u202e\tb\n"
    assert json.loads(visible('"a\x1b"')) == "a\x1b"


def test_text_is_returned_as_it_was_written() -> None:
    """What only looks like a control that was shown stays."""
    for text in ("a\x1b[31m\u202eb", "plain", "\\u0041", "\\u00zz"):
        assert as_written(visible(text)) == text


def admitted(**fields: object) -> AdmittedEvent:
    """Return an admitted opt-out with these fields."""
    found = admit(an_event(status="RET", **fields), appended_at=NOON)
    assert not isinstance(found, RefusedEvent)
    return found


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
    assert not isinstance(found, RefusedEvent)
    after = shortened(found).event.iys
    assert after is not None
    assert after.path == cut("p" * 5000)
    short = admit(an_iys_event(status="RET", iys=an_iys_origin()), appended_at=NOON)
    assert not isinstance(short, RefusedEvent)
    assert shortened(short).event.iys == short.event.iys


def test_half_of_a_surrogate_pair_is_found():
    """Whatever is around it."""
    assert has_surrogate("ş\ud800")
    assert not has_surrogate("ş😀")
