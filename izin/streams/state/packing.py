"""A consent packed in few bytes, for millions of them: its row without the fields of the key.

    2   index into the table of shared fields: customer, status, origin, source …, in which few
        keys differ
    1   flags: two bits for each instant, whether the event id is a UUID, whether the effective
        instant is out of range
    4   the effective instant, in whole seconds
    8   for each instant that is stored by itself: microseconds
        the shared fields, where the table is full; the event id, 16 bytes where it is a UUID

By the law (see ``consent.ordering``) the effective instant has whole seconds and the latest instant
of the winning status is the effective one; the consent date usually is too. What differs is stored
in full, so every consent is unpacked as it was.
"""

import json
import re
from binascii import a2b_hex
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from struct import Struct
from typing import Final, NamedTuple

from izin.consent.making import maker
from izin.consent.model import Consent, ConsentKey, OriginRank, Status
from izin.schemas.fast.writer import EPOCH

LAYOUT = 2
"""Increased with every change in how packed bytes are read."""

_MICROSECOND: Final = timedelta(microseconds=1)
_FAR_SECONDS: Final = 1 << 32
_HEAD: Final = Struct("<HBI")
_STORED_FROM: Final = _HEAD.size
_INSTANT: Final = Struct("<q")
_LENGTH: Final = Struct("<I")
_SECOND: Final = 1_000_000
_is_uuid: Final[Callable[[bytes], object]] = re.compile(
    rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
).fullmatch
"""Matches the canonical spelling, the only one that 16 bytes give back."""

_SAME: Final = 1
_STORED: Final = 2
"""The two bits of an instant: like the effective one, or stored by itself; 0: there is none."""
_DATE: Final = 0
_ONAY: Final = 2
_RET: Final = 4
_IS_UUID: Final = 1 << 6
_IS_FAR: Final = 1 << 7
_TABLE_FULL: Final = 0xFFFF

SharedFields = tuple[str, Status, OriginRank, str, str | None, bool, int]

_consent = maker(Consent)


Facts = tuple[SharedFields, int, int | None, int | None, int | None, bytes]
"""All of a consent but its key: the shared fields; the effective instant, the consent date, the
latest ONAY and the latest RET in microseconds since 1970; the event's id. A tuple, for it is the
cheapest."""


class _Shape(NamedTuple):
    """How a row with some flags is read; the indexes are in (None, effective, stored…)."""

    stored: Struct | None
    consent_date: int
    latest_onay: int
    latest_ret: int
    event_id: int
    is_uuid: bool


