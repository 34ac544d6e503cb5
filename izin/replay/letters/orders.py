"""The record that a dead letter becomes when it is written again, or why there is none.

It has the original bytes, key and headers, so also the id of its event, and counts from its
first append. It enters at admission: the order stage decides it as it would any other record, so
that an old one wins over nothing newer. Opt-outs, and what İYS originated, take the express lane;
what cannot be read goes to the lane and partition that it came from.

A decision is written to ``consent-decisions`` again, for admission would find its event decided and
the ledger would still lack it; the ledger compares what it takes with what it has (decision 0035).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from izin.producers.publishing.publisher import lane
from izin.replay.letters.letter import UNREADABLE, Content, Letter
from izin.schemas.partitioning import partition_of
from izin.schemas.records import MAX_COPIED_BYTES
from izin.schemas.topics import Topics
from izin.sinks.ledger.dead_letters import LetterKey
from izin.streams.fetched_record import APPENDED_AT
from izin.streams.guard import REDRIVEN, first_append
from izin.streams.outputs import REPARTITIONED

_MARKS = frozenset({APPENDED_AT, REDRIVEN, REPARTITIONED})
"""Headers of ours, of an earlier way of the record."""
_NO_KEY = b""


class RedrivenRecord(NamedTuple):
    """A record to write again; it has what the order stage reads of a fetched one."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    """When it would be appended, in milliseconds since 1970."""
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class RedriveOrder:
    """A letter to redrive."""

    letter: LetterKey
    record: RedrivenRecord
    key: bytes | None
    """The canonical key of its event, where it can be built."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A letter that cannot be redriven, and why."""

    letter: LetterKey
    why: str
    remedy: str = ""
    """What to do instead."""


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
    record = RedrivenRecord(
        topic=topic,
        partition=partition,
        offset=0,
        timestamp=now,
        key=letter.key,
        value=letter.value or b"",
        headers=_headers(letter),
    )
    return RedriveOrder(letter.place, record, key)


def _headers(letter: Letter) -> Sequence[tuple[str, bytes | None]]:
    """Return the original headers, the letter's name, and last the first append."""
    original = [(name, content) for name, content in letter.headers if name not in _MARKS]
    return [
        *original,
        (REDRIVEN, letter.name.encode()),
        (APPENDED_AT, str(first_append(letter)).encode()),
    ]


def _obstacle(letter: Letter, topics: Topics) -> Obstacle | None:
    if letter.reason == UNREADABLE:
        return Obstacle(letter.place, "it is no dead letter that this release can read")
    if letter.topic not in {one.name for one in topics}:
        return Obstacle(letter.place, f"{letter.topic} is no topic of this installation")
    if letter.topic not in {topics.events.name, topics.express.name, topics.decisions.name}:
        return Obstacle(letter.place, f"{letter.topic} has neither events nor decisions")
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
