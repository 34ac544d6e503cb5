"""What became of redriven records: once they are decided, their decisions and new dead letters.

Of a duplicate, and of a suppressed opt-in, nothing is written: a record that was passed and has
neither decision nor dead letter is one of them, or was moved to another partition.

A decision that the ledger could not take shows in its history once it has: there every decision has
its source. Erasures have none: the ledger has passed them, and what it cannot take of them is a
dead letter again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from time import monotonic
from typing import Any, NamedTuple, Self

from izin.kafka.bounded_reader import BoundedReader
from izin.replay.letters.letter import LetterReader
from izin.replay.letters.preview import GROUP, OUTCOMES, Prediction, RedriveOrder, RedriveOutcome
from izin.runtime import kafka
from izin.runtime.plan import OnProgress
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.erasure import ERASURE
from izin.schemas.records import key_text
from izin.sinks.ingest.decision_reader import DecisionReader
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.dead_letters import LetterKey, Redrive
from izin.sinks.ledger.history.formats import source_of
from izin.streams.guard import REDRIVEN

_POLL = 0.1
_PAGE = 5000
_WITHOUT_TRACE = frozenset({RedriveOutcome.DUPLICATE, RedriveOutcome.SUPPRESSED})

_UNREADABLE = Prediction(RedriveOutcome.REFUSED, ("IZIN-UNREADABLE-DECISION",))

Place = tuple[str, int, int]
"""Topic, partition and offset."""
Passed = Callable[[], Awaitable[Mapping[tuple[str, int], int]]]
"""Returns, by topic and partition, the offset below which everything has been passed."""


@dataclass(frozen=True, slots=True)
class SentLetter:
    """A letter that was written again."""

    letter: LetterKey
    redrive: Redrive
    value: bytes
    """The bytes of the record."""

    @property
    def place(self) -> Place:
        """Where it was written to."""
        topic, partition, offset = self.redrive.to.rsplit("/", 2)
        return topic, int(partition), int(offset)

    @property
    def expected(self) -> RedriveOutcome:
        """What the law made of it beforehand."""
        return RedriveOutcome(self.redrive.expected)

    def with_result(self, outcome: RedriveOutcome, detail: str = "") -> Self:
        """Return it with what became of it."""
        return replace(self, redrive=replace(self.redrive, result=outcome, detail=detail))


async def await_passed(
    sent: Sequence[SentLetter], passed: Passed, until: float, progress: OnProgress
) -> tuple[list[SentLetter], list[SentLetter]]:
    """Wait until all of ``sent`` are passed, or it is ``until`` (of ``time.monotonic``); return
    those that are, and those that are not.
    """
    while True:
        ends = await passed()
        is_passed = {one.letter for one in sent if one.place[2] < ends.get(one.place[:2], 0)}
        progress(len(is_passed), len(sent))
        if len(is_passed) == len(sent) or monotonic() >= until:
            return (
                [one for one in sent if one.letter in is_passed],
                [one for one in sent if one.letter not in is_passed],
            )
        await asyncio.sleep(_POLL)


async def results_of(
    sent: Sequence[SentLetter],
    letters_from: Mapping[int, int],
    ledger: Ledger,
    settings: KafkaSettings,
    codec: Codec,
) -> list[SentLetter]:
    """Return ``sent``, all of which are passed, with what became of each.

    New dead letters are looked for from ``letters_from`` on. Raises BrokerError.
    """
    topic = settings.topics.decisions.name
    decided = [one for one in sent if one.place[0] != topic]
    taken = [one for one in sent if one.place[0] == topic]
    found = await asyncio.to_thread(_by_order_stage, decided, letters_from, settings, codec)
    return [*found, *await _by_ledger(ledger, codec, taken)]


def _by_order_stage(
    sent: Sequence[SentLetter],
    letters_from: Mapping[int, int],
    settings: KafkaSettings,
    codec: Codec,
) -> list[SentLetter]:
    if not sent:
        return []
    places = {one.place: one for one in sent}
    found: dict[Place, tuple[RedriveOutcome, str]] = {}
    for place, decision in _decisions(places, settings, codec):
        outcome, detail = OUTCOMES[decision["kind"]], ""
        if outcome is RedriveOutcome.STALE:
            stands = decision["consent"]
            detail = f"event {stands['event_id']} of {stands['effective_at'].isoformat()}"
        found[place] = outcome, detail
    for letter in LetterReader(settings, codec).read(starts=letters_from):
        place = letter.topic, letter.partition, letter.offset
        again = places.get(place)
        # Topics that were created again have had other records in the same places.
        if again is not None and (REDRIVEN, again.letter.name.encode()) in letter.headers:
            found[place] = RedriveOutcome.REFUSED, f"dead letter {letter.name}"
    return [
        one.with_result(*found.get(place, (_without_trace(one.expected), "")))
        for place, one in places.items()
    ]


def _decisions(
    places: Mapping[Place, SentLetter], settings: KafkaSettings, codec: Codec
) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Yield the decisions on the records at ``places``, as far as retention has left them."""
    topic, decoder = settings.topics.decisions.name, DecisionReader(codec)
    marks, starts = kafka.watermarks(settings, topic), dict[int, int]()
    for (_, number, _), one in places.items():
        begin = max(one.redrive.decisions_from, marks[number][0])
        starts[number] = min(begin, starts.get(number, begin))
    ends = {number: end for number, (_, end) in marks.items()}
    with closing(BoundedReader(settings, GROUP, topic)) as reader, kafka.broker_errors(settings):
        for message in chain.from_iterable(reader.read(starts, ends)):
            try:
                read = decoder.read(message.value() or b"")
            except UndecodableError:
                continue
            place = read.topic, read.partition, read.offset
            if place in places:
                yield place, codec.decode("Decision", read.value)


