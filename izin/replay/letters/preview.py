"""What becomes of a dead letter that is written again: the record, and what the law makes of it.

The record has the original bytes, key and headers, so also the id of its event, and counts from its
first append. It enters at admission: the order stage decides it as it would any other record, so
that an old one wins over nothing newer. Opt-outs, and what İYS originated, take the express lane;
what cannot be read goes to the lane and partition that it came from. A decision is written to
``consent-decisions`` again, for admission would find its event decided and the ledger would still
lack it; the ledger compares what it takes with what it has (decision 0035).

It is the order stage itself that says beforehand what it would decide (``OrderStage.fold``), in the
order in which they will be written, over the rows of ``desired-consents`` that their keys have now.
What it has not decided yet is not in those rows, and may make a difference: it is named afterwards.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from izin.consent.model import DecisionKind
from izin.producers.publishing.kafka_record import lane
from izin.replay.letters.letter import UNREADABLE, Content, Letter
from izin.runtime import kafka
from izin.runtime.plan import OnProgress, silent
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import ERASED, SUPPRESSED, SuppressionKeys
from izin.schemas.partitioning import partition_of
from izin.schemas.records import MAX_COPIED_BYTES
from izin.schemas.topics import Topics
from izin.sinks.ledger.dead_letters import LetterKey
from izin.streams.fetched_record import APPENDED_AT, FetchedRecord
from izin.streams.guard import REDRIVEN, first_append
from izin.streams.order import OrderStage
from izin.streams.outputs import REPARTITIONED
from izin.streams.ownership.changelog import Changelog
from izin.streams.ownership.effects import SUPPRESSED as SUPPRESSED_COUNT
from izin.streams.ownership.effects import Effects
from izin.streams.state.state import MemoryState

GROUP = "izin-redrive"
"""The consumer group of whatever a redrive reads."""
_MARKS = frozenset({APPENDED_AT, REDRIVEN, REPARTITIONED})
"""Headers of ours, of an earlier way of the record."""
_NO_KEY = b""
_REPORT_EVERY = 1000


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


def order_of(
    letter: Letter, content: Content | None, topics: Topics, counts: Mapping[str, int], now: int
) -> RedriveOrder | Obstacle:
    """Return how ``letter`` is redriven at ``now`` (milliseconds since 1970).

    ``counts`` has the number of partitions of each topic.
    """
    obstacle = _obstacle(letter, topics)
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
    record = FetchedRecord(topic, partition, 0, now, letter.key, letter.value, headers)
    return RedriveOrder(letter.place, record, key)


def _obstacle(letter: Letter, topics: Topics) -> Obstacle | None:
    if letter.reason == UNREADABLE:
        return Obstacle(letter.place, "it is no dead letter that this release can read")
    if letter.topic not in {topics.events.name, topics.express.name, topics.decisions.name}:
        why = f"{letter.topic} has neither events nor decisions of this installation"
        return Obstacle(letter.place, why)
    if letter.is_cut or letter.is_batch:
        return Obstacle(
            letter.place,
            "it has bytes of a batch that cannot be unpacked"
            if letter.is_batch
            else f"it has only the first {MAX_COPIED_BYTES} bytes of the record",
            f"have the source of {letter.position} publish it again, or publish a correction: "
            f"izin publish --corrects {letter.name} …",
        )
    if letter.value is None:
        return Obstacle(letter.place, "the record had no value, and a tombstone is no event")
    return None


def predict(
    orders: Sequence[RedriveOrder],
    settings: KafkaSettings,
    codec: Codec,
    suppressions: SuppressionKeys,
    progress: OnProgress = silent,
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
    with kafka.broker_errors(settings):
        ends = kafka.committed_ends(settings, topic)
        for number, wanted in keys.items():
            progress(len(states), len(keys))
            states[number] = _StateOfSome(wanted)
            log = Changelog(number, settings, GROUP, codec, suppressions)
            log.read(states[number], topic, ends[number])
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
    codes = tuple(dict.fromkeys(one["code"] for one in written["violations"]))
    return Prediction(RedriveOutcome.REFUSED, codes or (written["reason"],))


class _StateOfSome(MemoryState):
    """The state of the keys that are wanted, and of all suppressions."""

    def __init__(self, wanted: Collection[bytes]) -> None:
        super().__init__()
        self._wanted = wanted

    def apply(self, rows: Mapping[bytes, bytes | None], position: int) -> None:
        """Apply those of ``rows`` that are wanted."""
        wanted = self._wanted
        some = {
            key: packed
            for key, packed in rows.items()
            if key in wanted or key.startswith(SUPPRESSED)
        }
        super().apply(some, position)
