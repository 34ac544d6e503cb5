"""A row of the outbox as an event to publish, or why it is none.

Its columns are the fields of a record of the intake, and read as those are. What is relayed twice
is the same event: its id is made of the name of the outbox, the row's own id and all that the row
says, and it was received when the row was inserted.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Final, NamedTuple

from izin.consent import FIRST_DATE, SKEW, Violation
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.intake.request_body import ESCAPED, EVIDENCE, ID, NAMES, JsonPairs, record_of
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.records import (
    AcceptedRecord,
    EventOrigin,
    RefusedRecord,
    read,
    validate,
)
from izin.producers.publishing.event_ids import message_event_id

_COLUMNS: Final = frozenset(NAMES) - {ID}
"""What a row says; columns that others have added are theirs."""


class OutboxRow(NamedTuple):
    """A claimed row: its id, and its columns as JSON in the encoding of the database."""

    id: int
    record: bytes


def event_of(
    row: OutboxRow, name: str, directory: BrandDirectory, now: datetime
) -> AcceptedRecord | RefusedRecord:
    """Return the event that ``row`` of the outbox ``name`` is, or every reason why it is none.

    A row whose instant of insertion is none, or lies further ahead than clocks may differ, was
    received ``now``.
    """
    found = json.loads(row.record.decode("utf-8", ESCAPED))
    pairs = [
        (column, _evidence(value) if column == EVIDENCE else value)
        for column, value in found.items()
        if column in _COLUMNS
    ]
    given = record_of(pairs, is_live=False)
    record = read(given.values, DateRules()).with_violations(given.violations)
    origin = EventOrigin(
        event_id=message_event_id(name, str(row.id), hashlib.sha256(row.record).hexdigest()),
        origin=name,
        received_at=_received_at(found.get("created_at"), now),
        evidence=given.evidence,
        is_live=given.is_live,
    )
    return validate(record, directory, origin)


def _evidence(text: str) -> object:
    """Return the pairs of an object of JSON, without those that are null; else the text, which is
    no evidence.
    """
    try:
        found = json.loads(text, object_pairs_hook=JsonPairs, parse_int=str, parse_float=str)
    except (ValueError, TypeError, RecursionError):
        return text
    if isinstance(found, JsonPairs):
        found.pairs = [pair for pair in found.pairs if pair[1] is not None]
    return found


def _received_at(created_at: object, now: datetime) -> datetime:
    try:
        found = datetime.fromisoformat(str(created_at)).astimezone(UTC)
    except (ValueError, OverflowError):  # such as infinity
        return now
    return found if FIRST_DATE <= found <= now + SKEW else now


def as_json(violations: tuple[Violation, ...]) -> str:
    """Return why a row is refused, for the table of those that were; it quotes nothing of them."""
    return json.dumps(
        [
            {"field": one.field, "code": one.code, "reason": one.reason, "reason_tr": one.reason_tr}
            for one in violations
        ],
        ensure_ascii=False,
    )
