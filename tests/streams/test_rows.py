"""Rows written from facts and read back to facts, held against the codec."""

from dataclasses import replace

import pytest
from hypothesis import given

from izin.consent.model import Consent
from izin.schemas.avro_writer import EPOCH, MILLISECOND, writer_of
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.records import consent_to_avro
from izin.streams.packing import Facts, facts_of
from izin.streams.rows import Rows
from tests.streams.test_packing import ONAY, consents

CODEC = Codec()
ROWS = Rows(CODEC)

_text = writer_of("string")


def address(consent: Consent) -> bytes:
    key = consent.key
    told = map(_text, (key.channel, key.recipient_type, key.recipient))
    return b"".join([writer_of("int")(key.brand_code), *told])


def in_milliseconds(facts: Facts) -> Facts:
    """Return ``facts`` as a row keeps them."""
    words, *instants, event_id = facts
    floored = [None if at is None else at // 1000 * 1000 for at in instants]
    return Facts(words, floored[0] or 0, floored[1], floored[2], floored[3], event_id)


@given(consents())
def test_a_row_is_that_of_the_codec(consent: Consent) -> None:
    """Whatever a consent says: the same bytes, and the same facts back."""
    law = replace(consent, law_version=consent.law_version % (1 << 31))
    row = CODEC.encode("Consent", consent_to_avro(law))
    assert ROWS.write(address(law), facts_of(law)) == row
    assert ROWS.read(row) == in_milliseconds(facts_of(law))


def test_more_words_than_are_kept_are_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is bounded, and forgetting it changes nothing."""
    monkeypatch.setattr("izin.streams.rows._ENOUGH", 2)
    rows = Rows(CODEC)
    for number in range(7):
        consent = replace(
            ONAY, origin=f"o{number}", consent_date=EPOCH + 1000 * number * MILLISECOND
        )
        row = CODEC.encode("Consent", consent_to_avro(consent))
        assert rows.write(address(consent), facts_of(consent)) == row
        assert rows.read(row) == facts_of(consent)


@pytest.mark.parametrize("cut", [3, 40, -1])
def test_what_is_no_row_is_refused(cut: int) -> None:
    """The codec says what is wrong, as of any record."""
    row = CODEC.encode("Consent", consent_to_avro(ONAY))
    with pytest.raises(UndecodableError):
        ROWS.read(row[:cut])
    with pytest.raises(UndecodableError):
        ROWS.read(row + b"\x00")
