"""What a batch amounts to: filled while it is folded, written in one transaction, then applied."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from izin.schemas.fast.record_format import BatchBuilder

DEAD_LETTER = "dead:"
"""Before the reason in the names under which dead letters are counted."""
SUPPRESSED = "suppressed"
"""The name under which the opt-ins are counted that were given before their key was erased."""

_FULL: Final = 256 * 1024
"""Bytes of a batch, not compressed, before whose next record it is sent, while the rest of its
transaction is folded. One record alone may be larger (``outputs.MAX_BYTES``), up to what a broker
takes."""


class OutputRecord(NamedTuple):
    """A record to write."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    """None: a tombstone."""
    headers: bytes
    """As ``record_format.headers_bytes`` returns them."""


output_record: Final[
    Callable[[tuple[str, int, bytes | None, bytes | None, bytes]], OutputRecord]
] = partial(tuple.__new__, OutputRecord)
"""Makes an output record of its fields in a third of the time; most events need two."""


@dataclass(slots=True)
class Effects:
    """All that a batch amounts to. Filled while folding; the state changes after the commit."""

    writes: list[OutputRecord] = field(default_factory=list)
    """Records of the batch's transaction."""
    repartitioned: list[OutputRecord] = field(default_factory=list)
    """Input records to write again, to the partitions that their keys belong to."""
    changes: dict[bytes, bytes] = field(default_factory=dict)
    """The new state by canonical key, packed by the state's packing; empty: the key is erased."""
    suppresses: bool = False
    """Whether a key was erased, so that opt-ins of it may be suppressed."""
    records: int = 0
    """How many records were folded."""
    counts: Counter[str] = field(default_factory=Counter)
    """Decisions by kind, dead letters by reason (``dead:refused`` …), ``repartitioned``,
    ``opt-outs``, ``erased`` and ``suppressed``."""
    suspects: Counter[str] = field(default_factory=Counter)
    """Dead letters that may be our own fault, by source; they have a budget
    (:mod:`izin.runtime.dead_letter_budget`)."""
    unsettled: list[tuple[str, int]] = field(default_factory=list)
    """Lane and offset of what may be an opt-out and was left undecided where the opt-outs alone
    were folded: a dead letter is due of each."""
    alarms: list[tuple[str, int, int]] = field(default_factory=list)
    """The coordinates of every dead letter that was an opt-out, or may have been one: all from the
    express lane, including unreadable ones."""


class OutputBatches:
    """The records of a transaction that were not sent yet, in batches as a topic stores them."""

    def __init__(self) -> None:
        self._open: dict[str, BatchBuilder] = {}

    def add(self, writes: Sequence[OutputRecord]) -> list[BatchBuilder]:
        """Add ``writes``; return the batches that are full, in order."""
        full: list[BatchBuilder] = []
        for topic, partition, key, value, headers in writes:
            batch = self._open.get(topic)
            if batch is not None and (
                batch.partition != partition or batch.size + len(value or b"") > _FULL
            ):
                full.append(batch)
                batch = None
            if batch is None:
                batch = self._open[topic] = BatchBuilder(topic, partition)
            batch.add(key, value, headers)
        return full

    def take(self) -> list[BatchBuilder]:
        """Return the other batches, of which none is kept."""
        found = list(self._open.values())
        self._open.clear()
        return found
