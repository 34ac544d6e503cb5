"""Write rows of ``desired-consents`` from their facts, and read them back by offsets.

No value of the law is made in between: new workers read millions of rows.

A row and an event have the fields of their key, brand code to recipient, as the same bytes in the
same order: its *key fields*. What else a row has are fields shared by many rows, instants, and an
event's id. Those that are shared are recognized by their bytes, once the codec has read a row with
them; of the others only the instants and the event's id are read.

The general paths are ``Codec.encode`` and ``Codec.decode_consent``, which is taken for a row that
is wrong or unusual; a test compares them.
"""

from collections.abc import Sequence
from typing import Final

from mypy_extensions import i64

from izin.consent import Status
from izin.schemas import contracts
from izin.schemas.codec import Codec
from izin.schemas.contracts import Schema
from izin.schemas.fast.cache import put
from izin.schemas.fast.writer import long_bytes, writer_of
from izin.schemas.generated.decision_offsets import consent_offsets
from izin.streams.state.packing import NEVER, Facts, SharedFields, facts_of

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

SharedBytes = tuple[bytes, ...]
"""The shared fields as bytes: customer to recipient type, both statuses, rank, origin and source,
whether it is registrable, the law's version."""

_NULL: Final = b"\x00"
_SOME: Final = b"\x02"
_ONE_BYTE: Final = 128
_MILLISECOND: Final = 1000
_ONAY: Final = Status.ONAY
_RET: Final = Status.RET


def row_fields() -> Sequence[Schema]:
    """Return the fields of a row's contract; raises ValueError where they are not ``FIELDS``."""
    fields: Sequence[Schema] = contracts.current()["Consent"].schema["fields"]
    if tuple(field["name"] for field in fields) != FIELDS:
        raise ValueError(f"the contract of Consent must have the fields {FIELDS}")
    return fields


class _EncodedFields:
    """The bytes of shared fields in a row, and what is always beside them."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        # Each is set from one of the parts, for compiled code finds attributes without looking.
        self.start, self.alone, self.overriding, self.rank = parts[:4]
        self.origin, self.registrable, self.end = parts[4:]


class RowWriter:
    """Writes rows, framed as ``codec`` frames."""

    def __init__(self, codec: Codec) -> None:
        self._header = codec.header("Consent")
        self._write = {field["name"]: writer_of(field["type"]) for field in row_fields()}
        self._shared: dict[SharedFields, _EncodedFields] = {}

    def write(  # noqa: PLR0913, PLR0917  # the facts, one by one
        self,
        key_fields: bytes,
        shared: SharedFields,
        effective: i64,
        consent_date: i64,
        latest_onay: i64,
        latest_ret: i64,
        event_id: bytes,
    ) -> bytes:
        """Return the framed row of these facts about the key with ``key_fields``."""
        encoded = self._shared.get(shared) or self._encode(shared)
        overridden = latest_onay if shared[1] is _RET else latest_ret
        # The instants of a row mostly are one and the same.
        at = instant_bytes(effective)
        same = _SOME + at
        return b"%b%b%b%b%b%b%b%b%b%b%b%b%b" % (
            encoded.start,
            key_fields,
            encoded.alone if overridden == NEVER else encoded.overriding,
            at,
            encoded.rank,
            long_bytes(len(event_id)),
            event_id,
            encoded.origin,
            same if consent_date == effective else _or_null(consent_date),
            encoded.registrable,
            same if latest_onay == effective else _or_null(latest_onay),
            same if latest_ret == effective else _or_null(latest_ret),
            encoded.end,
        )

    def _encode(self, shared: SharedFields) -> _EncodedFields:
        """Return the bytes of the ``shared`` fields in a row."""
        customer_id, status, origin_rank, origin, source, registrable, law_version = shared
        write = self._write
        other = _ONAY if status is _RET else _RET
        encoded = _EncodedFields(
            (
                self._header + write["customer_id"](customer_id),
                write["status"](status) + write["previous_status"](None),
                write["status"](status) + write["previous_status"](other),
                write["origin_rank"](int(origin_rank)),
                write["origin"](origin) + write["source"](source),
                write["registrable"](registrable),
                write["law_version"](law_version),
            )
        )
        return put(self._shared, shared, encoded)


def instant_bytes(microseconds: int) -> bytes:
    """Return an instant as Avro writes it."""
    return long_bytes(microseconds // _MILLISECOND)


def _or_null(microseconds: i64) -> bytes:
    return _NULL if microseconds == NEVER else _SOME + instant_bytes(microseconds)


class RowReader:
    """Reads rows that ``codec`` frames, and any others through it."""

    def __init__(self, codec: Codec) -> None:
        row_fields()  # facts are made of them
        self._codec = codec
        self._header = codec.header("Consent")
        self._shared: dict[SharedBytes, SharedFields] = {}

    def read(self, row: bytes) -> Facts:
        """Return all of ``row`` but its key; raises as :meth:`Codec.decode_consent`."""
        start = len(self._header)
        # fmt: off
        try:
            (kinds, recipient, statuses, instant, rank, event_id, origin, dated, registrable,
             latest, effective, consent_date, onay, ret, end) = consent_offsets(row, start)
        except (IndexError, ValueError, TypeError):
            end = -1
        # fmt: on
        if end != len(row) or not row.startswith(self._header) or row[rank] >= _ONE_BYTE:
            return facts_of(self._codec.decode_consent(row))
        encoded = (
            row[start:kinds],
            row[recipient:statuses],
            row[instant:rank],
            row[event_id:origin],
            row[dated:registrable],
            row[latest:],
        )
        shared = self._shared.get(encoded)
        if shared is None:
            shared = put(self._shared, encoded, facts_of(self._codec.decode_consent(row))[0])
        return (
            shared,
            effective * _MILLISECOND,
            NEVER if consent_date is None else consent_date * _MILLISECOND,
            NEVER if onay is None else onay * _MILLISECOND,
            NEVER if ret is None else ret * _MILLISECOND,
            row[rank + 1 : event_id],
        )
