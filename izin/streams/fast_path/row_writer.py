"""A row of ``desired-consents`` from the facts it tells, with no value of the law between; ``row_reader``
reads it back.

A row and an event write the fields of their key, brand code to recipient, with the same bytes in
the same order: its *address*. What else a row tells are words, which many rows share, instants, and
an event's id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from izin.consent.words import Status
from izin.schemas import contracts
from izin.schemas.fast.cache import keep
from izin.schemas.fast.writer import long_bytes, size_bytes, writer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from izin.schemas.codec import Codec
    from izin.schemas.contracts import Schema
    from izin.streams.state.packing import Facts, Words

FIELDS: tuple[str, ...] = (
    "customer_id",
    "brand_code",
    "type",
    "recipient_type",
    "recipient",
    "status",
    "previous_status",
    "effective_at",
    "origin_rank",
    "event_id",
    "origin",
    "source",
    "consent_date",
    "registrable",
    "latest_onay_at",
    "latest_ret_at",
    "law_version",
)
"""The contract for which rows are written and read field by field."""

_NULL: Final = b"\x00"
_SOME: Final = b"\x02"
_MILLISECOND: Final = 1000


def row_fields() -> Sequence[Schema]:
    """Return the fields of a row's contract; raises ValueError where they are not ``FIELDS``."""
    fields: Sequence[Schema] = contracts.current()["Consent"].schema["fields"]
    if tuple(field["name"] for field in fields) != FIELDS:
        raise ValueError(f"the contract of Consent must have the fields {FIELDS}")
    return fields


class Rows:
    """Writes rows, framed as ``codec`` frames."""

    def __init__(self, codec: Codec) -> None:
        self._header = codec.header("Consent")
        self._write = {field["name"]: writer_of(field["type"]) for field in row_fields()}
        self._told: dict[Words, tuple[bytes, ...]] = {}

    def write(self, address: bytes, facts: Facts) -> bytes:
        """Return the row that tells ``facts`` of the key at ``address``, framed."""
        words, effective, consent_date, latest_onay, latest_ret, event_id = facts
        told = self._told.get(words) or self._tell(words)
        customer, status, no_other, other, rank, origin_and_source, registrable, law = told
        overridden = latest_onay if words[1] is Status.RET else latest_ret
        return b"".join(
            (
                self._header,
                customer,
                address,
                status,
                no_other if overridden is None else other,
                moment(effective),
                rank,
                size_bytes(len(event_id)),
                event_id,
                origin_and_source,
                _or_null(consent_date),
                registrable,
                _or_null(latest_onay),
                _or_null(latest_ret),
                law,
            )
        )

    def _tell(self, words: Words) -> tuple[bytes, ...]:
        """Return the bytes of ``words`` in a row, in their order."""
        customer_id, status, origin_rank, origin, source, registrable, law_version = words
        write = self._write
        other = Status.ONAY if status is Status.RET else Status.RET
        told = (
            write["customer_id"](customer_id),
            write["status"](status),
            write["previous_status"](None),
            write["previous_status"](other),
            write["origin_rank"](int(origin_rank)),
            write["origin"](origin) + write["source"](source),
            write["registrable"](registrable),
            write["law_version"](law_version),
        )
        return keep(self._told, words, told)


_MOMENTS: dict[int, bytes] = {}


def moment(microseconds: int) -> bytes:
    """Return an instant as Avro writes it; kept, for it stands in several places of each record
    that a batch writes of an event.
    """
    found = _MOMENTS.get(microseconds)
    return found or keep(_MOMENTS, microseconds, long_bytes(microseconds // _MILLISECOND))


def _or_null(microseconds: int | None) -> bytes:
    if microseconds is None:
        return _NULL
    return _SOME + moment(microseconds)
