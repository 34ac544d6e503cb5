"""Write a row of ``desired-consents`` from its facts, without a value of the law in between.

A row and an event have the fields of their key, brand code to recipient, as the same bytes in the
same order: its *key fields*. What else a row has are fields shared by many rows, instants, and an
event's id. The general path is ``Codec.encode``; ``row_reader`` reads the rows back.
"""

from collections.abc import Sequence
from typing import Final

from izin.consent.enums import Status
from izin.schemas import contracts
from izin.schemas.codec import Codec
from izin.schemas.contracts import Schema
from izin.schemas.fast.cache import put
from izin.schemas.fast.writer import long_bytes, writer_of
from izin.streams.state.packing import Facts, SharedFields

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
"""The fields of a row, in the order in which they are written and read here."""

_NULL: Final = b"\x00"
_SOME: Final = b"\x02"
_MILLISECOND: Final = 1000


def row_fields() -> Sequence[Schema]:
    """Return the fields of a row's contract; raises ValueError where they are not ``FIELDS``."""
    fields: Sequence[Schema] = contracts.current()["Consent"].schema["fields"]
    if tuple(field["name"] for field in fields) != FIELDS:
        raise ValueError(f"the contract of Consent must have the fields {FIELDS}")
    return fields


class RowWriter:
    """Writes rows, framed as ``codec`` frames."""

    def __init__(self, codec: Codec) -> None:
        self._header = codec.header("Consent")
        self._write = {field["name"]: writer_of(field["type"]) for field in row_fields()}
        self._shared: dict[SharedFields, tuple[bytes, ...]] = {}

    def write(self, key_fields: bytes, facts: Facts) -> bytes:
        """Return the framed row of ``facts`` about the key with ``key_fields``."""
        shared, effective, consent_date, latest_onay, latest_ret, event_id = facts
        encoded = self._shared.get(shared) or self._encode(shared)
        customer, status, no_other, other, rank, origin_and_source, registrable, law = encoded
        overridden = latest_onay if shared[1] is Status.RET else latest_ret
        at = instant_bytes(effective)
        # The instants of a row mostly are one and the same.
        same = _SOME + at
        return b"".join(
            (
                self._header,
                customer,
                key_fields,
                status,
                no_other if overridden is None else other,
                at,
                rank,
                long_bytes(len(event_id)),
                event_id,
                origin_and_source,
                same if consent_date == effective else _or_null(consent_date),
                registrable,
                same if latest_onay == effective else _or_null(latest_onay),
                same if latest_ret == effective else _or_null(latest_ret),
                law,
            )
        )

    def _encode(self, shared: SharedFields) -> tuple[bytes, ...]:
        """Return the bytes of the ``shared`` fields in a row, in their order."""
        customer_id, status, origin_rank, origin, source, registrable, law_version = shared
        write = self._write
        other = Status.ONAY if status is Status.RET else Status.RET
        encoded = (
            write["customer_id"](customer_id),
            write["status"](status),
            write["previous_status"](None),
            write["previous_status"](other),
            write["origin_rank"](int(origin_rank)),
            write["origin"](origin) + write["source"](source),
            write["registrable"](registrable),
            write["law_version"](law_version),
        )
        return put(self._shared, shared, encoded)


def instant_bytes(microseconds: int) -> bytes:
    """Return an instant as Avro writes it."""
    return long_bytes(microseconds // _MILLISECOND)


def _or_null(microseconds: int | None) -> bytes:
    return _NULL if microseconds is None else _SOME + instant_bytes(microseconds)
