"""What became of redriven records: once they are decided, their decisions and new dead letters.

Of a duplicate, and of a suppressed opt-in, nothing is written: a record that was passed and has
neither decision nor dead letter is one of them, or was moved to another partition.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from time import monotonic, sleep

from confluent_kafka import Message

from izin.consent.model import DecisionKind
from izin.kafka.bounded_reader import BoundedReader, OffsetGoneError
from izin.replay.letters.outcomes import Outcome
from izin.replay.letters.reading import LetterReader, OnProgress, silent
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.erasure import ERASED
from izin.schemas.fast.reader import long_of
from izin.sinks.ingest.decision_reader import DecisionReader
from izin.sinks.ledger.dead_letters import LetterKey, Redrive, RedriveResult
from izin.streams.guard import REDRIVEN
from izin.streams.ownership.positions import DecidedOffsets

_POLL = 0.1
_GROUP = "izin-redrive"
_OUTCOMES: Mapping[str, Outcome] = {
    DecisionKind.APPLY: Outcome.APPLIED,
    DecisionKind.ENRICHED: Outcome.ENRICHED,
    DecisionKind.STALE: Outcome.STALE,
    ERASED: Outcome.ERASED,
}
"""By the kind of a decision."""
_WITHOUT_TRACE = frozenset({Outcome.DUPLICATE, Outcome.SUPPRESSED})

Place = tuple[str, int, int]
"""Topic, partition and offset."""
Passed = Callable[[], Mapping[tuple[str, int], int]]
"""Returns, by topic and partition, the offset below which everything has been passed."""


@dataclass(frozen=True, slots=True)
class SentLetter:
    """A letter that was written again."""

    letter: LetterKey
    redrive: Redrive

    @property
    def place(self) -> Place:
        """Where it was written to."""
        topic, partition, offset = self.redrive.to.rsplit("/", 2)
        return topic, int(partition), int(offset)

    @property
    def expected(self) -> Outcome:
        """What the law made of it beforehand."""
        return Outcome(self.redrive.expected)


def await_passed(
    sent: Sequence[SentLetter], passed: Passed, until: float, *, progress: OnProgress = silent
) -> list[SentLetter]:
    """Wait until all of ``sent`` are passed, or it is ``until`` (of ``time.monotonic``); return
    those that are not.
    """
    waiting = [(one, one.place) for one in sent]
    while True:
        ends = passed()
        waiting = [(one, place) for one, place in waiting if place[2] >= ends.get(place[:2], 0)]
        progress(len(sent) - len(waiting), len(sent))
        if not waiting or monotonic() >= until:
            return [one for one, _ in waiting]
        sleep(_POLL)


def await_decided(
    settings: KafkaSettings,
    codec: Codec,
    sent: Sequence[SentLetter],
    until: float,
    *,
    progress: OnProgress = silent,
) -> list[SentLetter]:
    """Wait as ``await_passed`` until the order stage has decided; raises BrokerError."""
    with closing(DecidedOffsets(settings, codec)) as decided:
        return await_passed(sent, decided.read, until, progress=progress)


class Results:
    """Reads what became of records that are passed."""

    def __init__(self, settings: KafkaSettings, codec: Codec) -> None:
        self._settings = settings
        self._codec = codec
        self._decisions = DecisionReader(codec)

    def decided(
        self, sent: Sequence[SentLetter], letters_from: dict[int, int]
    ) -> list[RedriveResult]:
        """Return what the order stage made of ``sent``, all of which it has passed.

        New dead letters are looked for from ``letters_from`` on. Raises BrokerError.
        """
        if not sent:
            return []
        places = {one.place: one for one in sent}
        again = self._letters_of(places, letters_from)
        decisions = dict(self._decisions_on(places, sent))
        return [
            self._result(one, again.get(place), decisions.get(place))
            for place, one in places.items()
        ]

    def _letters_of(
        self, places: Mapping[Place, SentLetter], letters_from: dict[int, int]
    ) -> dict[Place, LetterKey]:
        """Return the new dead letters about records at these ``places``; raises BrokerError."""
        found: dict[Place, LetterKey] = {}
        for letter in LetterReader(self._settings, self._codec).read(starts=letters_from):
            place = letter.topic, letter.partition, letter.offset
            one = places.get(place)
            # Topics that were created again have had other records in the same places.
            if one is not None and (REDRIVEN, one.letter.name.encode()) in letter.headers:
                found[place] = letter.place
        return found

    def values_at(self, sent: Sequence[SentLetter]) -> dict[Place, bytes]:
        """Return the decisions that ``sent`` are, as they were written; raises BrokerError."""
        topic, wanted = self._settings.topics.decisions.name, {one.place for one in sent}
        starts: dict[int, int] = {}
        ends: dict[int, int] = {}
        for _, number, offset in wanted:
            starts[number] = min(offset, starts.get(number, offset))
            ends[number] = max(offset + 1, ends.get(number, 0))
        found: dict[Place, bytes] = {}
        for message in self._read(topic, starts, ends):
            place = topic, message.partition() or 0, message.offset() or 0
            if place in wanted:
                found[place] = message.value() or b""
        return found

    def _decisions_on(
        self, places: Mapping[Place, SentLetter], sent: Sequence[SentLetter]
    ) -> Iterator[tuple[Place, bytes]]:
        topic = self._settings.topics.decisions.name
        starts: dict[int, int] = {}
        for one in sent:
            _, number, _ = one.place
            begin = one.redrive.decisions_from
            starts[number] = min(begin, starts.get(number, begin))
        ends = kafka.committed_ends(self._settings, topic)
        for message in self._read(topic, starts, {number: ends[number] for number in starts}):
            value = message.value() or b""
            place = self._place(value)
            if place is not None and place in places:
                yield place, value

    def _read(
        self, topic: str, starts: Mapping[int, int], ends: Mapping[int, int]
    ) -> Iterator[Message]:
        reader = BoundedReader(self._settings, _GROUP, topic)
        with closing(reader), kafka.broker_errors(self._settings):
            try:
                for messages in reader.read(starts, ends):
                    yield from messages
            except OffsetGoneError:  # its retention is over: what is left is read
                for messages in reader.read(dict.fromkeys(starts, 0), ends):
                    yield from messages

    def _place(self, value: bytes) -> Place | None:
        try:
            found = self._decisions.read(value)
        except UndecodableError:
            return None
        return found.topic, found.partition, found.offset

    def _result(
        self, one: SentLetter, again: LetterKey | None, decision: bytes | None
    ) -> RedriveResult:
        detail = ""
        if again is not None:
            outcome, detail = Outcome.REFUSED, f"dead letter {again.name}"
        elif decision is None:
            outcome = _without_trace(one.expected)
        else:
            outcome = _OUTCOMES[self._kind(decision)]
            if outcome is Outcome.STALE:
                stands = self._codec.decode("Decision", decision)["consent"]
                detail = f"event {stands['event_id']} of {stands['effective_at'].isoformat()}"
        return RedriveResult(letter=one.letter, to=one.redrive.to, result=outcome, detail=detail)

    def _kind(self, decision: bytes) -> str:
        """Return the kind of a decision: its first field, which needs no other to be read."""
        header = self._codec.header("Decision")
        if not decision.startswith(header):
            return str(self._codec.decode("Decision", decision)["kind"])
        size, at = long_of(decision, len(header))
        return decision[at : at + size].decode()


def _without_trace(expected: Outcome) -> Outcome:
    """Return what became of a record of which nothing was written, and that was ``expected``."""
    if expected is Outcome.REFUSED:
        return Outcome.MOVED
    return expected if expected in _WITHOUT_TRACE else Outcome.DUPLICATE
