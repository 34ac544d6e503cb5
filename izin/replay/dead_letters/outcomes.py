"""What becomes of a dead letter that is written again: beforehand by the law, and then in fact.

The record has the original bytes, key and headers, so also the id of its event, and counts from its
first append. It enters at admission: the order stage decides it as it would any other record, so
that an old one wins over nothing newer. Opt-outs, and what İYS originated, take the express lane;
what cannot be read goes to the lane and partition that it came from. A decision is written to
``consent-decisions`` again, for admission would find its event decided and the ledger would still
lack it; the ledger compares what it takes with what it has (decision 0035).

It is the order stage itself that says beforehand what it would decide (``OrderStage.fold``), in the
order in which they will be written, over the rows of ``desired-consents`` that their keys have now.
What it has not decided yet is not in those rows, and may make a difference: it is named afterwards.

Afterwards there are decisions and new dead letters. Of a duplicate, and of a suppressed opt-in,
nothing is written: a record that was passed and has neither is one of them, or was moved to another
partition. What the ledger took is in its history, where every decision has its source; erasures
have none, and what the ledger cannot take of them is a dead letter again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain
from time import monotonic
from typing import Any, Self

from izin.consent import DecisionKind
from izin.kafka import clients
from izin.kafka.bounded_reader import BoundedReader
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.dead_letters import LetterKey, Redrive
from izin.ledger.history import source_of
from izin.producers.publishing.publisher import lane
from izin.producers.sources.source import ORIGINS
from izin.replay.dead_letters.reading import UNREADABLE, Content, DeadLetterReader, Letter
from izin.runtime.plan import OnProgress
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.erasure import ERASED, ERASURE, SUPPRESSED, SuppressionKeys
from izin.schemas.partitioning import partition_of
from izin.schemas.records import MAX_COPIED_BYTES, key_text
from izin.schemas.topics import Topics
from izin.sinks.ingest.decision_reader import DecisionReader
from izin.streams.fetched_record import APPENDED_AT, FetchedRecord
from izin.streams.guard import REDRIVEN, first_append
from izin.streams.order import OrderStage
from izin.streams.outputs import REPARTITIONED
from izin.streams.ownership import SUPPRESSED as SUPPRESSED_COUNT, Changelog, Effects
from izin.streams.state.state import MemoryState

_GROUP = "izin-redrive"
"""The consumer group of whatever a redrive reads."""
_MARKS = frozenset({APPENDED_AT, REDRIVEN, REPARTITIONED})
"""Headers of ours, of an earlier way of the record."""
_NO_KEY = b""
_REPORT_EVERY = 1000
_POLL = 0.1
_PAGE = 5000

Position = tuple[str, int, int]
"""Topic, partition and offset."""
Passed = Callable[[], Awaitable[Mapping[tuple[str, int], int]]]
"""Returns, by topic and partition, the offset below which everything has been passed."""


class RedriveOutcome(StrEnum):
    """What the law makes of a redriven record."""

    APPLIED = "applied"
    ENRICHED = "enriched"
    ERASED = "erased"
    RECORDED = "recorded"
    STALE = "stale"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    KNOWN = "known"
    REFUSED = "refused"
    MOVED = "moved"

    @property
    def group(self) -> str:
        """The group that it is counted in: it lands, something else stands in its place, …."""
        return _MEANINGS[self][0]

    @property
    def words(self) -> str:
        """What it means."""
        return _MEANINGS[self][1]


_LANDS, _SUPERSEDED = "lands", "superseded"
_MEANINGS = {
    RedriveOutcome.APPLIED: (_LANDS, "newer than the state, which it changes"),
    RedriveOutcome.ENRICHED: (_LANDS, "only the evidence changes, which is better"),
    RedriveOutcome.ERASED: (_LANDS, "its key is erased"),
    RedriveOutcome.RECORDED: (_LANDS, "a decision that the ledger lacked"),
    RedriveOutcome.STALE: (_SUPERSEDED, "older than the state, which stays"),
    RedriveOutcome.DUPLICATE: (
        _SUPERSEDED,
        "the same event, or one of the same instant, is there already",
    ),
    RedriveOutcome.SUPPRESSED: (_SUPERSEDED, "an opt-in given before its key was erased"),
    RedriveOutcome.KNOWN: (_SUPERSEDED, "a decision that the ledger has"),
    RedriveOutcome.REFUSED: ("still refused", "it cannot be processed now either"),
    RedriveOutcome.MOVED: (
        "passed on",
        "an order worker could read it, and moved it to its partition",
    ),
}
OUTCOMES: Mapping[str, RedriveOutcome] = {
    DecisionKind.APPLY: RedriveOutcome.APPLIED,
    DecisionKind.ENRICHED: RedriveOutcome.ENRICHED,
    DecisionKind.STALE: RedriveOutcome.STALE,
    DecisionKind.DUPLICATE: RedriveOutcome.DUPLICATE,
    ERASED: RedriveOutcome.ERASED,
    SUPPRESSED_COUNT: RedriveOutcome.SUPPRESSED,
    "repartitioned": RedriveOutcome.MOVED,
}
"""By the kind of its decision, or the name under which the order stage counts it."""


@dataclass(frozen=True, slots=True)
class RedriveOrder:
    """A letter to redrive."""

    letter: LetterKey
    record: FetchedRecord
    """As it would be fetched, had it been written now; its offset is not known yet."""
    key: bytes | None
    """The canonical key of its event, where it can be built."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A letter that cannot be redriven, and why."""

    letter: LetterKey
    why: str
    remedy: str = ""
    """What to do instead."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What would become of a redriven record."""

    outcome: RedriveOutcome
    codes: tuple[str, ...] = ()
    """The codes of the violations, where it would be refused."""