class Packing:
    """Packs and unpacks, with the table of shared fields that its bytes refer to."""

    def __init__(self, shared: Iterable[bytes] = (), *, most: int = _TABLE_FULL) -> None:
        self._table: list[SharedFields] = []
        self._indexes: dict[SharedFields, int] = {}
        self._most = most
        for fields in shared:
            self._add(_decoded(fields))

    def shared(self, start: int = 0) -> Sequence[bytes]:
        """Return the table from the index ``start`` on, to be saved with packed bytes."""
        return [_encoded(fields) for fields in self._table[start:]]

    def pack(self, consent: Consent) -> bytes:
        """Return ``consent`` without its key."""
        return self.pack_facts(*facts_of(consent))

    def pack_facts(  # noqa: PLR0913, PLR0917  # the facts, one by one
        self,
        shared: SharedFields,
        effective: int,
        consent_date: int | None,
        latest_onay: int | None,
        latest_ret: int | None,
        event_id: bytes,
    ) -> bytes:
        """Return these facts packed; the instants are in microseconds since 1970."""
        index = self._indexes.get(shared)
        if index is None:
            index = self._add(shared)
        flags, stored = 0, b""
        seconds = effective // _SECOND
        if seconds * _SECOND != effective or not 0 <= seconds < _FAR_SECONDS:
            seconds, flags, stored = 0, _IS_FAR, _INSTANT.pack(effective)
        for shift, instant in ((_DATE, consent_date), (_ONAY, latest_onay), (_RET, latest_ret)):
            if instant is None:
                continue
            if instant == effective:
                flags |= _SAME << shift
            else:
                flags |= _STORED << shift
                stored += _INSTANT.pack(instant)
        if _is_uuid(event_id):
            flags |= _IS_UUID
            event_id = a2b_hex(event_id.translate(None, b"-"))
        if index == _TABLE_FULL:
            fields = _encoded(shared)
            stored += _LENGTH.pack(len(fields)) + fields
        return _HEAD.pack(index, flags, seconds) + stored + event_id

    def unpack_facts(self, packed: bytes) -> Facts:
        """Return the facts in ``packed``."""
        index, flags, seconds = _HEAD.unpack_from(packed)
        stored, consent_date, latest_onay, latest_ret, start, is_uuid = _SHAPES[flags]
        effective = seconds * _SECOND
        instants: tuple[int | None, ...] = None, effective
        if stored is not None:
            instants += stored.unpack_from(packed, _STORED_FROM)
            if flags & _IS_FAR:
                effective = instants[2] or 0
                instants = None, *instants[2:]
        if index == _TABLE_FULL:
            begun = start + _LENGTH.size
            start = begun + _LENGTH.unpack_from(packed, start)[0]
            shared = _decoded(packed[begun:start])
        else:
            shared = self._table[index]
        return (
            shared,
            effective,
            instants[consent_date],
            instants[latest_onay],
            instants[latest_ret],
            _hex(packed[start:]) if is_uuid else packed[start:],
        )

    def unpack(self, key: bytes, packed: bytes) -> Consent:
        """Return the consent of the canonical ``key``."""
        shared, effective, consent_date, latest_onay, latest_ret, event_id = self.unpack_facts(
            packed
        )
        customer_id, status, origin_rank, origin, source, registrable, law_version = shared
        return _consent(
            key=ConsentKey.parse(key.decode()),
            customer_id=customer_id,
            status=status,
            effective_at=_at(effective),
            origin_rank=origin_rank,
            event_id=event_id.decode(),
            origin=origin,
            source=source,
            consent_date=None if consent_date is None else _at(consent_date),
            registrable=registrable,
            latest_onay_at=None if latest_onay is None else _at(latest_onay),
            latest_ret_at=None if latest_ret is None else _at(latest_ret),
            law_version=law_version,
        )

    def _add(self, shared: SharedFields) -> int:
        """Return the index of ``shared``, new in the table, unless the table is full."""
        index = len(self._table)
        if index >= self._most:
            return _TABLE_FULL
        self._table.append(shared)
        self._indexes[shared] = index
        return index


def facts_of(consent: Consent) -> Facts:
    """Return all of ``consent`` but its key."""
    return (
        (
            consent.customer_id,
            consent.status,
            consent.origin_rank,
            consent.origin,
            consent.source,
            consent.registrable,
            consent.law_version,
        ),
        _since(consent.effective_at),
        None if consent.consent_date is None else _since(consent.consent_date),
        None if consent.latest_onay_at is None else _since(consent.latest_onay_at),
        None if consent.latest_ret_at is None else _since(consent.latest_ret_at),
        consent.event_id.encode(),
    )


def _since(instant: datetime) -> int:
    return (instant - EPOCH) // _MICROSECOND


def _at(microseconds: int) -> datetime:
    return EPOCH + microseconds * _MICROSECOND


def _hex(uuid: bytes) -> bytes:
    """Return the canonical spelling: ``hex`` separates each two bytes, and some separators go."""
    pairs = uuid.hex("-", 2)
    return f"{pairs[:4]}{pairs[5:29]}{pairs[30:34]}{pairs[35:]}".encode()


def _encoded(shared: SharedFields) -> bytes:
    return json.dumps(shared, ensure_ascii=False).encode()


def _decoded(encoded: bytes) -> SharedFields:
    customer_id, status, origin_rank, origin, source, registrable, law_version = json.loads(encoded)
    rank = OriginRank(origin_rank)
    return customer_id, Status(status), rank, origin, source, registrable, law_version


def _shape(flags: int) -> _Shape:
    """Return how a row with ``flags`` is read."""
    indexes, following = [], _STORED
    for shift in (_DATE, _ONAY, _RET):
        kind = flags >> shift & 3
        indexes.append(following if kind == _STORED else kind)
        following += kind == _STORED
    count = following - _STORED + bool(flags & _IS_FAR)
    stored = Struct(f"<{count}q") if count else None
    start = _STORED_FROM + (stored.size if stored else 0)
    date, onay, ret = indexes
    return _Shape(stored, date, onay, ret, start, bool(flags & _IS_UUID))


_SHAPES = [_shape(flags) for flags in range(256)]
