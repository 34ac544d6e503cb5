"""The plain statement, read and decided on its bytes: most records, at a third of the price.

A statement is *plain* where nothing about it needs judging. One of our systems makes it, in words
and of an address spelt as the law spells them; it is dated, not before the law began and not after
it was received; no retailer has to do with it; and its record bears the canonical key. It is
decided plainly where its instant alone decides (nothing is held of its key, or it is later than
what is held, or earlier than what is known of its status), and where it is the very one that is
held.

Whatever is not plain is left to ``admission`` and ``ordering``, and to them alone: they read a
plain statement to the same bytes. A test folds the same events both ways.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from izin.consent.admission import FIRST_DATE, SKEW
from izin.consent.emails import is_canonical_email
from izin.consent.errors import UnreadableKeyError
from izin.consent.model import LAW_VERSION, ConsentKey
from izin.consent.phones import is_canonical_phone
from izin.consent.words import (
    SOURCES,
    STATUSES,
    Channel,
    DateBasis,
    DecisionKind,
    OriginRank,
    Reason,
    Source,
    Status,
)
from izin.schemas.fast.cache import keep
from izin.schemas.fast.writer import long_bytes, size_bytes, writer_of
from izin.schemas.generated.consent_event_offsets import event_offsets
from izin.streams.guard import was_moved
from izin.streams.state.packing import Facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from izin.schemas.codec import Codec
    from izin.streams.guard import SourceRecord
    from izin.streams.state.packing import Packing, Words

_NULL_SIZE: Final = 1
_A_BYTE: Final = 128
_MILLISECOND: Final = 1000
_SECOND: Final = 1_000_000
_SKEW: Final = SKEW // timedelta(milliseconds=1)
_FIRST: Final = (FIRST_DATE - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
_JUDGED_SOURCES: Final = frozenset({Source.HS_KARAR, Source.HS_2015})
"""Sources that have rules of their own (H408, H155)."""
_LONGEST: Final = 64 * 1024

_text: Final = writer_of("string")
_RET: Final = Status.RET
_APPLY: Final = DecisionKind.APPLY
_DUPLICATE: Final = DecisionKind.DUPLICATE
_STALE: Final = DecisionKind.STALE
_FIRST_WORD: Final = Reason.FIRST
_NEWER: Final = Reason.NEWER
_OLDER: Final = Reason.OLDER
_SAME_EVENT: Final = Reason.SAME_EVENT


def is_compiled() -> bool:
    """Whether the hot path runs compiled: as a wheel is built where there is a C compiler."""
    return not __file__.endswith(".py")


class Voice(NamedTuple):
    """Who says what: the words that many statements share."""

    words: Words
    status: Status
    source: str
    """The relative URI of the CloudEvents header."""


Plain = tuple[Voice, bytes, bytes, int, int]
"""A plain statement: who says it; the fields of its key, as a row writes them too; the event's id;
the consent date in microseconds since 1970, and the same in whole seconds, its effective instant.
Like a verdict a plain tuple, for one is made of each record."""

Verdict = tuple[DecisionKind, Reason, bool, Facts]
"""What the law decides of a plain statement, whether it opts out, and what holds true of the key
from then on."""


class PlainReader:
    """Reads plain statements of records framed as ``codec`` frames."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._header = codec.header("ConsentEvent")
        self._voices: dict[tuple[bytes, ...], Voice | None] = {}
        self._kinds: dict[bytes, tuple[bytes, Callable[[str], object]]] = {}

    def read(self, record: SourceRecord) -> Plain | None:
        """Return the statement of ``record`` if it is a plain one."""
        value, key = record.value, record.key
        start = len(self._header)
        if value is None or key is None or len(value) > _LONGEST:
            return None
        if not value.startswith(self._header):
            return None
        # fmt: off
        try:
            (event_id, customer, recipient, raw, source, received, origin, _, _, _, row, access, _,
             evidence, consent_date, received_at, end) = event_offsets(value, start)
        except Exception:  # noqa: BLE001  # wrong or unusual: not plain
            return None
        # fmt: on
        if (
            end != len(value)
            or end - evidence != _NULL_SIZE  # İYS did not say it
            or access - row != 2 * _NULL_SIZE
            or not 0 < value[start] < _A_BYTE
            or consent_date is None
            or received_at is None
            or not _FIRST <= consent_date <= received_at <= record.timestamp + _SKEW
        ):
            return None
        address = value[customer:recipient]
        telling = value[event_id:customer], value[raw:source], value[received:origin]
        voice = self._voices.get(telling, _UNHEARD)
        if voice is _UNHEARD:
            voice = self._hear(telling, value)
        if voice is None or not self._is_address(address, key) or was_moved(record):
            return None
        return (
            voice,
            address,
            value[start + 1 : event_id],
            consent_date * _MILLISECOND,
            consent_date // _MILLISECOND * _SECOND,
        )

    def _is_address(self, address: bytes, key: bytes) -> bool:
        """Whether ``key`` is the canonical key of ``address``, whose recipient is canonical."""
        shared, _, recipient = key.rpartition(b"/")
        kind = self._kinds.get(shared)
        if kind is None:
            kind = self._note_kind(shared)
        beginning, is_canonical = kind
        return (
            address == beginning + size_bytes(len(recipient)) + recipient
            and is_canonical(recipient.decode()) is not None
        )

    def _note_kind(self, shared: bytes) -> tuple[bytes, Callable[[str], object]]:
        """Return how an address of the keys that begin with ``shared`` begins, and how it is known
        that its recipient is canonical.
        """
        try:
            key = ConsentKey.parse(f"{shared.decode()}/-")
        except (UnreadableKeyError, UnicodeDecodeError):
            return keep(self._kinds, shared, (b"", _is_none))
        is_canonical = is_canonical_email if key.channel is Channel.EPOSTA else is_canonical_phone
        beginning = b"".join(
            (long_bytes(key.brand_code), _text(key.channel), _text(key.recipient_type))
        )
        is_known = key.brand_code > 0
        return keep(self._kinds, shared, (beginning, is_canonical if is_known else _is_none))

    def _hear(self, telling: tuple[bytes, ...], value: bytes) -> Voice | None:
        """Return the voice that ``value`` speaks with, if it is a plain one, and keep it."""
        event = self._codec.decode_event(value)
        status, source = STATUSES.get(event.status), SOURCES.get(event.source or "")
        voice = None
        if (
            status is not None
            and source is not None
            and source not in _JUDGED_SOURCES
            and event.date_basis == DateBasis.STATED
            and event.customer_id
        ):
            rank = OriginRank.OURS
            words = (event.customer_id, status, rank, event.origin, source.value, True, LAW_VERSION)
            voice = Voice(words, status, f"/{event.customer_id}/{event.origin}")
        return keep(self._voices, telling, voice)


