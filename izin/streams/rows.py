"""A row of ``consents`` from the facts it tells, and back, with no value of the law between.

A row and an event write the fields of their key, brand code to recipient, with the same bytes in
the same order: its *address*. What else a row tells are words, which many rows share, instants, and
an event's id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from izin.consent.words import Status
from izin.schemas import contracts
from izin.schemas.avro_cutter import cutter_of
from izin.schemas.avro_writer import long_bytes, writer_of
from izin.streams.packing import Facts, facts_of

if TYPE_CHECKING:
    from izin.schemas.codec import Codec
    from izin.streams.packing import Words

_FIELDS = (
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
_CUTS = (
    "customer_id",
    "recipient_type",
    "recipient",
    "status",
    "effective_at",
    "origin_rank",
    "event_id",
    "source",
    "consent_date",
    "registrable",
    "latest_ret_at",
)
_RANK = _CUTS.index("origin_rank")
_INSTANTS = ("effective_at", "consent_date", "latest_onay_at", "latest_ret_at")
_NULL, _SOME = b"\x00", b"\x02"
_A_BYTE = 128
_MILLISECOND = 1000
_ENOUGH = 4096
"""Of words that are kept: few installations have more."""


class Rows:
    """Writes rows and reads them, framed as ``codec`` frames."""

    def __init__(self, codec: Codec) -> None:
        schema = contracts.current()["Consent"].schema
        if tuple(field["name"] for field in schema["fields"]) != _FIELDS:
            raise ValueError(f"the contract of Consent must have the fields {_FIELDS}")
        self._codec = codec
        self._header = codec.header("Consent")
        self._cut = cutter_of(schema, _CUTS, _INSTANTS)
        self._write = {field["name"]: writer_of(field["type"]) for field in schema["fields"]}
        self._told: dict[Words, tuple[bytes, ...]] = {}
        self._words: dict[tuple[bytes, ...], Words] = {}

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
                _MOMENTS.get(effective) or _moment(effective),
                rank,
                long_bytes(len(event_id)),
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
        if len(self._told) >= _ENOUGH:
            self._told.clear()
        write = self._write
        other = Status.ONAY if status is Status.RET else Status.RET
        told = self._told[words] = (
            write["customer_id"](customer_id),
            write["status"](status),
            write["previous_status"](None),
            write["previous_status"](other),
            write["origin_rank"](int(origin_rank)),
            write["origin"](origin) + write["source"](source),
            write["registrable"](registrable),
            write["law_version"](law_version),
        )
        return told

    def read(self, row: bytes) -> Facts:
        """Return what ``row`` tells besides its key; raises as :meth:`Codec.decode_consent`."""
        start = len(self._header)
        try:
            cuts = self._cut(row, start) if row.startswith(self._header) else ()
        except Exception:  # noqa: BLE001  # wrong or unusual: the codec judges it
            cuts = ()
        if not cuts or cuts[-1] != len(row) or row[cuts[_RANK]] >= _A_BYTE:
            return facts_of(self._codec.decode_consent(row))
        customer, kind, recipient, status, effective, rank, event_id, source, *others = cuts
        consent_date, registrable, latest, effective_at, *others, end = others
        consent_date_at, latest_onay_at, latest_ret_at = others
        telling = (
            row[start:customer],
            row[customer:kind],
            row[recipient:status],
            row[effective:rank],
            row[event_id:source],
            row[consent_date:registrable],
            row[latest:end],
        )
        words = self._words.get(telling)
        if words is None:
            if len(self._words) >= _ENOUGH:
                self._words.clear()
            words = self._words[telling] = facts_of(self._codec.decode_consent(row)).words
        return Facts(
            words,
            effective_at * _MILLISECOND,
            None if consent_date_at is None else consent_date_at * _MILLISECOND,
            None if latest_onay_at is None else latest_onay_at * _MILLISECOND,
            None if latest_ret_at is None else latest_ret_at * _MILLISECOND,
            row[rank + 1 : event_id],
        )


_MOMENTS: dict[int, bytes] = {}


def _moment(microseconds: int) -> bytes:
    """Return the instant as Avro writes it, and keep it, for it stands in several places of each
    record that a batch writes of an event.
    """
    if len(_MOMENTS) >= _ENOUGH:
        _MOMENTS.clear()
    found = _MOMENTS[microseconds] = long_bytes(microseconds // _MILLISECOND)
    return found


def _or_null(microseconds: int | None) -> bytes:
    if microseconds is None:
        return _NULL
    return _SOME + (_MOMENTS.get(microseconds) or _moment(microseconds))
