"""A consent as few bytes, for millions are held: its row without what its key says already.

    2   which words: customer, status, origin, source … (a table, for few differ between keys)
    1   how the rest is to be read: a pair of bits an instant, whether the event id is a UUID,
        whether the effective instant is far
    4   the effective instant, in whole seconds
    8   for each instant that is told: microseconds
        the words, where the table is full; the event id, 16 bytes where it is a UUID

By the law (see ``consent.ordering``) the effective instant has whole seconds and the latest instant
of the winning status is the effective one; as a rule the consent date is too. What keeps no rule is
told in full, so every consent comes back as it was.
"""

from __future__ import annotations

import json
import re
from binascii import a2b_hex
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from izin.consent.making import maker
from izin.consent.model import Channel, Consent, ConsentKey, OriginRank, RecipientType, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LAYOUT = 1
"""Raised whenever packed bytes are to be read in another way."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FAR_SECONDS: Final = 1 << 32
_HEAD: Final = Struct("<HBI")
_TOLD_FROM: Final = _HEAD.size
_INSTANT: Final = Struct("<q")
_LENGTH: Final = Struct("<I")
_SECOND: Final = 1_000_000
_is_uuid: Final[Callable[[bytes], object]] = re.compile(
    rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
).fullmatch
"""In its canonical spelling: of any other, the bytes would not give back the text."""
_SLASHES = 2
"""In the part of a canonical key that many keys share: brand, type and recipient type."""

_SAME: Final = 1
_TOLD: Final = 2
"""Of a pair of bits; 0 where there is no such instant."""
_DATE: Final = 0
_ONAY: Final = 2
_RET: Final = 4
_IS_UUID: Final = 1 << 6
_IS_FAR: Final = 1 << 7
_WORDS_TOLD: Final = 0xFFFF

Words = tuple[str, Status, OriginRank, str, str | None, bool, int]

_consent = maker(Consent)
_key = maker(ConsentKey)


Facts = tuple[Words, int, int | None, int | None, int | None, bytes]
"""What packed bytes say: the words; the effective instant, the consent date, the latest ONAY and
the latest RET in microseconds since 1970; the event's id. A plain tuple, for it is the
cheapest."""


class _Shape(NamedTuple):
    """How to read what one byte of flags stands for; the places are in (None, effective, told…)."""

    told: Struct | None
    consent_date: int
    latest_onay: int
    latest_ret: int
    event_id: int
    is_uuid: bool


class Packing:
    """Packs and unpacks, with the table of words that its bytes refer to."""

    def __init__(self, words: Iterable[bytes] = (), *, most: int = _WORDS_TOLD) -> None:
        self._words: list[Words] = []
        self._places: dict[Words, int] = {}
        self._shared: dict[bytes, tuple[int, Channel, RecipientType]] = {}
        self._most = most
        for told in words:
            self._note(_words_told(told))

    def words(self, start: int = 0) -> Sequence[bytes]:
        """Return the table from ``start`` on, for whoever keeps packed bytes longer than it."""
        return [_telling(words) for words in self._words[start:]]

    def pack(self, consent: Consent) -> bytes:
        """Return ``consent`` without its key."""
        return self.join(*facts_of(consent))

    def join(  # noqa: PLR0913, PLR0917  # the facts, one by one
        self,
        words: Words,
        effective: int,
        consent_date: int | None,
        latest_onay: int | None,
        latest_ret: int | None,
        event_id: bytes,
    ) -> bytes:
        """Return these facts packed; the instants in microseconds since 1970."""
        index = self._places.get(words)
        if index is None:
            index = self._note(words)
        flags, told = 0, b""
        seconds = effective // _SECOND
        if seconds * _SECOND != effective or not 0 <= seconds < _FAR_SECONDS:
            seconds, flags, told = 0, _IS_FAR, _INSTANT.pack(effective)
        for shift, instant in ((_DATE, consent_date), (_ONAY, latest_onay), (_RET, latest_ret)):
            if instant is None:
                continue
            if instant == effective:
                flags |= _SAME << shift
            else:
                flags |= _TOLD << shift
                told += _INSTANT.pack(instant)
        if _is_uuid(event_id):
            flags |= _IS_UUID
            event_id = a2b_hex(event_id.translate(None, b"-"))
        if index == _WORDS_TOLD:
            telling = _telling(words)
            told += _LENGTH.pack(len(telling)) + telling
        return _HEAD.pack(index, flags, seconds) + told + event_id

    def standing(self, packed: bytes) -> tuple[Status, int, int | None, int | None]:
        """Return of ``packed`` what is asked first: its status, and the effective instant, the
        latest ONAY and the latest RET in microseconds since 1970.
        """
        index, flags, seconds = _HEAD.unpack_from(packed)
        if index == _WORDS_TOLD or flags & _IS_FAR:
            words, effective, _, latest_onay, latest_ret, _ = self.facts(packed)
            return words[1], effective, latest_onay, latest_ret
        told, _, latest_onay, latest_ret, *_ = _SHAPES[flags]
        effective = seconds * _SECOND
        instants: tuple[int | None, ...] = None, effective
        if told is not None:
            instants += told.unpack_from(packed, _TOLD_FROM)
        return self._words[index][1], effective, instants[latest_onay], instants[latest_ret]

    def facts(self, packed: bytes) -> Facts:
        """Return what ``packed`` says."""
        index, flags, seconds = _HEAD.unpack_from(packed)
        told, consent_date, latest_onay, latest_ret, start, is_uuid = _SHAPES[flags]
        effective = seconds * _SECOND
        instants: tuple[int | None, ...] = None, effective
        if told is not None:
            instants += told.unpack_from(packed, _TOLD_FROM)
            if flags & _IS_FAR:
                effective = instants[2] or 0
                instants = None, *instants[2:]
        if index == _WORDS_TOLD:
            begun = start + _LENGTH.size
            start = begun + _LENGTH.unpack_from(packed, start)[0]
            words = _words_told(packed[begun:start])
        else:
            words = self._words[index]
        return (
            words,
            effective,
            instants[consent_date],
            instants[latest_onay],
            instants[latest_ret],
            _hex(packed[start:]) if is_uuid else packed[start:],
        )

    def unpack(self, key: bytes, packed: bytes) -> Consent:
        """Return the consent of the canonical ``key``."""
        words, effective, consent_date, latest_onay, latest_ret, event_id = self.facts(packed)
        customer_id, status, origin_rank, origin, source, registrable, law_version = words
        shared, _, recipient = key.rpartition(b"/")
        known = self._shared.get(shared)
        return _consent(
            key=self._parsed(shared, recipient)
            if known is None
            else _key(
                brand_code=known[0],
                channel=known[1],
                recipient_type=known[2],
                recipient=recipient.decode(),
            ),
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

    def _note(self, words: Words) -> int:
        """Return the place of ``words``, new in the table, unless the table is full."""
        place = len(self._words)
        if place >= self._most:
            return _WORDS_TOLD
        self._words.append(words)
        self._places[words] = place
        return place

    def _parsed(self, shared: bytes, recipient: bytes) -> ConsentKey:
        key = ConsentKey.parse(f"{shared.decode()}/{recipient.decode()}")
        if shared.count(b"/") == _SLASHES:  # else a part of the recipient is in it
            self._shared[shared] = key.brand_code, key.channel, key.recipient_type
        return key


def facts_of(consent: Consent) -> Facts:
    """Return what ``consent`` says besides its key."""
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
    return (instant - _EPOCH) // _MICROSECOND


def _at(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND


def _hex(uuid: bytes) -> bytes:
    """Return the canonical spelling; each pair of bytes is cut off, and the cuts too many go."""
    cut = uuid.hex("-", 2)
    return f"{cut[:4]}{cut[5:29]}{cut[30:34]}{cut[35:]}".encode()


def _telling(words: Words) -> bytes:
    return json.dumps(words, ensure_ascii=False).encode()


def _words_told(told: bytes) -> Words:
    customer_id, status, origin_rank, origin, source, registrable, law_version = json.loads(told)
    rank = OriginRank(origin_rank)
    return customer_id, Status(status), rank, origin, source, registrable, law_version


def _shape(flags: int) -> _Shape:
    """Return how a row with ``flags`` is to be read."""
    places, following = [], _TOLD
    for shift in (_DATE, _ONAY, _RET):
        kind = flags >> shift & 3
        places.append(following if kind == _TOLD else kind)
        following += kind == _TOLD
    count = following - _TOLD + bool(flags & _IS_FAR)
    told = Struct(f"<{count}q") if count else None
    start = _TOLD_FROM + (told.size if told else 0)
    date, onay, ret = places
    return _Shape(told, date, onay, ret, start, bool(flags & _IS_UUID))


_SHAPES = [_shape(flags) for flags in range(256)]