def _without_trace(expected: RedriveOutcome) -> RedriveOutcome:
    """Return what became of a record of which nothing was written, and that was ``expected``."""
    if expected is RedriveOutcome.REFUSED:
        return RedriveOutcome.MOVED
    return expected if expected in _WITHOUT_TRACE else RedriveOutcome.DUPLICATE


class _LedgerDecision(NamedTuple):
    """A decision as the history names it."""

    key: str
    source: str
    is_erasure: bool


async def predict_in_ledger(
    ledger: Ledger, codec: Codec, orders: Sequence[RedriveOrder]
) -> list[Prediction]:
    """Return what the ledger would make of the decisions of ``orders``.

    Whether PostgreSQL still refuses a value shows only when it is stored.
    """
    decisions = [_decision(codec, one.record.value) for one in orders]
    known = await _known(ledger, decisions)
    return [
        _UNREADABLE
        if one is None
        else Prediction(RedriveOutcome.KNOWN if one.source in known else RedriveOutcome.RECORDED)
        for one in decisions
    ]


async def _by_ledger(ledger: Ledger, codec: Codec, sent: Sequence[SentLetter]) -> list[SentLetter]:
    decisions = [_decision(codec, one.value) for one in sent]
    known, results = await _known(ledger, decisions), []
    for one, decision in zip(sent, decisions, strict=True):
        outcome = RedriveOutcome.REFUSED
        if decision is not None and (decision.is_erasure or decision.source in known):
            was_known = one.expected is RedriveOutcome.KNOWN
            outcome = RedriveOutcome.KNOWN if was_known else RedriveOutcome.RECORDED
        results.append(one.with_result(outcome))
    return results


async def _known(ledger: Ledger, decisions: Sequence[_LedgerDecision | None]) -> set[str]:
    """Return the sources of what the history has of the keys of ``decisions``."""
    keys = sorted({one.key for one in decisions if one is not None})
    known: set[str] = set()
    for start in range(0, len(keys), _PAGE):
        known |= {one.source for one in await reads.facts(ledger, keys[start : start + _PAGE])}
    return known


def _decision(codec: Codec, value: bytes | None) -> _LedgerDecision | None:
    try:
        found = DecisionReader(codec).decode(value or b"")
    except UndecodableError:
        return None
    is_erasure = found["event"]["status"] == ERASURE
    return _LedgerDecision(key_text(found["consent"]), source_of(found), is_erasure)
