"""Simple events, read and decided on their bytes: most events, in a third of the time.

An event is *simple* if no special case of the law applies: it comes from one of our systems, its
words and its recipient are canonical, it is dated, not before the law began and not after it was
received or appended, no retailer is involved, and its record has the canonical key. It is decided
here where its instant alone decides (its key has no state, or the event is later than it, or
earlier than what is known of its own status), and where it is the very event that the state has.

Everything else is left to the general path, ``consent.admission`` and ``consent.ordering``, which
makes the same bytes of a simple event. A test folds the same events both ways.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from mypy_extensions import i64, mypyc_attr

from izin.consent import (
    FIRST_DATE,
    LAW_VERSION,
    PURPOSE,
    SKEW,
    SOURCES,
    STATUSES,
    Channel,
    ConsentKey,
    DateBasis,
    DecisionKind,
    OriginRank,
    Reason,
    Source,
    Status,
    UnreadableKeyError,
    is_canonical_email,
    is_canonical_phone,
)
from izin.schemas.codec import Codec
from izin.schemas.fast.cache import put
from izin.schemas.fast.writer import EPOCH, long_bytes, writer_of
from izin.schemas.generated.consent_event_offsets import event_offsets
from izin.schemas.partitioning import last_slash
from izin.streams.fetched_record import FetchedRecord
from izin.streams.state.packing import NEVER, Packing, SharedFields

_NULL_SIZE: Final = 1
_ONE_BYTE: Final = 128
_MILLISECOND: Final = 1000
_SECOND: Final = 1_000_000
_SKEW: Final = SKEW // timedelta(milliseconds=1)
_PURPOSE: Final = bytes([2 * len(PURPOSE)]) + PURPOSE.encode()
"""A member of the evidence, as Avro writes its name."""
_FIRST: Final = (FIRST_DATE - EPOCH) // timedelta(milliseconds=1)
_JUDGED_SOURCES: Final = frozenset({Source.HS_KARAR, Source.HS_2015})
"""Sources that have rules of their own (H408, H155)."""
_MAX_BYTES: Final = 64 * 1024

_text: Final = writer_of("string")
_RET: Final = Status.RET
_APPLY: Final = DecisionKind.APPLY
_DUPLICATE: Final = DecisionKind.DUPLICATE
_STALE: Final = DecisionKind.STALE
_FIRST_OF_KEY: Final = Reason.FIRST
_NEWER: Final = Reason.NEWER
_OLDER: Final = Reason.OLDER
_SAME_EVENT: Final = Reason.SAME_EVENT


class SharedContent:
    """What many events have in common."""

    def __init__(self, fields: SharedFields, status: Status, source: str) -> None:
        self.fields, self.is_ret, self.source = fields, status is _RET, source
        """The last is the relative URI of the CloudEvents header."""


@mypyc_attr(acyclic=True)  # the garbage collector need not look at it
class SimpleEvent:
    """A simple event; its instants are in microseconds since 1970, the effective one in whole
    seconds.
    """

    def __init__(
        self, content: SharedContent, key_fields: bytes, event_id: bytes, consent_date: i64
    ) -> None:
        self.content, self.key_fields, self.event_id = content, key_fields, event_id
        """The second is the fields of its key, as a row has them too."""
        self.consent_date, self.effective = consent_date, consent_date // _SECOND * _SECOND


@mypyc_attr(acyclic=True)  # the same
class SimpleDecision:
    """What the law decides of a simple event, and the facts of its key from then on."""

    def __init__(  # noqa: PLR0913, PLR0917  # by position, for one is made of each record
        self,
        kind: DecisionKind,
        reason: Reason,
        opted_out: bool,
        fields: SharedFields,
        effective: i64,
        consent_date: i64,
        latest_onay: i64,
        latest_ret: i64,
        event_id: bytes,
    ) -> None:
        self.kind, self.reason, self.opted_out, self.fields = kind, reason, opted_out, fields
        self.effective, self.consent_date, self.event_id = effective, consent_date, event_id
        self.latest_onay, self.latest_ret = latest_onay, latest_ret

    def pack(self, packing: Packing) -> bytes:
        """Return the facts packed."""
        return packing.pack_facts(
            self.fields,
            self.effective,
            self.consent_date,
            self.latest_onay,
            self.latest_ret,
            self.event_id,
        )


class SimpleEventReader:
    """Reads simple events from records framed as ``codec`` frames."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._header = codec.header("ConsentEvent")
        self._contents: dict[tuple[bytes, ...], SharedContent | None] = {}
        self._prefixes: dict[bytes, tuple[bytes, Callable[[str], object]]] = {}

    def read(self, record: FetchedRecord) -> SimpleEvent | None:
        """Return the event of ``record`` if it is a simple one."""
        value, key = record.value, record.key
        start = len(self._header)
        if value is None or key is None or len(value) > _MAX_BYTES:
            return None
        if not value.startswith(self._header):
            return None
        # fmt: off
        try:
            (event_id, customer, recipient, raw, source, received, origin, _ref, _cause, _import,
             row, access, _notice, evidence, consent_date, received_at,
             end) = event_offsets(value, start)
        except Exception:  # noqa: BLE001  # wrong or unusual: not simple
            return None
        # fmt: on
        if (
            end != len(value)
            or end - evidence != _NULL_SIZE  # it is no movement at İYS
            or access - row != 2 * _NULL_SIZE  # no retailer is involved
            or not 0 < value[start] < _ONE_BYTE
            or consent_date is None
            or received_at is None
            or not _FIRST <= consent_date <= received_at <= record.timestamp + _SKEW
            or consent_date > record.timestamp
            or _PURPOSE in value  # which admission reads
        ):
            return None
        key_fields = value[customer:recipient]
        shared = value[event_id:customer], value[raw:source], value[received:origin]
        content = self._contents.get(shared, _UNKNOWN)
        if content is _UNKNOWN:
            content = self._learn_content(shared, value)
        if content is None or not self._is_key_of(key, key_fields) or record.was_appended_before:
            return None
        return SimpleEvent(
            content, key_fields, value[start + 1 : event_id], consent_date * _MILLISECOND
        )

    def _is_key_of(self, key: bytes, key_fields: bytes) -> bool:
        """Return whether ``key`` is the canonical key of ``key_fields``, recipient included."""
        slash = last_slash(key)
        prefix, recipient = key[:slash], key[slash + 1 :]
        found = self._prefixes.get(prefix)
        if found is None:
            found = self._learn_prefix(prefix)
        encoded, is_canonical = found
        return (
            key_fields == b"%b%b%b" % (encoded, long_bytes(len(recipient)), recipient)
            and is_canonical(recipient.decode()) is not None
        )

    def _learn_prefix(self, prefix: bytes) -> tuple[bytes, Callable[[str], object]]:
        """Return how the key fields of keys with ``prefix`` begin, and the check of recipients."""
        try:
            key = ConsentKey.parse(f"{prefix.decode()}/-")
        except (UnreadableKeyError, UnicodeDecodeError):
            return put(self._prefixes, prefix, (b"", _is_none))
        is_canonical = is_canonical_email if key.channel is Channel.EPOSTA else is_canonical_phone
        encoded = b"".join(
            (long_bytes(key.brand_code), _text(key.channel), _text(key.recipient_type))
        )
        is_known = key.brand_code > 0
        return put(self._prefixes, prefix, (encoded, is_canonical if is_known else _is_none))

    def _learn_content(self, shared: tuple[bytes, ...], value: bytes) -> SharedContent | None:
        """Return the shared content of the event ``value``, None where it is not simple."""
        event = self._codec.decode_event(value)
        status, source = STATUSES.get(event.status), SOURCES.get(event.source or "")
        content = None
        if (
            status is not None
            and source is not None
            and source not in _JUDGED_SOURCES
            and event.date_basis == DateBasis.STATED
            and event.customer_id
        ):
            rank = OriginRank.OURS
            fields = event.customer_id, status, rank, event.origin, source.value, True, LAW_VERSION
            content = SharedContent(fields, status, f"/{event.customer_id}/{event.origin}")
        return put(self._contents, shared, content)