_WITHOUT_TRACE = frozenset({RedriveOutcome.DUPLICATE, RedriveOutcome.SUPPRESSED})

_UNREADABLE = Prediction(RedriveOutcome.REFUSED, ("IZIN-UNREADABLE-DECISION",))


def order_of(
    letter: Letter, content: Content | None, topics: Topics, counts: Mapping[str, int], now: int
) -> RedriveOrder | Obstacle:
    """Return how ``letter`` is redriven at ``now`` (milliseconds since 1970).

    ``counts`` has the number of partitions of each topic.
    """
    obstacle = obstacle_of(letter, topics)
    if obstacle is not None:
        return obstacle
    key = None if content is None or content.key is None else content.key.encode()
    topic, partition = letter.topic, letter.partition
    if topic == topics.events.name and content is not None:
        topic = lane(content.event, topics).name
    if key is not None:
        partition = partition_of(key, counts[topic])
    elif partition >= counts[topic]:
        partition = partition_of(letter.key or _NO_KEY, counts[topic])
    # The original headers, the letter's name, and last the first append.
    headers = [
        *((name, content) for name, content in letter.headers if name not in _MARKS),
        (REDRIVEN, letter.name.encode()),
        (APPENDED_AT, str(first_append(letter)).encode()),
    ]
    return RedriveOrder(
        letter.identity,
        FetchedRecord(topic, partition, 0, now, letter.key, letter.value, headers),
        key,
    )


def obstacle_of(letter: Letter, topics: Topics) -> Obstacle | None:
    """Return why a letter cannot be redriven, and what to do instead; None: it can."""
    if letter.reason == UNREADABLE:
        return Obstacle(letter.identity, "it is no dead letter that this release can read")
    if letter.topic.startswith(ORIGINS):
        return Obstacle(
            letter.identity,
            "its mapping made no event of it",
            f"correct the mapping (izin sources test {letter.topic.removeprefix(ORIGINS)} --letter "
            f"{letter.name}) and have the sender deliver it again, or publish a correction: izin "
            f"publish --corrects {letter.name} …",
        )
    if letter.topic not in {topics.events.name, topics.express.name, topics.decisions.name}:
        return Obstacle(
            letter.identity, f"{letter.topic} has neither events nor decisions of this installation"
        )
    if letter.is_cut or letter.is_batch:
        return Obstacle(
            letter.identity,
            "it has bytes of a batch that cannot be unpacked"
            if letter.is_batch
            else f"it has only the first {MAX_COPIED_BYTES} bytes of the record",
            f"have the source of {letter.position} publish it again, or publish a correction: "
            f"izin publish --corrects {letter.name} …",
        )
    if letter.value is None:
        return Obstacle(letter.identity, "the record had no value, and a tombstone is no event")
    return None


