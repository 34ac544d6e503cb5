"""Plan a rebuild of ``desired-consents``: what is read, and up to where it is decided.

The positions of the order stage say up to where its lanes are decided, and of which topics they
speak. Where ``desired-consents`` has another id than they say, it was lost: it was deleted and
created again. Where a lane begins behind its first offset, retention has removed events; if the
history has the decisions on them, they are read from there. Where Kafka itself was lost, all is in
the history, and the lanes of now have what came since; a person says so. The history says nothing
of partitions: so one process divides it, once, into files of the work folder, and each partition
then reads its own.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

from confluent_kafka import Message

from izin.consent import OurError, SourceError
from izin.kafka.bounded_reader import BoundedReader
from izin.kafka.clients import bounds_of, codec, members
from izin.ledger.db import Ledger, statements
from izin.ledger.history import by_key
from izin.runtime.plan import (
    DESIRED_CONSENTS,
    REBUILD,
    Bounds,
    OnProgress,
    Plan,
    Selection,
)
from izin.runtime.settings import KafkaSettings, LedgerSettings, StreamSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import SuppressionKeys
from izin.schemas.fast.writer import EPOCH
from izin.schemas.partitioning import partition_of
from izin.streams.errors import PositionAheadError
from izin.streams.ownership import DecidedOffsets, Positions

_HEAD = Struct(">qqHI")
"""Recorded at (microseconds since 1970), place, and the sizes of key and decision."""
_ERASURE = (1 << 63) - 1
"""In place of the place of a row: behind all that were recorded with it."""
_BUFFER = 1 << 20
_REPORT_EVERY = 5000
_HISTORY = statements("history")
_SQL = statements("rebuild")
_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Installation:
    """What a rebuild reads, and as whom."""

    kafka: KafkaSettings
    streams: StreamSettings
    codec: Codec
    ledger: LedgerSettings | None = None
    """None: there is no history."""

    @property
    def suppressions(self) -> SuppressionKeys:
        """Under which the keys were erased."""
        return self.streams.suppressions

    def __reduce__(self) -> tuple[Callable[..., "Installation"], tuple[Mapping[str, Any], ...]]:
        """Go to another process by plain values, for topics cannot; without the ledger."""
        return _installation_of, (self.kafka.model_dump(), self.streams.model_dump())


def _installation_of(
    kafka_values: Mapping[str, Any], stream_values: Mapping[str, Any]
) -> Installation:
    kafka = KafkaSettings(**kafka_values)
    return Installation(kafka=kafka, streams=StreamSettings(**stream_values), codec=codec(kafka))


def plan_of(
    installation: Installation, selection: Selection, *, by: str, whole: bool = False
) -> Plan:
    """Return the plan of a rebuild as it would be made now, of the ``whole`` history or of what the
    lanes do not have.

    Raises:
        PositionAheadError: a lane ends before what was decided of it.
        BrokerError: Kafka cannot be reached, or a topic does not exist.
        LedgerUnavailableError: the history is needed, and cannot be reached.
        SourceError: rows of a lost topic were selected.
        OurError: the lanes are not those that were decided, or order workers run.
    """
    settings, topics = installation.kafka, installation.kafka.topics
    lanes = (topics.events.name, topics.express.name)
    rows = topics.desired_consents.name
    positions, cluster_id, found = _at_rest(installation, lanes)
    if len(found[rows].ends) != settings.partitions:
        raise OurError(
            f"{rows} has {len(found[rows].ends)} partitions; set IZIN_PARTITIONS to that"
        )
    positions = _usable(settings, cluster_id, found, positions, whole=whole)
    lost = sorted(
        number
        for number, one in positions.items()
        if not whole and one.desired_consents_topic_id != found[rows].topic_id
    )
    if lost and selection != Selection():
        raise SourceError(f"{rows} was created again, so all of it is to be restored: select none")
    decided = {number: one.offsets(topics) for number, one in positions.items()}
    read = {lane: _decided(found[lane], lane, decided) for lane in lanes}
    undecided = {
        number
        for lane in lanes
        for number, end in found[lane].ends.items()
        if number not in decided and end > found[lane].starts[number]
    }
    uncovered, history = _removed(installation, read, whole=whole)
    return Plan(
        kind=REBUILD,
        target=DESIRED_CONSENTS,
        selection=selection,
        options={
            "lost": lost,
            "uncovered": uncovered,
            "undecided": sorted(undecided),
            "whole": whole,
        },
        cluster_id=cluster_id,
        topics={**found, **read},
        history=history,
        made_at=datetime.now(UTC),
        by=by,
    )


def _decided(bounds: Bounds, lane: str, decided: Mapping[int, Mapping[str, int]]) -> Bounds:
    """Return the ``bounds`` of a lane up to where it is decided: until the plan is executed nothing
    else may be.
    """
    ends = {
        number: decided[number][lane] if number in decided else start
        for number, start in bounds.starts.items()
    }
    return replace(bounds, ends=ends, stands_still=True)


def _at_rest(
    installation: Installation, lanes: Collection[str]
) -> tuple[Mapping[int, Positions], str, Mapping[str, Bounds]]:
    """Return the positions, the cluster's id and the bounds of all topics, of one moment."""
    settings, topics = installation.kafka, installation.kafka.topics
    rows = topics.desired_consents.name
    with closing(DecidedOffsets(settings, installation.codec)) as decided:
        for _ in range(_ATTEMPTS):
            positions = decided.positions()
            cluster_id, found = bounds_of(settings, dict.fromkeys([*lanes, rows], False))
            if decided.positions() == positions:
                return positions, cluster_id, found
    count = members(settings, installation.streams.group(settings))
    raise OurError(f"{count} order workers run; stop them, then give the command again")