_UNKNOWN: Final = SharedContent((), Status.RET, "")


def _is_none(_: str) -> None:
    return None


def decide_simple(
    event: SimpleEvent, packed: bytes | None, packing: Packing
) -> SimpleDecision | None:
    """Return what the law decides of ``event`` over the state of its key, ``packed``; None where
    more than the instant decides.
    """
    content, date, at = event.content, event.consent_date, event.effective
    is_ret, onay, ret = content.is_ret, NEVER, NEVER
    reason, was_ret = _FIRST_OF_KEY, False
    if packed is not None:
        fields, effective, current_date, onay, ret = packing.unpack_instants(packed)
        reason, was_ret = _NEWER, fields[1] is _RET
        if at <= effective:
            known = ret if is_ret else onay
            current_id = packing.event_id(packed)
            is_same = (
                at == effective
                and date == current_date
                and current_id == event.event_id
                and fields == content.fields
            )
            if not is_same and (at == effective or known == NEVER or at > known):
                return None
            kind, reason = (_DUPLICATE, _SAME_EVENT) if is_same else (_STALE, _OLDER)
            return SimpleDecision(
                kind, reason, False, fields, effective, current_date, onay, ret, current_id
            )
    if is_ret:
        ret = at
    else:
        onay = at
    return SimpleDecision(
        _APPLY, reason, is_ret and not was_ret, content.fields, at, date, onay, ret, event.event_id
    )
