"""The decisions of the history, written once to files of the work folder, one a partition.

The history is read in full, by shard and place, which says nothing of partitions: so one process
divides it, and each partition then reads its own file.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from struct import Struct
from typing import IO, NamedTuple

from izin.consent.fold import BOOTSTRAP
from izin.replay.history import DECISION, HistoryRow, read_history
from izin.replay.order_state.planning import open_history
from izin.runtime.settings import LedgerSettings
from izin.schemas.fast.writer import EPOCH
from izin.schemas.partitioning import partition_of
from izin.sinks.ledger.db.connection import Ledger

_HEAD = Struct(">qqHI")
"""Recorded at (microseconds since 1970), place, and the sizes of key and decision."""
_MICROSECOND = timedelta(microseconds=1)
_BUFFER = 1 << 20


class RemovedDecision(NamedTuple):
    """A row of the history, as a file of a partition has it."""

    recorded: int
    """In microseconds since 1970."""
    place: int
    key: bytes
    decision: bytes
    """Empty: the row was restored from the topic, and its decisions are unknown."""


def removed_input(folder: Path, number: int) -> Path:
    """Return the file of the decisions of partition ``number`` that the history has."""
    return folder / f"history-{number}"


def divide_history(
    settings: LedgerSettings,
    heads: Mapping[int, int],
    folder: Path,
    partitions: int,
    report: Callable[[int, int], None],
) -> None:
    """Write the files of all ``partitions``, unless they are there; raises LedgerUnavailableError.

    ``report`` gets how many rows of how many were read.
    """
    if all(removed_input(folder, number).exists() for number in range(partitions)):
        return
    asyncio.run(_divide(settings, heads, folder, partitions, report))


async def _divide(
    settings: LedgerSettings,
    heads: Mapping[int, int],
    folder: Path,
    partitions: int,
    report: Callable[[int, int], None],
) -> None:
    files = [removed_input(folder, number) for number in range(partitions)]
    news = [one.with_name(f"{one.name}.new") for one in files]
    with ExitStack() as stack:
        opened = [stack.enter_context(one.open("wb", buffering=_BUFFER)) for one in news]
        async with open_history(settings) as ledger:
            await _write_all(ledger, heads, opened, report)
    for new, file in zip(news, files, strict=True):
        new.replace(file)


async def _write_all(
    ledger: Ledger,
    heads: Mapping[int, int],
    files: Sequence[IO[bytes]],
    report: Callable[[int, int], None],
) -> None:
    total, read = sum(heads.values()), 0
    async for rows in read_history(ledger, heads, (DECISION, BOOTSTRAP)):
        for row in rows:
            key = row.key.encode()
            files[partition_of(key, len(files))].write(_encoded(row, key))
        read += len(rows)
        report(read, max(read, total))


def _encoded(row: HistoryRow, key: bytes) -> bytes:
    decision = row.decision or b""
    recorded = _since(row.recorded_at)
    return _HEAD.pack(recorded, row.place, len(key), len(decision)) + key + decision


def _since(instant: datetime) -> int:
    return (instant - EPOCH) // _MICROSECOND


def removed_decisions(folder: Path, number: int) -> Iterator[RemovedDecision]:
    """Yield the decisions of partition ``number`` that the history has; none where it was not
    needed.
    """
    path = removed_input(folder, number)
    if not path.exists():
        return
    with path.open("rb", buffering=_BUFFER) as file:
        while head := file.read(_HEAD.size):
            recorded, place, key_size, size = _HEAD.unpack(head)
            yield RemovedDecision(recorded, place, file.read(key_size), file.read(size))
