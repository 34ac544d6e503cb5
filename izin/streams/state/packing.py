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
in full, so every consent is unpacked as it was. Its numbers are read from bytes as machine words:
compiled, that makes no object, where ``int.from_bytes`` is looked up and makes several.
"""

import json
import re
from binascii import a2b_hex
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from mypy_extensions import i64

from izin.consent import Consent, ConsentKey, OriginRank, Status, maker
from izin.schemas.fast.writer import EPOCH

LAYOUT = 2
"""Increased with every change in how packed bytes are read."""

_MICROSECOND: Final = timedelta(microseconds=1)
_FAR_SECONDS: Final = 1 << 32
_EFFECTIVE_FROM: Final = 3
_INSTANTS_FROM: Final = 7
_INSTANT_SIZE: Final = 8
_LENGTH_SIZE: Final = 4
_SECOND: Final = 1_000_000
_is_uuid: Final[Callable[[bytes], object]] = re.compile(
    rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
).fullmatch
"""Matches the canonical spelling, the only one that 16 bytes give back."""

_UUID_SIZE: Final = 36
_unhex: Final = a2b_hex

_SAME: Final = 1
_STORED: Final = 2
"""The two bits of an instant: like the effective one, or stored by itself; 0: there is none."""
_DATE: Final = 0
_ONAY: Final = 2
_RET: Final = 4
_INSTANTS_END: Final = 6
_IS_UUID: Final = 1 << 6
_IS_FAR: Final = 1 << 7
_TABLE_FULL: Final = 0xFFFF

SharedFields = tuple[Any, ...]
"""Customer, status, origin rank, origin, source, whether it is registrable, the law's version. They
have no types here, for compiled code would take such a tuple apart and make it again."""

_consent = maker(Consent)


Facts = tuple[SharedFields, int, int, int, int, bytes]
"""All of a consent but its key: the shared fields; the effective instant, the consent date, the
latest ONAY and the latest RET in microseconds since 1970, or ``NEVER``; the event's id."""

NEVER: Final = -(1 << 62)
"""In place of an instant that there is not: compiled code has instants in machine words."""


def unsigned(data: bytes, at: i64, end: i64) -> i64:
    """Return the number from ``at`` to ``end``, of at most seven bytes; raises IndexError."""
    number: i64 = 0
    while end > at:
        end -= 1
        byte: i64 = data[end]
        number = number << 8 | byte
    return number


def signed(data: bytes, at: i64, end: i64) -> i64:
    """Return the number from ``at`` to ``end``, of at most eight bytes; raises IndexError."""
    last = end - 1
    sign: i64 = data[last]
    return (sign - ((sign & 128) << 1)) << 8 * (last - at) | unsigned(data, at, last)


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
        effective: i64,
        consent_date: i64,
        latest_onay: i64,
        latest_ret: i64,
        event_id: bytes,
    ) -> bytes:
        """Return these facts packed."""
        index: i64 = self._indexes.get(shared, -1)
        if index < 0:
            index = self._add(shared)
        flags: i64 = (
            _kind(consent_date, effective) << _DATE
            | _kind(latest_onay, effective) << _ONAY
            | _kind(latest_ret, effective) << _RET
        )
        seconds: i64 = effective // _SECOND
        far = fields = b""
        if seconds * _SECOND != effective or not 0 <= seconds < _FAR_SECONDS:
            seconds, far = 0, _stored(effective, NEVER)
            flags |= _IS_FAR
        if len(event_id) == _UUID_SIZE and _is_uuid(event_id):
            flags |= _IS_UUID
            event_id = _unhex(event_id.translate(None, b"-"))
        if index == _TABLE_FULL:
            fields = _encoded(shared)
            fields = len(fields).to_bytes(_LENGTH_SIZE, "little") + fields
        head: int = index | flags << 16 | seconds << 24
        return b"%b%b%b%b%b%b%b" % (
            head.to_bytes(_INSTANTS_FROM, "little"),
            far,
            _stored(consent_date, effective),
            _stored(latest_onay, effective),
            _stored(latest_ret, effective),
            fields,
            event_id,
        )

    def unpack_instants(self, packed: bytes) -> tuple[SharedFields, i64, i64, i64, i64]:
        """Return the facts in ``packed`` but for the event's id."""
        flags: i64 = packed[2]
        effective = unsigned(packed, _EFFECTIVE_FROM, _INSTANTS_FROM) * _SECOND
        if flags & _IS_FAR:
            effective = signed(packed, _INSTANTS_FROM, _INSTANTS_FROM + _INSTANT_SIZE)
        index = unsigned(packed, 0, 2)
        if index == _TABLE_FULL:
            end = _place(flags, _INSTANTS_END) + _LENGTH_SIZE
            shared = _decoded(packed[end : end + unsigned(packed, end - _LENGTH_SIZE, end)])
        else:
            shared = self._table[index]
        return (
            shared,
            effective,
            _one_of(packed, flags, _DATE, effective),
            _one_of(packed, flags, _ONAY, effective),
            _one_of(packed, flags, _RET, effective),
        )

    def event_id(self, packed: bytes) -> bytes:
        """Return the id of the event in ``packed``."""
        flags: i64 = packed[2]
        start = _place(flags, _INSTANTS_END)
        if unsigned(packed, 0, 2) == _TABLE_FULL:
            start += _LENGTH_SIZE + unsigned(packed, start, start + _LENGTH_SIZE)
        return _hex(packed[start:]) if flags & _IS_UUID else packed[start:]

    def unpack_facts(self, packed: bytes) -> Facts:
        """Return the facts in ``packed``."""
        return (*self.unpack_instants(packed), self.event_id(packed))

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
            effective_at=EPOCH + effective * _MICROSECOND,
            origin_rank=origin_rank,
            event_id=event_id.decode(),
            origin=origin,
            source=source,
            consent_date=_at(consent_date),
            registrable=registrable,
            latest_onay_at=_at(latest_onay),
            latest_ret_at=_at(latest_ret),
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
        _since(consent.consent_date),
        _since(consent.latest_onay_at),
        _since(consent.latest_ret_at),
        consent.event_id.encode(),
    )


def _since(instant: datetime | None) -> int:
    return NEVER if instant is None else (instant - EPOCH) // _MICROSECOND


def _at(microseconds: int) -> datetime | None:
    return None if microseconds == NEVER else EPOCH + microseconds * _MICROSECOND


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


def _kind(instant: i64, effective: i64) -> i64:
    """Return the two bits of ``instant``."""
    return 0 if instant == NEVER else _SAME if instant == effective else _STORED


def _stored(instant: i64, effective: i64) -> bytes:
    """Return what is stored of ``instant``."""
    if _kind(instant, effective) != _STORED:
        return b""
    number: int = instant
    return number.to_bytes(_INSTANT_SIZE, "little", signed=True)


def _place(flags: i64, shift: i64) -> i64:
    """Return where the instant with the bits at ``shift`` is, if it is stored: behind others."""
    before: i64 = flags & (1 << shift) - 1
    count: i64 = (flags >> 7) + (before >> 1 & 1) + (before >> 3 & 1) + (before >> 5 & 1)
    return _INSTANTS_FROM + _INSTANT_SIZE * count


def _one_of(packed: bytes, flags: i64, shift: i64, effective: i64) -> i64:
    """Return the instant with the bits at ``shift``."""
    kind: i64 = flags >> shift & 3
    if kind == _STORED:
        at = _place(flags, shift)
        return signed(packed, at, at + _INSTANT_SIZE)
    return effective if kind == _SAME else NEVER
