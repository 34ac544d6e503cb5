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
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from izin.consent.making import maker
from izin.consent.model import Channel, Consent, ConsentKey, OriginRank, RecipientType, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LAYOUT = 1
"""Raised whenever packed bytes are to be read in another way."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_A_DAY = 86_400
_FAR_SECONDS = 1 << 32
_HEAD = Struct("<HBI")
_TOLD_FROM = _HEAD.size
_LENGTH = Struct("<I")
_UUID_SIZE = 16
_SLASHES = 2
"""In the part of a canonical key that many keys share: brand, type and recipient type."""

_NONE, _SAME, _TOLD = range(3)
_DATE, _ONAY, _RET = 0, 2, 4
_IS_UUID, _IS_FAR = 1 << 6, 1 << 7
_WORDS_TOLD = 0xFFFF

Words = tuple[str, Status, OriginRank, str, str | None, bool, int]

_consent = maker(Consent)
_key = maker(ConsentKey)
_at = datetime.fromtimestamp


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
        words = (
            consent.customer_id,
            consent.status,
            consent.origin_rank,
            consent.origin,
            consent.source,
            consent.registrable,
            consent.law_version,
        )
        index = self._places.get(words)
        if index is None:
            index = self._note(words)
        effective_at, told = consent.effective_at, []
        since = effective_at - _EPOCH
        seconds, flags = since.days * _A_DAY + since.seconds, 0
        if since.microseconds or not 0 <= seconds < _FAR_SECONDS:
            seconds, flags = 0, _IS_FAR
            told.append(since // _MICROSECOND)
        for shift, instant in (
            (_DATE, consent.consent_date),
            (_ONAY, consent.latest_onay_at),
            (_RET, consent.latest_ret_at),
        ):
            if instant is not None:
                if instant == effective_at:
                    flags |= _SAME << shift
                else:
                    flags |= _TOLD << shift
                    told.append((instant - _EPOCH) // _MICROSECOND)
        event_id = _uuid_bytes(consent.event_id)
        if event_id is None:
            event_id = consent.event_id.encode()
        else:
            flags |= _IS_UUID
        packed = _HEAD.pack(index, flags, seconds)
        if told:
            packed += Struct(f"<{len(told)}q").pack(*told)
        if index == _WORDS_TOLD:
            telling = _telling(words)
            packed += _LENGTH.pack(len(telling)) + telling
        return packed + event_id

    def unpack(self, shared: bytes, recipient: bytes, packed: bytes) -> Consent:
        """Return the consent of the canonical key ``shared``/``recipient``."""
        index, flags, seconds = _HEAD.unpack_from(packed)
        told, consent_date, latest_onay, latest_ret, start, is_uuid = _SHAPES[flags]
        effective_at = _at(seconds, UTC)
        instants: tuple[datetime | None, ...] = None, effective_at
        if told is not None:
            more = [_EPOCH + one * _MICROSECOND for one in told.unpack_from(packed, _TOLD_FROM)]
            if flags & _IS_FAR:
                effective_at = more.pop(0)
            instants = None, effective_at, *more
        if index == _WORDS_TOLD:
            begun = start + _LENGTH.size
            start = begun + _LENGTH.unpack_from(packed, start)[0]
            words = _words_told(packed[begun:start])
        else:
            words = self._words[index]
        event_id = _uuid_text(packed[start:]) if is_uuid else packed[start:].decode()
        customer_id, status, origin_rank, origin, source, registrable, law_version = words
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
            effective_at=effective_at,
            origin_rank=origin_rank,
            event_id=event_id,
            origin=origin,
            source=source,
            consent_date=instants[consent_date],
            registrable=registrable,
            latest_onay_at=instants[latest_onay],
            latest_ret_at=instants[latest_ret],
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


def split(key: bytes) -> tuple[bytes, bytes]:
    """Return the part of a canonical key that many keys share, and the rest; a slash is between."""
    shared, _, recipient = key.rpartition(b"/")
    return shared, recipient


def _uuid_bytes(text: str) -> bytes | None:
    """Return the bytes of a UUID in its canonical spelling, None of any other text."""
    try:
        found = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return None
    if len(found) != _UUID_SIZE:
        return None
    return found if _uuid_text(found) == text else None


def _uuid_text(found: bytes) -> str:
    """Return the canonical spelling; each pair of bytes is cut off, and the cuts too many go."""
    cut = found.hex("-", 2)
    return f"{cut[:4]}{cut[5:29]}{cut[30:34]}{cut[35:]}"


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
