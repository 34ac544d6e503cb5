"""Admit records one by one: what becomes a dead letter, and what must stop the worker.

An agent that raises would acknowledge its message, so no error about a record may be raised. Each
record is checked alone: bytes that are no record, unknown schemas, violations of the law, and
poison (a record over which our own pure code raises) each become a dead letter with typed reasons,
coordinates and the original bytes; the others in its batch are untouched. An opt-out (RET) with a
readable key takes effect all the same: without bytes that are no text, and without texts that are
too long to be carried. Any other failure, such as an unreachable schema registry, is not the
record's fault: it is raised, and the worker stops before it commits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple, Protocol

from izin.consent import (
    FIRST_DATE,
    AdmittedEvent,
    ConsentEvent,
    OurError,
    RefusedEvent,
    Status,
    Violation,
    admit,
    shortened,
    violation,
)
from izin.schemas.codec import Codec, UndecodableError, UnknownSchemaError
from izin.schemas.erasure import ERASURE
from izin.schemas.fast.reader import append_instant
from izin.schemas.fast.writer import EPOCH, MILLISECOND
from izin.schemas.records import (
    MAX_COPIED_BYTES,
    AvroRecord,
    Headers,
    dead_letter_to_avro,
    derived_id,
    headers,
)
from izin.streams.fetched_record import APPENDED_AT, FetchedRecord, UnreadableBatch

LARGEST_RET = 200_000
"""The bytes of an opt-out (RET) beyond which it loses texts: what is written of a record may have
its texts three times (event, row, headers), and is at most about 1 MB."""

REDRIVEN = "izin-redriven"
"""The header of a record that was redriven; its value is the dead letter, ``partition/offset`` of
their topic."""

_DIGITS = 15
"""The digits of an instant in milliseconds, at most."""
_LAW_BEGAN = (FIRST_DATE - EPOCH) // MILLISECOND

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
            "our own code failed on the record",
            "Kayıt işlenirken bizden kaynaklanan bir hata oluştu; işletmeciye bildirin.",
        ),
        "IZIN-OVERSIZED": (
            "the event is too large for what is written of it; shorten its texts and its evidence",
            "Kayıt çok büyük (en fazla 900 KB); metinleri ve kanıtı kısaltıp yeniden gönderin.",
        ),
        "IZIN-NOT-ERASABLE": (
            "a key was to be erased and there is no secret for it",
            "Silme yapılamadı: IZIN_SUPPRESSION_SECRETS ayarlı değil; ayarlayıp yeniden isteyin.",
        ),
        "IZIN-UNREADABLE-BATCH": (
            "a batch of records cannot be unpacked",
            "Kayıt grubu açılamadı; kaynağın grubu düzgün sıkıştırıp yeniden göndermesi gerekir.",
        ),
        "IZIN-REPARTITIONED-TWICE": (
            "the record was moved to its partition and still is in the wrong one",
            "Kayıt bölümüne taşındı, yine de yanlış bölümde; bölüm sayılarını denetleyin.",
        ),
    }
)
"""Each code of this stage with its English and its Turkish reason; the law's are the law's."""


class Appended(Protocol):
    """A record, or a dead letter of one: what says when it was first appended."""

    @property
    def timestamp(self) -> int:
        """When the broker appended it, in milliseconds since 1970."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Its headers, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Why a record could not become a decision."""

    reason: str
    """``undecodable``, ``unknown-schema``, ``refused``, ``not-erasable``, ``unreadable-batch``,
    ``repartitioned-twice`` or ``poison``.
    """
    violations: tuple[Violation, ...]
    lost_ret: bool = False
    """Whether it was an opt-out (RET): a person must act."""

    suspect: str = ""
    """Where the fault may be ours: the source of the event, its customer and origin."""


REFUSED = "refused"
"""The reason of a dead letter that admission refused, or that is too large: its source's fault."""