def predict(
    orders: Sequence[RedriveOrder],
    settings: KafkaSettings,
    codec: Codec,
    suppressions: SuppressionKeys,
    progress: OnProgress,
) -> list[Prediction]:
    """Return what would become of each of ``orders``, written in this order.

    Raises:
        BrokerError: Kafka cannot be read.
        StateError: the state is of a newer law, or names erasures whose secret is not here.
    """
    stage = OrderStage(
        topics=settings.topics,
        partitions=settings.partitions,
        codec=codec,
        suppressions=suppressions,
    )
    keys = defaultdict[int, set[bytes]](set)
    for order in orders:
        keys[order.record.partition].update(() if order.key is None else (order.key,))
    topic, states = settings.topics.desired_consents.name, dict[int, MemoryState]()
    with clients.broker_errors(settings):
        ends = clients.committed_ends(settings, topic)
        for number, wanted in keys.items():
            progress(len(states), len(keys))
            states[number] = _StateOfSome(wanted)
            Changelog(number, settings, _GROUP, codec, suppressions).read(
                states[number], topic, ends[number]
            )
    found = []
    for count, order in enumerate(orders):
        state = states[order.record.partition]
        effects = stage.fold(order.record.partition, [order.record], state)
        state.apply(effects.changes, 0)
        found.append(_prediction(effects, codec))
        if count % _REPORT_EVERY == 0:
            progress(count, len(orders))
    return found


def _prediction(effects: Effects, codec: Codec) -> Prediction:
    for name in effects.counts:
        if name in OUTCOMES:
            return Prediction(OUTCOMES[name])
    (letter,) = effects.writes
    written = codec.decode("DeadLetter", letter.value or b"")
    return Prediction(
        RedriveOutcome.REFUSED,
        tuple(dict.fromkeys(one["code"] for one in written["violations"])) or (written["reason"],),
    )


class _StateOfSome(MemoryState):
    """The state of the keys that are wanted, and of all suppressions."""

    def __init__(self, wanted: Collection[bytes]) -> None:
        super().__init__()
        self._wanted = wanted

    def apply(self, rows: Mapping[bytes, bytes | None], position: int) -> None:
        """Apply those of ``rows`` that are wanted."""
        some = {
            key: packed
            for key, packed in rows.items()
            if key in self._wanted or key.startswith(SUPPRESSED)
        }
        super().apply(some, position)


@dataclass(frozen=True, slots=True)
class SentLetter:
    """A letter that was written again."""

    letter: LetterKey
    redrive: Redrive
    value: bytes
    """The bytes of the record."""

    @property
    def position(self) -> Position:
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
        is_passed = {one.letter for one in sent if one.position[2] < ends.get(one.position[:2], 0)}
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
    decided = [letter for letter in sent if letter.position[0] != topic]
    taken = [one for one in sent if one.position[0] == topic]
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
    positions = {one.position: one for one in sent}
    found: dict[Position, tuple[RedriveOutcome, str]] = {}
    for position, value in _decisions(positions, settings, codec):
        decision = codec.decode("Decision", value)
        outcome, stands = OUTCOMES[decision["kind"]], decision["consent"]
        newer = f"event {stands['event_id']} of {stands['effective_at'].isoformat()}"
        found[position] = outcome, newer if outcome is RedriveOutcome.STALE else ""
    for letter in DeadLetterReader(settings, codec).read(starts=letters_from):
        position = letter.topic, letter.partition, letter.offset
        again = positions.get(position)
        # Topics that were created again have had other records in the same positions.
        if again is not None and (REDRIVEN, again.letter.name.encode()) in letter.headers:
            found[position] = RedriveOutcome.REFUSED, f"dead letter {letter.name}"
    return [
        one.with_result(*found.get(position, (_without_trace(one.expected), "")))
        for position, one in positions.items()
    ]


