"""What the doctor finds about workers, unread topics, pulls from İYS, deliveries and dead letters.

The lag of a consumer is how many records of a topic are unread, and how long the oldest waits. The
count is of offsets, of which transaction markers take some, so it is approximate. Whether anything
waits, and since when, is exact: the first record behind the reader is read.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

import httpx
from confluent_kafka import Message

from izin.console.doctor.finding import Finding, ok, skipped, wrong
from izin.console.terminal.output import turkish
from izin.kafka.bounded_reader import BoundedReader, TopicRecord, record_of
from izin.runtime.kafka import broker_errors
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topic
from izin.sinks.ledger.stream_progress import STALE_AFTER, PulledStream
from izin.sinks.ledger.webhooks.registry import PauseReason, WebhookSubscriber

TopicAndPartition = tuple[str, int]

_MOST_DEAD_LETTERS = 10_000
USUAL = timedelta(minutes=5)
"""A record may wait this long while all is well: a worker restarts, a batch is large."""
DECIDED_WITHIN = timedelta(seconds=10)
"""Where opt-outs wait for longer without one being decided, nobody decides them."""
DEAD_LETTERS_WITHIN = timedelta(days=1)
_CHECK = "webhooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """Records that wait to be read."""

    records: int
    """Their approximate number."""
    oldest_at: datetime | None
    """When the oldest was written; None: nothing waits."""
    partitions: frozenset[int] = frozenset()
    """Where they wait."""


def unread(
    settings: KafkaSettings, topic: Topic, positions: Mapping[TopicAndPartition, int]
) -> Unread:
    """Return what of ``topic`` follows ``positions``, or its beginning where there is none.

    Raises:
        BrokerError: Kafka cannot be read.
    """
    heads: dict[int, Message] = {}
    with _reading(settings, topic) as reader:
        bounds = reader.bounds()
        starts = {
            number: start
            for number, (first, end) in bounds.items()
            if (start := max(first, positions.get((topic.name, number), first))) < end
        }
        ends = {number: bounds[number][1] for number in starts}
        count = sum(ends.values()) - sum(starts.values())
        for messages in reader.read(starts, ends):
            for message in messages:
                if (number := message.partition() or 0) not in heads:
                    heads[number] = message
                    reader.leave(number)
    if not heads:
        return Unread(records=0, oldest_at=None)
    oldest = min(message.timestamp()[1] for message in heads.values())
    return Unread(
        records=count,
        oldest_at=datetime.fromtimestamp(oldest / 1000, UTC),
        partitions=frozenset(heads),
    )


def dead_letters_since(settings: KafkaSettings, codec: Codec, since: datetime) -> list[TopicRecord]:
    """Return the dead letters written since then, at most 10,000; raises BrokerError."""
    topic = settings.topics.dead_letters
    with _reading(settings, topic) as reader:
        found = (
            record_of(message, codec, topic)
            for messages in reader.read(*reader.since(since))
            for message in messages
        )
        return list(islice((one for one in found if one is not None), _MOST_DEAD_LETTERS))


@contextmanager
def _reading(settings: KafkaSettings, topic: Topic) -> Iterator[BoundedReader]:
    with (
        broker_errors(settings),
        closing(BoundedReader(settings, "izin-console-reader", topic.name)) as reader,
    ):
        yield reader


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReading:
    """What a worker reads, in the doctor's words."""

    check: str
    records: str
    """What it reads, in the plural."""
    compared: str
    """Which two positions are compared."""
    known_by: str
    """How it is known which ones run."""

    @property
    def start(self) -> str:
        """The command that starts one."""
        return f"izin {self.check}"


SINK = WorkerReading(
    check="sink",
    records="decisions and receipts",
    compared="the ledger's offsets with the ends of consent-decisions and gate-receipts",
    known_by="their locks in the ledger",
)
ORDER = WorkerReading(
    check="order",
    records="events",
    compared="the order stage's positions with the ends of both lanes",
    known_by="the members of their consumer group",
)


def of_worker(
    worker: WorkerReading,
    lanes: Sequence[Unread],
    *,
    running: int,
    now: datetime,
    undecided: Collection[int] = (),
) -> Finding:
    """Return whether workers run and read: one does not where a record waits longer than usual, or
    where opt-outs of the partitions ``undecided`` wait and none was decided meanwhile.
    """
    what, is_late = _unread(worker, lanes, now)
    if undecided:
        numbers, is_late = ", ".join(map(str, sorted(undecided))), True
        what += (
            f"; nobody decides the opt-outs that wait in partition {numbers}: none of them within "
            f"{DECIDED_WITHIN // timedelta(seconds=1)} s"
        )
    if not running:
        return wrong(
            worker.check,
            f"none runs (known by {worker.known_by}); start one: {worker.start}; {what}",
        )
    found = f"{running} runs; {what}" if running == 1 else f"{running} run; {what}"
    return (
        wrong(worker.check, f"{found}; what does its log say?")
        if is_late
        else ok(worker.check, found)
    )


