"""Rows of an outbox as events: read as records of the intake are, with ids of what they say."""

import json
import re
from datetime import timedelta

import pytest

from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.producers.intake.request_body import NAMES
from izin.producers.mapping.records import AcceptedRecord
from izin.producers.outbox.relay import sql
from izin.producers.outbox.rows import OutboxRow, event_of
from tests.support.builders import BRAND, CUSTOMER, NOON, PHONE, usual

NOW = NOON + timedelta(hours=1)
BRANDS = BrandDirectory(
    [RegisteredBrand(brand_code=BRAND, iys_code=200001, customer_id=CUSTOMER, name="Example")]
)


def a_row(id_: int = 7, **columns: object) -> OutboxRow:
    given = usual(
        columns,
        created_at=NOON.isoformat(),
        brand_code=str(BRAND),
        type="MESAJ",
        recipient=PHONE,
        status="RET",
        source="HS_WEB",
    )
    return OutboxRow(id_, json.dumps(given).encode())


def accepted(row: OutboxRow, name: str = "crm") -> AcceptedRecord:
    found = event_of(row, name, BRANDS, NOW)
    assert isinstance(found, AcceptedRecord)
    return found


def test_same_row_is_the_same_event_and_another_is_not():
    """Its id is of the outbox, the row's id and what it says; it was received when inserted."""
    first = accepted(a_row())
    assert accepted(a_row()) == first
    assert first.event.received_at == NOON
    others = [accepted(a_row(8)), accepted(a_row(actor="x")), accepted(a_row(), "shop")]
    assert len({one.event.event_id for one in (first, *others)}) == 4


@pytest.mark.parametrize(
    "created_at", ["infinity", "-infinity", "0044-03-15T00:00:00+00:00 BC", "2999-01-01T00:00+00"]
)
def test_row_inserted_at_no_instant_was_received_now(created_at: str):
    """Or ahead of it; it has the same id all the same."""
    assert accepted(a_row(created_at=created_at)).event.received_at == NOW


def test_row_of_a_clock_that_is_ahead_says_the_same_whenever_it_is_relayed():
    """As far as the law lets clocks differ: a repetition must not count from another instant."""
    ahead = (NOW + timedelta(minutes=1)).isoformat()
    found = accepted(a_row(created_at=ahead)).event.received_at
    assert found == NOW + timedelta(minutes=1)


def test_row_of_bytes_that_are_no_text_is_read_as_far_as_it_goes():
    """As of a database without an encoding; columns that others added are theirs."""
    row = a_row(actor="Ada", region="north")
    spoilt = OutboxRow(row.id, row.record.replace(b"Ada", b"\xc4\xff"))
    found = accepted(spoilt)
    assert {one.code for one in found.violations} == {"IZIN-CHARACTER"}


@pytest.mark.parametrize("evidence", ["{", "7", ["x"], "[" * 5000 + "]" * 5000, '{"a": {"b": 1}}'])
def test_opt_out_is_published_whatever_its_evidence(evidence: object):
    """What is no object of texts is a violation of its field, and no error."""
    found = accepted(a_row(evidence=evidence))
    assert [one.code for one in found.violations] == ["IZIN-EVIDENCE"]


def test_evidence_is_an_object_of_texts_numbers_and_nothing():
    """As a trigger makes it of columns that may be null, or of any number."""
    found = accepted(a_row(evidence=f'{{"agent": null, "at": 1.5, "number": {"9" * 999}}}'))
    assert found.event.evidence == {"at": "1.5", "number": "9" * 999}


def test_columns_are_the_fields_of_a_record():
    """One that is added to the contract is added to the table, and put aside with the others."""
    (table,) = re.findall(
        r"CREATE TABLE IF NOT EXISTS izin_outbox \((.*?)\n\)", sql("table"), re.DOTALL
    )
    columns = re.findall(r"^    (\w+) ", table, re.MULTILINE)
    assert set(columns) == {*map(str, NAMES), "created_at"}
    for moved in re.findall(r"id, created_at,.*?(?=\)| FROM)", sql("remove"), re.DOTALL):
        assert re.findall(r"\w+", moved)[:-1] == columns, moved