def _decisions(
    positions: Mapping[Position, SentLetter], settings: KafkaSettings, codec: Codec
) -> Iterator[tuple[Position, bytes]]:
    """Yield the decisions on the records at ``positions``, as far as retention has left them."""
    topic, decoder = settings.topics.decisions.name, DecisionReader(codec)
    marks, starts = clients.watermarks(settings, topic), dict[int, int]()
    for (_, number, _), one in positions.items():
        begin = max(one.redrive.decisions_from, marks[number][0])
        starts[number] = min(begin, starts.get(number, begin))
    ends = {number: end for number, (_, end) in marks.items()}
    with closing(BoundedReader(settings, _GROUP, topic)) as reader, clients.broker_errors(settings):
        for message in chain.from_iterable(reader.read(starts, ends)):
            try:
                read = decoder.read(message.value() or b"")
            except UndecodableError:
                continue
            position = read.topic, read.partition, read.offset
            if position in positions:
                yield position, read.value


def _without_trace(expected: RedriveOutcome) -> RedriveOutcome:
    """Return what became of a record of which nothing was written, and that was ``expected``."""
    if expected is RedriveOutcome.REFUSED:
        return RedriveOutcome.MOVED
    return expected if expected in _WITHOUT_TRACE else RedriveOutcome.DUPLICATE


async def predict_in_ledger(
    ledger: Ledger, codec: Codec, orders: Sequence[RedriveOrder]
) -> list[Prediction]:
    """Return what the ledger would make of the decisions of ``orders``.

    Whether PostgreSQL still refuses a value shows only when it is stored.
    """
    found = await _in_ledger(ledger, codec, [order.record.value or b"" for order in orders])
    return [
        _UNREADABLE
        if outcome is RedriveOutcome.REFUSED
        else Prediction(RedriveOutcome.RECORDED if outcome is RedriveOutcome.ERASED else outcome)
        for outcome in found
    ]


async def _by_ledger(ledger: Ledger, codec: Codec, sent: Sequence[SentLetter]) -> list[SentLetter]:
    results = []
    found = await _in_ledger(ledger, codec, [letter.value for letter in sent])
    for one, outcome in zip(sent, found, strict=True):
        is_taken = outcome in {RedriveOutcome.KNOWN, RedriveOutcome.ERASED}
        was_known = one.expected is RedriveOutcome.KNOWN
        taken = RedriveOutcome.KNOWN if was_known else RedriveOutcome.RECORDED
        results.append(one.with_result(taken if is_taken else RedriveOutcome.REFUSED))
    return results


async def _in_ledger(ledger: Ledger, codec: Codec, values: Sequence[bytes]) -> list[RedriveOutcome]:
    """Return of each decision whether the history has it (``KNOWN``), or lacks it (``RECORDED``),
    which of an erasure nothing shows (``ERASED``), or it cannot be read (``REFUSED``).
    """
    reader, decisions = DecisionReader(codec), list[Mapping[str, Any] | None]()
    for value in values:
        try:
            decisions.append(reader.decode(value))
        except UndecodableError:
            decisions.append(None)
    keys = sorted({key_text(decision["consent"]) for decision in decisions if decision is not None})
    known: set[str] = set()
    for start in range(0, len(keys), _PAGE):
        known |= {fact.source for fact in await reads.facts(ledger, keys[start : start + _PAGE])}
    return [RedriveOutcome.REFUSED if one is None else _in_history(one, known) for one in decisions]


def _in_history(decision: Mapping[str, Any], known: Collection[str]) -> RedriveOutcome:
    if decision["event"]["status"] == ERASURE:
        return RedriveOutcome.ERASED
    is_known = source_of(decision) in known
    return RedriveOutcome.KNOWN if is_known else RedriveOutcome.RECORDED
