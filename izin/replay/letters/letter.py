"""A dead letter: a record that could not be processed, where it was, and why.

A letter has the fields of the record that it is about, so that whatever reads a fetched record
reads it too.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from confluent_kafka import Message

from izin.consent.fields import read_key
from izin.consent.model import ConsentEvent, ConsentKey
from izin.consent.violations import Violation
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.fast.reader import append_instant
from izin.schemas.fast.writer import EPOCH
from izin.schemas.records import event_from_avro
from izin.schemas.topics import Topics
from izin.sinks.ledger.dead_letters import LetterKey
from izin.streams.outputs import BATCH_PART

UNREADABLE = "unreadable-letter"
"""The reason of a record of the topic that is no dead letter itself."""
_MILLISECOND = timedelta(milliseconds=1)
_NOWHERE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter, and the record that it is about."""

    place: LetterKey
    reason: str
    violations: tuple[Violation, ...]

    topic: str
    """Where the record was; of a movement that İYS showed: where it showed it."""
    partition: int
    offset: int
    timestamp: int
    """When it was appended, in milliseconds since 1970."""
    key: bytes | None
    value: bytes | None
    """Its bytes, at most the first 64 KiB."""
    value_size: int
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def name(self) -> str:
        """The letter as commands name it: ``partition/offset``."""
        return self.place.name

    @property
    def at(self) -> datetime:
        """When the record was appended."""
        return append_instant(self.timestamp)

    @property
    def position(self) -> str:
        """Where the record was: ``topic/partition/offset``."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def is_cut(self) -> bool:
        """Whether it has only the beginning of the value."""
        return self.value is not None and len(self.value) < self.value_size

    @property
    def is_batch(self) -> bool:
        """Whether it has bytes of a batch, not of a record."""
        return any(name == BATCH_PART for name, _ in self.headers)

    @property
    def size(self) -> int:
        """How many bytes it takes, roughly."""
        return len(self.value or b"") + sum(len(content or b"") for _, content in self.headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What can be read of the record that a letter is about."""

    event: ConsentEvent
    key: ConsentKey | None
    """The canonical key, where it can be built."""
    damaged: tuple[str, ...] = ()
    """The fields that had bytes which are no text."""


def letter_of(message: Message, codec: Codec) -> Letter:
    """Return the letter in ``message``; one of the reason ``UNREADABLE`` where it is none.

    Raises OurError where the schema registry is out of reach.
    """
    value = message.value() or b""
    try:
        found = codec.decode("DeadLetter", value)
    except UndecodableError:
        return _unreadable(message, value)
    return Letter(
        place=_place(message, found["value_sha256"]),
        reason=found["reason"],
        violations=tuple(Violation(**one) for one in found["violations"]),
        topic=found["topic"],
        partition=found["partition"],
        offset=found["offset"],
        timestamp=(found["timestamp"] - EPOCH) // _MILLISECOND,
        key=found["key"],
        value=found["value"],
        value_size=found["value_size"],
        headers=tuple((one["name"], one["value"]) for one in found["headers"]),
    )


def content_of(letter: Letter, codec: Codec, topics: Topics) -> Content | None:
    """Return what can be read of the record of ``letter``: of an input topic the event, of
    ``consent-decisions`` the one that was decided; None where nothing can.

    Raises OurError where the schema registry is out of reach.
    """
    if letter.value is None or letter.is_batch:
        return None
    try:
        if letter.topic == topics.decisions.name:
            return _content(event_from_avro(codec.decode("Decision", letter.value)["event"]))
        if letter.topic in {topics.events.name, topics.express.name}:
            return _of_event(letter.value, codec)
    except UndecodableError:
        pass
    return None


def _of_event(value: bytes, codec: Codec) -> Content:
    try:
        return _content(codec.decode_event(value))
    except UndecodableError:
        event, damaged = codec.decode_damaged_event(value)
        return _content(event, tuple(damaged))


def _content(event: ConsentEvent, damaged: tuple[str, ...] = ()) -> Content:
    return Content(event=event, key=read_key(event, []), damaged=damaged)


def _unreadable(message: Message, value: bytes) -> Letter:
    return Letter(
        place=_place(message, sha256(value).hexdigest()),
        reason=UNREADABLE,
        violations=(),
        topic="",
        partition=_NOWHERE,
        offset=_NOWHERE,
        timestamp=message.timestamp()[1],
        key=None,
        value=value,
        value_size=len(value),
        headers=(),
    )


def _place(message: Message, digest: str) -> LetterKey:
    return LetterKey(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        digest=digest,
    )
