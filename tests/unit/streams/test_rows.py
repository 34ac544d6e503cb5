"""Rows written from facts and read back to facts, held against the codec."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.consent.model import Consent
from izin.schemas.codec import UndecodableError
from izin.schemas.fast.writer import EPOCH, MILLISECOND, writer_of
from izin.streams.fast_path.rows import FIELDS, RowReader, RowWriter
from izin.streams.state.packing import NEVER, Facts, facts_of
from tests.support.order.harness import CODEC, row_of
from tests.unit.streams.test_packing import ONAY, consents

WRITER, READER = RowWriter(CODEC), RowReader(CODEC)

_text = writer_of("string")


def key_fields(consent: Consent) -> bytes:
    key = consent.key
    fields = map(_text, (key.channel, key.recipient_type, key.recipient))
    return b"".join([writer_of("int")(key.brand_code), *fields])


def in_milliseconds(facts: Facts) -> Facts:
    """Return ``facts`` as a row keeps them."""
    shared, *instants, event_id = facts
    date, onay, ret, effective = (
        at if at == NEVER else at // 1000 * 1000 for at in (*instants[1:], instants[0])
    )
    return shared, effective, date, onay, ret, event_id


@given(consents())
def test_rows_match_the_codec(consent: Consent) -> None:
    """For any consent: the same bytes, and the same facts back."""
    law = replace(consent, law_version=consent.law_version % (1 << 31))
    row = row_of(law)
    assert WRITER.write(key_fields(law), *facts_of(law)) == row
    for _ in range(2):  # its shared fields are learnt, and known
        assert READER.read(row) == in_milliseconds(facts_of(law))


def test_full_cache_changes_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is bounded, and forgetting it changes nothing."""
    monkeypatch.setattr("izin.schemas.fast.cache.MAX_ENTRIES", 2)
    writer, reader = RowWriter(CODEC), RowReader(CODEC)
    for number in range(7):
        consent = replace(
            ONAY, origin=f"o{number}", consent_date=EPOCH + 1000 * number * MILLISECOND
        )
        row = row_of(consent)
        assert writer.write(key_fields(consent), *facts_of(consent)) == row
        assert reader.read(row) == facts_of(consent)


@pytest.mark.parametrize("cut", [3, 40, -1])
def test_row_of_the_wrong_length_is_undecodable(cut: int) -> None:
    """The codec reports what is wrong, as for any record."""
    row = row_of(ONAY)
    with pytest.raises(UndecodableError):
        READER.read(row[:cut])
    with pytest.raises(UndecodableError):
        READER.read(row + b"\x00")


@given(st.integers(-(2**42), 2**42), st.integers(0, 10**9), st.booleans())
def test_row_with_any_instants_is_read(at: int, brand: int, is_dated: bool) -> None:
    """For any instants, before 1970 and in the far future too, and any brand code."""
    instant = EPOCH + at * MILLISECOND
    consent = replace(
        ONAY,
        key=replace(ONAY.key, brand_code=brand),
        effective_at=instant,
        consent_date=instant if is_dated else None,
        latest_onay_at=instant,
        latest_ret_at=EPOCH + (at // 2) * MILLISECOND,
    )
    row = row_of(consent)
    for _ in range(2):
        assert READER.read(row) == facts_of(consent)


def test_similar_origins_and_sources_are_distinguished() -> None:
    """Where one origin ends as another goes on."""
    reader = RowReader(CODEC)
    several = [
        replace(ONAY, origin=origin, source=source, consent_date=None)
        for origin in ("a", "a\x02\x00\x00\x01", "a\x00\x00\x01", "\x00\x00\x01\x00")
        for source in (None, "", "\x00", "\x00\x00\x01\x00\x00\x02")
    ]
    rows = [row_of(one) for one in several]
    for _ in range(2):
        assert [reader.read(row) for row in rows] == [facts_of(one) for one in several]


def test_row_whose_key_is_no_text_is_undecodable() -> None:
    """Bytes that are no UTF-8 are refused, though nothing else of them is read."""
    row = row_of(ONAY)
    recipient = ONAY.key.recipient.encode()
    assert READER.read(row) == facts_of(ONAY)
    with pytest.raises(UndecodableError):
        READER.read(row.replace(recipient, b"\xff" * len(recipient)))


def test_row_of_another_contract_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who changes the contract of a row has to change what reads and writes it."""
    monkeypatch.setattr("izin.streams.fast_path.rows.FIELDS", FIELDS[:-1])
    for make in (RowWriter, RowReader):
        with pytest.raises(ValueError, match="must have the fields"):
            make(CODEC)
