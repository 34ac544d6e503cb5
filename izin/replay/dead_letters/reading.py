"""Dead letters: records that could not be processed, where each was, and why; and which are meant.

A letter has the fields of the record that it is about, so that whatever reads a fetched record
reads it too. Letters are read one after the other, up to where their topic ends now: never all at
once.
"""

import re
from collections.abc import Collection, Generator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from confluent_kafka import Message

from izin.consent import ConsentEvent, ConsentKey, SourceError, Violation, read_key
from izin.kafka import clients
from izin.kafka.bounded_reader import BoundedReader, OffsetGoneError
from izin.ledger.dead_letters import LetterKey
from izin.runtime.plan import OnProgress, silent
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.fast.reader import append_instant
from izin.schemas.fast.writer import EPOCH
from izin.schemas.records import event_from_avro
from izin.schemas.topics import Topics
from izin.streams.outputs import BATCH_PART

UNREADABLE = "unreadable-letter"
"""The reason of a record of the topic that is no dead letter itself."""
_MILLISECOND = timedelta(milliseconds=1)
_NOWHERE = -1
_GROUP = "izin-dead-letters"
_NAME = re.compile(r"(\d{1,9})/(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter, and the record that it is about."""

    identity: LetterKey
    reason: str
    violations: tuple[Violation, ...]

    topic: str
    """Where the record was; of an entry that İYS showed: where it showed it."""
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
        return self.identity.name

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
        return Letter(
            identity=_identity(message, sha256(value).hexdigest()),
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
    return Letter(
        identity=_identity(message, found["value_sha256"]),
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
    lanes = topics.events.name, topics.express.name
    if letter.value is None or letter.is_batch:
        return None
    damaged: Collection[str] = ()
    try:
        if letter.topic == topics.decisions.name:
            event = event_from_avro(codec.decode("Decision", letter.value)["event"])
        elif letter.topic in lanes:
            event, damaged = _event(letter.value, codec)
        else:
            return None
    except UndecodableError:
        return None
    return Content(event=event, key=read_key(event, []), damaged=tuple(damaged))


def _event(value: bytes, codec: Codec) -> tuple[ConsentEvent, Collection[str]]:
    try:
        return codec.decode_event(value), ()
    except UndecodableError:
        return codec.decode_damaged_event(value)


def _identity(message: Message, digest: str) -> LetterKey:
    return LetterKey(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        digest=digest,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterSelection:
    """Which letters are meant; what is empty does not restrict them."""

    names: frozenset[str] = frozenset()
    """``partition/offset`` in the topic of dead letters."""
    because: frozenset[str] = frozenset()
    """Reasons, or codes of violations."""
    sources: frozenset[str] = frozenset()
    """Topics that the records come from."""
    origins: frozenset[str] = frozenset()
    brands: frozenset[int] = frozenset()
    since: datetime | None = None
    """The records were appended at this instant or later."""
    until: datetime | None = None
    """They were appended before it."""

    @property
    def needs_content(self) -> bool:
        """Whether letters have to be decoded to know."""
        return bool(self.origins or self.brands)

    @property
    def is_filtered(self) -> bool:
        """Whether it restricts letters otherwise than by name."""
        return self.needs_content or any((self.because, self.sources, self.since, self.until))

    def takes(self, letter: Letter) -> bool:
        """Whether ``letter`` is meant, as far as it shows without being decoded."""
        codes = {letter.reason, *(violation.code for violation in letter.violations)}
        return (
            (not self.names or letter.name in self.names)
            and (not self.because or bool(self.because & codes))
            and (not self.sources or letter.topic in self.sources)
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
        )

    def takes_content(self, content: Content | None) -> bool:
        """Whether a letter with this ``content`` is meant; what cannot be read never is, where
        this has to be known.
        """
        if content is None:
            return not self.needs_content
        event = content.event
        return (not self.origins or event.origin in self.origins) and (
            not self.brands or event.brand_code in self.brands
        )


class DeadLetterReader:
    """Reads the dead letters of an installation."""

    def __init__(self, settings: KafkaSettings, codec: Codec) -> None:
        self._settings = settings
        self._codec = codec
        self._topic = settings.topics.dead_letters.name

    def ends(self) -> dict[int, int]:
        """Return where each partition of the topic ends now.

        Raises:
            BrokerError: Kafka cannot be read, or has no such topic.
        """
        return dict(clients.committed_ends(self._settings, self._topic))

    def read(
        self, *, starts: Mapping[int, int] | None = None, progress: OnProgress = silent
    ) -> Generator[Letter, None, None]:
        """Yield the letters from ``starts`` (else from the beginning) on, each partition in its
        order.

        Raises:
            BrokerError: as ``ends``.
            OurError: the schema registry is out of reach.
        """
        ends = self.ends()
        return self._between(dict.fromkeys(ends, 0) | dict(starts or {}), ends, progress)

    def select(
        self, selection: DeadLetterSelection, *, progress: OnProgress = silent
    ) -> Generator[tuple[Letter, Content | None], None, None]:
        """Yield the letters that ``selection`` takes, with what can be read of each; raises as
        ``read``.
        """
        with closing(self.read(progress=progress)) as letters:
            for letter in letters:
                if selection.takes(letter):
                    content = content_of(letter, self._codec, self._settings.topics)
                    if selection.takes_content(content):
                        yield letter, content

    def find(self, name: str) -> tuple[Letter, Content | None]:
        """Return the letter ``name`` (``partition/offset``), with what can be read of it.

        Raises:
            SourceError: there is none.
            BrokerError: as ``ends``.
        """
        if named := _NAME.fullmatch(name):
            partition, offset = map(int, named.groups())
            ends = {partition: min(offset + 1, self.ends().get(partition, 0))}
            with (
                suppress(OffsetGoneError),
                closing(self._between({partition: offset}, ends)) as found,
            ):
                for letter in found:
                    if letter.identity.offset == offset:
                        return letter, content_of(letter, self._codec, self._settings.topics)
        raise SourceError(f"no dead letter {name}; each has its name in: izin dead-letters list")

    def _between(
        self, starts: Mapping[int, int], ends: Mapping[int, int], progress: OnProgress = silent
    ) -> Generator[Letter, None, None]:
        reader, begun = BoundedReader(self._settings, _GROUP, self._topic), sum(starts.values())
        with closing(reader), clients.broker_errors(self._settings):
            for messages in reader.read(starts, ends):
                for message in messages:
                    if message.value() is not None:
                        yield letter_of(message, self._codec)
                progress(sum(reader.positions.values()) - begun, sum(ends.values()) - begun)