def _unread(worker: WorkerReading, lanes: Sequence[Unread], now: datetime) -> tuple[str, bool]:
    """Return what is unread in words, and whether it waits longer than usual."""
    count = sum(one.records for one in lanes)
    oldest_at = min((one.oldest_at for one in lanes if one.oldest_at), default=None)
    if oldest_at is None:
        return f"no {worker.records} wait to be read", False
    age = max(now - oldest_at, timedelta())
    what = (
        f"about {count} {worker.records} are not read, the oldest of {turkish(oldest_at)}, "
        f"{age // timedelta(minutes=1)} minutes ago (compared: {worker.compared}; "
        f"up to {USUAL // timedelta(minutes=1)} minutes are usual)"
    )
    return what, age > USUAL


def of_endpoint(check: str, url: str, status: int | None) -> Finding:
    """Return whether the process at ``url``, which the command ``check`` starts, is ready, from the
    status of its answer, if any.
    """
    match status:
        case httpx.codes.OK:
            return ok(check, f"{url} is ready")
        case None:
            host, port = (f"IZIN_{check.upper()}_{one}" for one in ("HOST", "PORT"))
            return wrong(
                check,
                f"none answers at {url}, where {host} and {port} say that one is; start it: "
                f"izin {check}",
            )
        case _:
            return wrong(check, f"{url} is not ready ({status}); what does its log say?")


def of_pulls(pulls: Sequence[PulledStream], *, now: datetime) -> Iterator[Finding]:
    """Yield which of İYS's streams are not pulled: a citizen's opt-out may wait in each."""
    faults = [fault for one in pulls if (fault := _fault(one, now))]
    yield from (wrong("pull", f"{fault}; a citizen's opt-out may wait there") for fault in faults)
    if not any(one.was_pulled or one.failure for one in pulls):
        yield skipped("pull", "no stream was pulled yet")
    elif not faults:
        yield ok("pull", f"{len(pulls)} streams of İYS are pulled")


def _fault(one: PulledStream, now: datetime) -> str:
    """Return what is wrong with a stream, or an empty text."""
    name = f"{one.stream} of {one.brand_code}"
    last = (
        f"last read to its end at {turkish(one.last_pulled_at)}"
        if one.was_pulled
        else "never read to its end"
    )
    pause = one.next_at - now if one.next_at else timedelta()
    if one.failing_since and max(pause, now - one.failing_since) > USUAL:
        again = f"again at {turkish(one.next_at)}" if one.next_at and pause > USUAL else "soon"
        return (
            f"{name} fails since {turkish(one.failing_since)} ({one.failure}), {last}, and is "
            f"tried {again}; at once, when its cause is gone: izin brands retry {one.brand_code}"
        )
    if now - one.last_pulled_at > (STALE_AFTER if one.was_pulled else USUAL):
        return (
            f"{name} was {last}; does a sink worker of the brand's account and address run, and "
            "what does its log say?"
        )
    return ""


def of_dead_letters(count: int, acknowledged: int | None) -> Finding:
    """Return how many records were dead-lettered lately and need a person, and what to do.

    ``acknowledged`` are those of ``count`` that a person has dealt with; None: not known.
    """
    waiting = count - (acknowledged or 0)
    if not waiting:
        dealt_with = f"; {acknowledged} acknowledged" if acknowledged else ""
        return ok("dead-letters", f"none in the last 24 hours needs a person{dealt_with}")
    unknown = " (the ledger cannot be read for who has acknowledged them)"
    return wrong(
        "dead-letters",
        f"{waiting} records of the last 24 hours could not be processed"
        f"{unknown if acknowledged is None else ''}; where each is and what is wrong with it: "
        "izin dead-letters; once its cause is gone they come back by: izin dead-letters redrive "
        "--help; what needs no more attention: izin dead-letters acknowledge --help",
    )


def of_webhooks(
    subscribers: Sequence[WebhookSubscriber], *, running: int, now: datetime
) -> Iterator[Finding]:
    """Yield whether somebody delivers, and which subscribers do not take their events."""
    if not subscribers:
        yield skipped(_CHECK, "there are no subscribers yet: izin subscribers add")
        return
    if not running:
        yield wrong(_CHECK, "none runs (known by their locks in the ledger); start: izin webhooks")
    bad = [one for one in subscribers if _delivery_fault(one, now)]
    yield from (wrong(_CHECK, f"subscriber {one.name} {_delivery_fault(one, now)}") for one in bad)
    if running and not bad:
        yield ok(_CHECK, f"{running} running; {_counted(subscribers, now)}")


def _counted(subscribers: Sequence[WebhookSubscriber], now: datetime) -> str:
    """Return how many take their events, fail since a moment ago, and are paused by a person."""
    states = Counter(one.state_at(now).split()[0] for one in subscribers)
    words = {"active": "take their events", "failing": "failing", "paused": "paused"}
    return f"of {len(subscribers)} subscribers " + ", ".join(
        f"{states[state]} {word}" for state, word in words.items() if states[state]
    )


def _delivery_fault(one: WebhookSubscriber, now: datetime) -> str:
    if one.paused_for == PauseReason.GONE:
        return (
            f"answered 410 and is paused; when that is settled: izin subscribers resume {one.name}"
        )
    if one.paused_at is None and one.failing_since and now - one.failing_since > USUAL:
        return (
            f"has not taken something since {turkish(one.failing_since)} ({one.last_failure}); "
            f"see: izin subscribers show {one.name}"
        )
    return ""