_UNHEARD = Voice(("", Status.RET, OriginRank.OURS, "", None, False, 0), Status.RET, "")


def _is_none(_: str) -> None:
    return None


def decide_plainly(said: Plain, packed: bytes | None, packing: Packing) -> Verdict | None:
    """Return what the law decides of ``said`` over what is held of its key, ``packed``, if the
    instant alone decides or it is held already.
    """
    (words, said_status, _), _, event_id, consent_date, at = said
    is_ret = said_status is _RET
    if packed is None:
        onay, ret = (None, at) if is_ret else (at, None)
        facts = words, at, consent_date, onay, ret, event_id
        return _APPLY, _FIRST_WORD, is_ret, facts
    status, effective, latest_onay, latest_ret = packing.standing(packed)
    if at > effective:
        onay, ret = (latest_onay, at) if is_ret else (at, latest_ret)
        facts = words, at, consent_date, onay, ret, event_id
        return _APPLY, _NEWER, is_ret and status is not _RET, facts
    held = packing.facts(packed)
    if at == effective:
        held_words, _, date, _, _, held_id = held
        is_held = held_words == words and date == consent_date and held_id == event_id
        return (_DUPLICATE, _SAME_EVENT, False, held) if is_held else None
    known = latest_ret if is_ret else latest_onay
    if known is not None and at <= known:
        return _STALE, _OLDER, False, held
    return None