def partitions_of(plan: Plan, settings: KafkaSettings) -> list[int]:
    """Return the partitions that ``plan`` concerns."""
    chosen = plan.selection
    every = sorted(plan.topics[settings.topics.desired_consents.name].ends)
    if chosen.keys and not chosen.recipients:
        homes = {partition_of(key.encode(), settings.partitions) for key in chosen.keys}
        return [number for number in every if number in homes]
    return every


def decided_offsets(plan: Plan, settings: KafkaSettings, number: int) -> Mapping[str, int]:
    """Return, by lane, the offset below which all of partition ``number`` is decided."""
    lanes = (settings.topics.events.name, settings.topics.express.name)
    return {lane: plan.topics[lane].ends[number] for lane in lanes}


def _usable(
    settings: KafkaSettings,
    cluster_id: str,
    found: Mapping[str, Bounds],
    positions: Mapping[int, Positions],
    *,
    whole: bool,
) -> Mapping[int, Positions]:
    """Return the ``positions`` that speak of the lanes of now; with the ``whole`` history, others
    need not. Raises as ``plan_of``.
    """
    usable = {}
    for number, one in positions.items():
        offsets = one.offsets(settings.topics)
        for lane, (cluster, _, lane_id) in one.logs(settings.topics).items():
            if (cluster, lane_id) != (cluster_id, found[lane].topic_id):
                if whole:
                    break
                raise OurError(
                    f"{lane} was created again since partition {number} was decided, so its events "
                    "cannot be read again: with a ledger, --from-history reads the decisions on "
                    "them. Without one, what stands in desired-consents is all there is: let an "
                    "order worker start, which keeps that, and decides what the new topic has"
                )
            if offsets[lane] > found[lane].ends[number]:
                end = found[lane].ends[number]
                raise PositionAheadError(lane, number, offsets[lane], end)
        else:
            usable[number] = one
    return usable


def _removed(
    installation: Installation, read: Mapping[str, Bounds], *, whole: bool
) -> tuple[list[int], Mapping[int, int]]:
    """Return the partitions with events that neither the topics nor the history has, and up to
    where the history is read by shard: nothing where it is not needed.
    """
    needed = {
        (lane, number): min(start, bounds.ends[number])
        for lane, bounds in read.items()
        for number, start in bounds.starts.items()
        if start and bounds.ends[number]
    }
    if not needed and not whole:
        return [], {}
    if installation.ledger is None and whole:
        raise SourceError("DATABASE_URL is not set: the history is in the ledger")
    if installation.ledger is None:
        return sorted({number for _, number in needed}), {}
    heads, recorded = asyncio.run(history_reach(installation.ledger, list(read)))
    if whole:
        return sorted(next(iter(read.values())).ends) if recorded is None else [], heads
    known = recorded or {}
    missing = {place[1] for place, offset in needed.items() if known.get(place, 0) < offset}
    return sorted(missing), heads


def options_of(plan: Plan) -> tuple[frozenset[int], frozenset[int]]:
    """Return the partitions whose rows were lost, and those with events that are gone."""
    options: Mapping[str, Any] = plan.options
    return frozenset(options["lost"]), frozenset(options["uncovered"])


