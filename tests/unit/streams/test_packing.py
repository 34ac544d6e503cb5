"""Every consent comes back from its bytes as it was, and the bytes are few.

Rows written from facts and read back to facts, held against the codec.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.consent import (
    Channel,
    Consent,
    ConsentKey,
    OriginRank,
    RecipientType,
    Status,
    UnreadableKeyError,
    decide,
)
from izin.schemas.codec import UndecodableError
from izin.schemas.fast.writer import EPOCH, MILLISECOND, writer_of
from izin.streams.fast_path.rows import FIELDS, RowReader, RowWriter
from izin.streams.state.packing import NEVER, Facts, Packing, facts_of
from tests.support.builders import an_admitted_event
from tests.support.order.harness import CODEC, row_of

ONAY = decide(None, an_admitted_event(event_id=str(UUID(int=7)))).consent
INSTANTS = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 - given a zone beside
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001 - the same
    timezones=st.just(UTC),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WRITER, READER = RowWriter(CODEC), RowReader(CODEC)
_text = writer_of("string")


@st.composite
def consents(draw: st.DrawFn) -> Consent:
    """Draw any consent at all, as often as not one that keeps the rules the packing counts on."""
    effective_at = draw(INSTANTS)
    if draw(st.booleans()):
        effective_at = effective_at.replace(microsecond=0)
    others = st.none() | st.just(effective_at) | INSTANTS
    return Consent(
        key=ConsentKey(
            brand_code=draw(st.integers(0, 10**9)),
            channel=draw(st.sampled_from(Channel)),
            recipient_type=draw(st.sampled_from(RecipientType)),
            recipient=draw(TEXTS.filter(bool) | st.just("ada/lovelace@example.com")),
        ),
        customer_id=draw(TEXTS),
        status=draw(st.sampled_from(Status)),
        effective_at=effective_at,
        origin_rank=draw(st.sampled_from(OriginRank)),
        event_id=draw(TEXTS | st.uuids().map(str) | st.uuids().map(lambda one: str(one).upper())),
        origin=draw(TEXTS),
        source=draw(st.none() | TEXTS),
        consent_date=draw(others),
        registrable=draw(st.booleans()),
        latest_onay_at=draw(others),
        latest_ret_at=draw(others),
        law_version=draw(st.integers(0, 2**40)),
    )


def back(packing: Packing, consent: Consent) -> Consent:
    return packing.unpack(consent.key.encode(), packing.pack(consent))


@given(st.lists(consents(), max_size=5), st.integers(0, 3))
def test_consent_packed_and_unpacked_is_unchanged(several: list[Consent], most: int) -> None:
    """Any consent, twice, with a table that has room for all shared fields or for few."""
    for packing in (Packing(), Packing(most=most)):
        for consent in several + several:
            found = back(packing, consent)
            assert found == consent
            assert packing.unpack_facts(packing.pack(consent)) == facts_of(consent)
            assert type(found.status) is Status
            assert type(found.origin_rank) is OriginRank
            assert type(found.key.channel) is Channel


@given(st.lists(consents(), max_size=5))
def test_table_of_shared_fields_can_be_saved(several: list[Consent]) -> None:
    """Bytes written with one table are read with the same table, saved and loaded."""
    first = Packing()
    packed = [(one.key.encode(), first.pack(one)) for one in several]
    second = Packing(first.shared())
    assert [second.unpack(key, value) for key, value in packed] == several
    assert second.shared() == first.shared()


def test_lawful_consent_takes_23_bytes() -> None:
    """Whole seconds, a consent date like the effective instant, a UUID: nothing more is stored."""
    assert len(Packing().pack(ONAY)) == 23


def test_instant_that_differs_takes_eight_bytes() -> None:
    """A consent date within the second, and an earlier RET."""
    later = ONAY.effective_at + timedelta(milliseconds=250)
    earlier = ONAY.effective_at - timedelta(days=1)
    assert len(Packing().pack(replace(ONAY, consent_date=later, latest_ret_at=earlier))) == 39


def test_shared_fields_are_returned_from_an_index() -> None:
    """Only new entries of the table have to be stored."""
    packing = Packing()
    packing.pack(ONAY)
    packing.pack(replace(ONAY, origin="crm"))
    packing.pack(ONAY)
    assert len(packing.shared()) == 2
    assert packing.shared(1) == packing.shared()[1:]


def test_invalid_key_is_refused() -> None:
    """Bytes under a key that no consent has are not guessed at."""
    packing = Packing()
    with pytest.raises(UnreadableKeyError):
        packing.unpack(b"no/key", packing.pack(ONAY))


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
