"""What became of each hostile record: by its offset, or by its event where it was repartitioned."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from confluent_kafka import Message

from izin.consent import Status
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.streams.guard import REFUSED
from izin.streams.outputs import BATCH_OFFSETS, REPARTITIONED
from tests.chaos.hostile.records import event_id
from tests.chaos.hostile.writer import WrittenBatch
from tests.support.order.verdict import Coordinates, committed_records

Read = Callable[[KafkaSettings, str], Iterable[Message]]


class Fate(StrEnum):
    """What may become of a hostile record."""

    DEAD_LETTER = "dead letter"
    REFUSED = "refused"
    CLOSED = "key closed"
    ADMITTED = "opt-in admitted"
    """Which is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The fates of all hostile records."""

    fates: Mapping[str, Counter[str]]
    """By kind."""
    wrong: Sequence[str]
    """Records that have none, or one that is wrong, with what makes them again."""


def account(
    settings: KafkaSettings,
    written: Sequence[WrittenBatch],
    *,
    read: Read = committed_records,
) -> Account:
    """Read what the order stage wrote, and account for each record of ``written``."""
    records: dict[Coordinates, tuple[WrittenBatch, int]] = {
        (one.topic, one.partition, one.first + index): (one, index)
        for one in written
        for index in range(one.count)
    }
    by_event = {event_id(one.number, index): place for place, (one, index) in records.items()}
    fates: dict[Coordinates, Fate] = {}
    for name, place, fate in _outputs(settings, read):
        known = place if place in records else by_event.get(name)
        if known is not None:
            fates[known] = fate
    counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    wrong = []
    for place, (batch, index) in records.items():
        found = fates.get(place)
        counted[batch.kind][found or "nothing"] += 1
        if found in {None, Fate.ADMITTED}:
            wrong.append(
                f"batch {batch.number}, record {index} ({batch.kind}) at {place}: "
                f"{found or 'nothing came of it'}"
            )
    return Account(fates=counted, wrong=wrong)


def _outputs(settings: KafkaSettings, read: Read) -> Iterator[tuple[str, Coordinates, Fate]]:
    """Yield the event, the place and the fate that each decision and dead letter names."""
    codec, topics = Codec(), settings.topics
    for message in read(settings, topics.decisions.name):
        decision: dict[str, Any] = codec.decode("Decision", message.value() or b"")
        event = decision["event"]
        fate = Fate.CLOSED if event["status"].strip().upper() == Status.RET else Fate.ADMITTED
        # Of the ids, texts were added behind what the record had.
        name = "/".join(event["event_id"].split("/")[:2])
        last = "".join(one for one in event["event_id"].split("/")[-1][:1] if one.isdigit())
        yield f"{name}/{last}", _place(decision), fate
    for message in read(settings, topics.dead_letters.name):
        letter: dict[str, Any] = codec.decode("DeadLetter", message.value() or b"")
        fate = Fate.REFUSED if letter["reason"] == REFUSED else Fate.DEAD_LETTER
        headers = {one["name"]: (one["value"] or b"") for one in letter["headers"]}
        topic, partition, offset = _place(letter)
        yield "", (topic, partition, offset), fate
        if (offsets := headers.get(BATCH_OFFSETS)) is not None:
            first, _, last = offsets.decode().partition("-")
            for number in range(int(first), int(last) + 1):
                yield "", (topic, partition, number), fate
        came_from = headers.get(REPARTITIONED, b"").split(b"/")
        if len(came_from) == 3 and all(one.isdigit() for one in came_from[1:]):
            yield "", (came_from[0].decode(), int(came_from[1]), int(came_from[2])), fate


def _place(output: Mapping[str, Any]) -> Coordinates:
    return output["topic"], output["partition"], output["offset"]
