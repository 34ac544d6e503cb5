"""The one net: what becomes a dead letter, and what must stop the worker.

An agent that raises would acknowledge its message, so nothing may be raised for a record's sake. A
record is judged alone: bytes that are no record, schemas nobody knows, violations of the law, and
poison (a record that makes our own pure code stumble, or that gives more than a record may hold)
each become a dead letter with typed reasons, coordinates and the original bytes; the others in its
batch are untouched. Anything that goes wrong outside that judgement, such as a schema registry out
of reach, is not the record's fault: it is raised, and the worker stops before it commits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from izin.consent.admission import RefusedEvent, admit
from izin.consent.model import AdmittedEvent, ConsentEvent, Status
from izin.consent.violations import Violation
from izin.schemas.codec import Codec, UndecodableError, UnknownSchemaError
from izin.schemas.records import violation_to_avro

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEPT_BYTES = 64 * 1024
"""How much of an original value, of its key and of its headers a dead letter keeps; the digest and
the size speak of the whole value."""

APPENDED_AT = "izin-appended-at"
"""The header of a re-filed record that tells when it was first appended, in milliseconds: its
second append must not change the instant from which an undated statement counts."""


REASONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "IZIN-UNDECODABLE": (
            "the bytes are no consent event",
            "Kayıt çözülemedi; ConsentEvent sözleşmesine göre yazıp yeniden gönderin.",
        ),
        "IZIN-UNKNOWN-SCHEMA": (
            "the bytes name a schema that is not known here",
            "Kaydın şeması tanınmıyor; şemayı kaydedin ya da bilinen bir sürümle gönderin.",
        ),
        "IZIN-POISON": (
            "our own code stumbled over the record",
            "Kayıt işlenirken bizden kaynaklanan bir hata oluştu; işletmeciye bildirin.",
        ),
        "IZIN-REFILED-TWICE": (
            "the record was moved to its partition and still is in the wrong one",
            "Kayıt bölümüne taşındı, yine de yanlış bölümde; bölüm sayılarını denetleyin.",
        ),
    }
)
"""Each code of this stage with its English and its Turkish reason; the law's are the law's."""


class SourceRecord(Protocol):
    """A fetched Kafka record, as the transport gives it."""

    @property
    def topic(self) -> str:
        """The topic it was fetched from."""

    @property
    def partition(self) -> int:
        """And the partition."""

    @property
    def offset(self) -> int:
        """And its place there."""

    @property
    def timestamp(self) -> int:
        """When the broker appended it: milliseconds since 1970."""

    @property
    def key(self) -> bytes | None:
        """As its publisher chose it."""

    @property
    def value(self) -> bytes | None:
        """A framed ConsentEvent, or whatever else it is."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Its headers, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Why a record could not become a decision."""

    reason: str
    """``undecodable``, ``unknown-schema``, ``refused``, ``refiled-twice`` or ``poison``."""
    violations: tuple[Violation, ...]
    lost_ret: bool = False
    """Whether it was a "no" whose key cannot be read: a person must look."""

    @property
    def is_suspect(self) -> bool:
        """Whether it may be our own fault, or must not happen whoever is at fault."""
        return self.lost_ret or self.reason != REFUSED


REFUSED = "refused"
"""The reason of a dead letter that admission refused: its source's fault."""


class Judged(NamedTuple):
    """A record that makes a claim."""

    claim: AdmittedEvent
    as_it_came: bool
    """Whether admission changed nothing of the event."""


class Guard:
    """Judges records one by one."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def judge(self, record: SourceRecord) -> Judged | DeadLetter:
        """Return the claim that ``record`` makes, or why it makes none; raises nothing for its
        sake.
        """
        if record.value is None:
            return _dead(
                "IZIN-UNDECODABLE", "value", "no value: a tombstone says nothing of a consent"
            )
        try:
            event = self._codec.decode_event(record.value)
        except UnknownSchemaError as error:
            return _dead("IZIN-UNKNOWN-SCHEMA", "value", str(error))
        except UndecodableError as error:
            return _dead("IZIN-UNDECODABLE", "value", str(error))
        try:
            admitted = admit(event, appended_at=appended_at(record))
        except Exception as error:  # noqa: BLE001  # pure code stumbled: the record is poison
            return poison(error, says_ret=_says_ret(event))
        if isinstance(admitted, RefusedEvent):
            return DeadLetter(
                reason=REFUSED, violations=admitted.violations, lost_ret=_says_ret(event)
            )
        return Judged(admitted, admitted.event is event)


def _says_ret(event: ConsentEvent) -> bool:
    return event.status.strip().upper() == Status.RET


def appended_at(record: SourceRecord) -> datetime:
    """Return the instant the broker first appended ``record`` (input topics use LogAppendTime)."""
    milliseconds = record.timestamp
    if was_moved(record):
        _, value = record.headers[-1]
        if value is not None and value.isdigit():
            # Never later than this append, or a publisher could date a statement ahead.
            milliseconds = min(milliseconds, int(value))
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def was_moved(record: SourceRecord) -> bool:
    """Whether another append than this one counts: re-filing says so in the last header."""
    headers = record.headers
    return bool(headers) and headers[-1][0] == APPENDED_AT


def dead_letter_to_avro(letter: DeadLetter, record: SourceRecord) -> dict[str, Any]:
    """Return ``letter`` about ``record`` as an Avro DeadLetter."""
    value = record.value
    return {
        "reason": letter.reason,
        "violations": [violation_to_avro(one) for one in letter.violations],
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": None if record.key is None else record.key[:KEPT_BYTES],
        "value": None if value is None else value[:KEPT_BYTES],
        "value_size": 0 if value is None else len(value),
        "value_sha256": "" if value is None else sha256(value).hexdigest(),
        "headers": _kept_headers(record),
    }


def _kept_headers(record: SourceRecord) -> list[dict[str, Any]]:
    kept, left = [], KEPT_BYTES
    for name, content in record.headers:
        left -= len(name.encode()) + len(content or b"")
        if left < 0:
            break
        kept.append({"name": name, "value": content})
    return kept


def poison(error: Exception, *, says_ret: bool) -> DeadLetter:
    """Return the dead letter of a record over which our own code stumbled with ``error``."""
    # The type alone: a message may carry the recipient.
    letter = _dead("IZIN-POISON", "value", f"{type(error).__name__} while it was judged")
    return replace(letter, lost_ret=says_ret)


def refiled_twice(claim: AdmittedEvent) -> DeadLetter:
    """Return the dead letter of a record that was re-filed once and still stands in the wrong
    partition.
    """
    letter = _dead("IZIN-REFILED-TWICE", "key", "have all topics the same number of partitions?")
    return replace(letter, lost_ret=claim.status is Status.RET)


def _dead(code: str, field: str, detail: str) -> DeadLetter:
    reason, reason_tr = REASONS[code]
    named = Violation(field=field, code=code, reason=f"{reason}: {detail}", reason_tr=reason_tr)
    return DeadLetter(reason=code.removeprefix("IZIN-").lower(), violations=(named,))