class AdmittedRecord(NamedTuple):
    """A record whose event was admitted."""

    admitted: AdmittedEvent
    is_unchanged: bool
    """Whether its bytes are those of the event as it was admitted."""


class ErasureRecord(NamedTuple):
    """A record whose event erases its key; it was admitted as an opt-out would be."""

    admitted: AdmittedEvent


class Guard:
    """Admits records one by one."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def admit(self, record: FetchedRecord) -> AdmittedRecord | ErasureRecord | DeadLetter:
        """Return the admitted event of ``record``, or the dead letter that it becomes.

        Raises nothing for the record's sake; OurError where the schema registry is out of reach.
        """
        if record.value is None:
            if isinstance(record, UnreadableBatch):
                return unreadable_batch(record)
            return _dead_letter("IZIN-UNDECODABLE", "value", "no value: a tombstone is no event")
        try:
            event, is_exact = self._codec.read_event(record.value)
        except UnknownSchemaError as error:
            return _dead_letter("IZIN-UNKNOWN-SCHEMA", "value", str(error))
        except UndecodableError as error:
            return self._admit_damaged(record, record.value, error)
        if event.status == ERASURE:
            return _admit_erasure(event, record, record.value)
        return _admit(event, record, record.value, is_exact=is_exact)

    def _admit_damaged(
        self, record: FetchedRecord, value: bytes, error: UndecodableError
    ) -> AdmittedRecord | DeadLetter:
        """Return the opt-out (RET) that ``value`` is but for bytes that are no text."""
        letter = _dead_letter("IZIN-UNDECODABLE", "value", str(error))
        try:
            event, damaged = self._codec.decode_damaged_event(value)
        except UndecodableError:
            return letter
        found = _admit(event, record, value)
        if isinstance(found, DeadLetter) or found.admitted.status is not Status.RET:
            return replace(letter, lost_ret=_is_ret(event))
        violations = [violation(name, "IZIN-CHARACTER") for name in damaged]
        admitted = found.admitted
        return AdmittedRecord(
            replace(admitted, violations=(*admitted.violations, *violations)), is_unchanged=False
        )


def _admit(
    event: ConsentEvent, record: FetchedRecord, value: bytes, *, is_exact: bool = False
) -> AdmittedRecord | DeadLetter:
    try:
        admitted = admit(event, appended_at=appended_at(record))
        if isinstance(admitted, RefusedEvent):
            return DeadLetter(
                reason=REFUSED, violations=admitted.violations, lost_ret=_is_ret(event)
            )
        if len(value) > LARGEST_RET and admitted.status is Status.RET:
            admitted = shortened(admitted)
    except Exception as error:  # noqa: BLE001  # pure code failed: the record is poison
        return poison(error, event)
    return AdmittedRecord(admitted, is_exact and admitted.event is event)


def _admit_erasure(
    event: ConsentEvent, record: FetchedRecord, value: bytes
) -> ErasureRecord | DeadLetter:
    """Admit an erasure as an opt-out: both need nothing but a readable key."""
    found = _admit(replace(event, status=Status.RET), record, value)
    return found if isinstance(found, DeadLetter) else ErasureRecord(found.admitted)


def _is_ret(event: ConsentEvent) -> bool:
    return event.status.strip().upper() == Status.RET


def appended_at(record: Appended) -> datetime:
    """Return when the broker first appended ``record`` (input topics use LogAppendTime)."""
    return datetime.fromtimestamp(first_append(record) / 1000, UTC)


def first_append(record: Appended) -> int:
    """Return the same in milliseconds since 1970."""
    if record.headers:
        name, value = record.headers[-1]
        if name == APPENDED_AT and value and len(value) <= _DIGITS and value.isdigit():
            # Never later than this append, or a publisher could date an event ahead.
            first = min(record.timestamp, int(value))
            return record.timestamp if first < _LAW_BEGAN else first
    return record.timestamp


def dead_letter_of(
    letter: DeadLetter, record: FetchedRecord, *, is_minimal: bool = False
) -> AvroRecord:
    """Return ``letter`` about ``record`` as an Avro DeadLetter; a minimal one has no violations and
    no headers.
    """
    return dead_letter_to_avro(
        reason=letter.reason,
        violations=() if is_minimal else letter.violations,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=append_instant(record.timestamp),
        key=record.key,
        value=record.value,
        headers=() if is_minimal else record.headers,
    )


def dead_letter_message(
    letter: DeadLetter, record: FetchedRecord, codec: Codec
) -> tuple[bytes | None, bytes, Headers]:
    """Return ``letter`` about ``record`` as key, value and headers of a Kafka record.

    Raises nothing: where that fails, it is a minimal one.
    """
    key = record.key
    try:
        written = dead_letter_of(letter, record)
        encoded = codec.encode("DeadLetter", written)
    except Exception:  # noqa: BLE001  # whatever it is, the record must not block its partition
        written = dead_letter_of(letter, record, is_minimal=True)
        encoded = codec.encode("DeadLetter", written)
    return (
        key if key is None or len(key) <= MAX_COPIED_BYTES else None,
        encoded,
        headers(
            record="DeadLetter",
            event_id=derived_id(
                written["value_sha256"], record.topic, record.partition, record.offset
            ),
            source="/izin/streams",
            at=append_instant(first_append(record)),
        ),
    )


def poison(error: Exception, event: ConsentEvent) -> DeadLetter:
    """Return the dead letter of ``event``, on which our own code raised ``error``; raises that
    where it is no fault of pure code, but of a state that cannot be read.
    """
    if isinstance(error, OurError):
        raise error
    # Only its type: a message may contain the recipient.
    detail = f"{type(error).__name__} while it was processed"
    return _dead_letter(
        "IZIN-POISON",
        "value",
        detail,
        lost_ret=_is_ret(event),
        suspect=f"{event.customer_id}/{event.origin}",
    )


def oversized(event: ConsentEvent) -> DeadLetter:
    """Return the dead letter of ``event``, of which more would be written than a broker takes: a
    refusal, for its source made it so.
    """
    detail, is_ret = "an opt-out loses them and takes effect", _is_ret(event)
    return _dead_letter("IZIN-OVERSIZED", "value", detail, reason=REFUSED, lost_ret=is_ret)


def not_erasable() -> DeadLetter:
    """Return the dead letter of an erasure, where the installation has no secret to suppress by."""
    return _dead_letter(
        "IZIN-NOT-ERASABLE",
        "value",
        "set IZIN_SUPPRESSION_SECRETS for every order worker, then order it again",
    )


def unreadable_batch(batch: UnreadableBatch) -> DeadLetter:
    """Return the dead letter of what cannot be read of a batch, opt-outs (RET) perhaps."""
    detail = f"the records of the offsets {batch.first} to {batch.offset} are in its bytes alone"
    return _dead_letter("IZIN-UNREADABLE-BATCH", "value", detail, lost_ret=True)


def repartitioned_twice(admitted: AdmittedEvent) -> DeadLetter:
    """Return the dead letter of a record that was repartitioned and is still in the wrong place:
    its source can mark it so, which must harm no other one.
    """
    return _dead_letter(
        "IZIN-REPARTITIONED-TWICE",
        "key",
        "have all topics the same number of partitions?",
        lost_ret=admitted.status is Status.RET,
    )


def _dead_letter(  # noqa: PLR0913  # the facts of a dead letter, by keyword
    code: str,
    field: str,
    detail: str,
    *,
    reason: str = "",
    lost_ret: bool = False,
    suspect: str = "",
) -> DeadLetter:
    english, turkish = REASONS[code]
    why = Violation(field=field, code=code, reason=f"{english}: {detail}", reason_tr=turkish)
    return DeadLetter(
        reason=reason or code.removeprefix("IZIN-").lower(),
        violations=(why,),
        lost_ret=lost_ret,
        suspect=suspect,
    )