def records_between(
    settings: KafkaSettings, topic: str, number: int, start: int, end: int
) -> Iterator[Sequence[Message]]:
    """Yield the records of partition ``number`` from ``start`` (0: the earliest) to ``end``, some
    at a time; raises KafkaException, and OffsetGoneError where it begins later.
    """
    with closing(BoundedReader(settings, "izin-replay", topic)) as reader:
        for messages in reader.read({number: start}, {number: end}):
            yield [message for message in messages if (message.offset() or 0) < end]


async def history_reach(
    settings: LedgerSettings, topics: Collection[str]
) -> tuple[Mapping[int, int], Mapping[tuple[str, int], int] | None]:
    """Return the last place of each shard of the history, and by topic and partition of ``topics``
    the offset of events below which it has every decision; None where a month of it was dropped.
    Raises LedgerUnavailableError.
    """
    async with Ledger(settings, owner=0) as ledger:
        heads = await by_key.heads(ledger)
        is_cut = bool(await ledger.fetch(_HISTORY["cuts"]))
        found = await ledger.fetch(_HISTORY["recorded"], {"topics": list(topics)})
    recorded = {(row["topic"], row["partition"]): row["next_offset"] for row in found}
    return heads, None if is_cut else recorded


class RemovedDecision(NamedTuple):
    """A row of the history, or an erasure, as a file of a partition has it."""

    recorded: int
    """In microseconds since 1970."""
    place: int
    key: bytes
    decision: bytes
    """Empty: the row was restored from the topic, and its decisions are unknown."""

    @property
    def erasure(self) -> tuple[datetime, str] | None:
        """Until when the key was erased, and the id of the event that did it; None: it is a row of
        the history, which has no decision on an erasure.
        """
        if self.place != _ERASURE:
            return None
        until, _, event_id = self.decision.decode().partition(" ")
        return datetime.fromisoformat(until), event_id


def divide_history(
    settings: LedgerSettings | None,
    heads: Mapping[int, int],
    folder: Path,
    partitions: int,
    report: OnProgress,
) -> None:
    """Write the files of all ``partitions`` in place of those of an earlier plan; none where
    ``heads`` says that the history is not read. Raises LedgerUnavailableError.

    ``report`` gets how many rows of how many were read.
    """
    files = [_file(folder, number) for number in range(partitions)]
    for file in files:
        file.unlink(missing_ok=True)
    if heads and settings is not None:
        asyncio.run(_divide(settings, heads, files, report))


async def _divide(
    settings: LedgerSettings,
    heads: Mapping[int, int],
    files: Sequence[Path],
    report: OnProgress,
) -> None:
    values = {"shards": list(heads), "places": list(heads.values())}
    news, total, read = [one.with_suffix(".new") for one in files], sum(heads.values()), 0
    with ExitStack() as stack:
        opened = [stack.enter_context(path.open("wb", buffering=_BUFFER)) for path in news]
        async with (
            Ledger(settings, owner=0) as ledger,
            ledger.session() as connection,
            connection.cursor() as cursor,
        ):
            async for row in cursor.stream(_SQL["replayed"], values):
                key, decision = row["key"].encode(), row["decision"] or b""
                recorded = (row["recorded_at"] - EPOCH) // timedelta.resolution
                head = _HEAD.pack(recorded, row["place"], len(key), len(decision))
                opened[partition_of(key, len(files))].write(head + key + decision)
                read += 1
                if read % _REPORT_EVERY == 0:
                    report(read, max(read, total))
            async for row in cursor.stream(_SQL["every-erasure"]):
                key = row["key"].encode()
                erased = f"{row['requested_at'].isoformat()} {row['event_id']}".encode()
                recorded = (row["acknowledged_at"] - EPOCH) // timedelta.resolution
                head = _HEAD.pack(recorded, _ERASURE, len(key), len(erased))
                opened[partition_of(key, len(files))].write(head + key + erased)
    for new, file in zip(news, files, strict=True):
        new.replace(file)


def removed_decisions(folder: Path, number: int) -> Iterator[RemovedDecision]:
    """Yield the decisions of partition ``number`` that the history has; none where it was not
    needed.
    """
    file = _file(folder, number)
    if not file.exists():
        return
    with file.open("rb", buffering=_BUFFER) as rows:
        while head := rows.read(_HEAD.size):
            recorded, place, key_size, size = _HEAD.unpack(head)
            yield RemovedDecision(recorded, place, rows.read(key_size), rows.read(size))


def _file(folder: Path, number: int) -> Path:
    return folder / f"history-{number}"
