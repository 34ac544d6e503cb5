"""What a batch amounts to: filled while it is folded, written in one transaction, then applied."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from izin.schemas.cloud_events import Headers

DEAD_LETTER = "dead:"
"""Before the reason in the names under which dead letters are counted."""
SUPPRESSED = "suppressed"
"""The name under which the opt-ins are counted that were given before their key was erased."""

ANY_PARTITION: Final = -1
"""Leaves the choice of the partition to librdkafka."""


class OutputRecord(NamedTuple):
    """A record to write; ``partition`` None: any."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    """None: a tombstone."""
    headers: Headers


output_record: Final[
    Callable[[tuple[str, int | None, bytes | None, bytes | None, Headers]], OutputRecord]
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
    counts: Counter[str] = field(default_factory=Counter)
    """Decisions by kind, dead letters by reason (``dead:refused`` …), ``repartitioned``,
    ``opt-outs``, ``erased`` and ``suppressed``."""
    suspects: Counter[str] = field(default_factory=Counter)
    """Dead letters that may be our own fault, by source; they have a budget
    (:mod:`izin.runtime.dead_letter_budget`)."""
    alarms: list[tuple[str, int, int]] = field(default_factory=list)
    """The coordinates of every dead letter that was an opt-out, or may have been one: all from the
    express lane, including unreadable ones."""


def produce_all(
    produce: Callable[..., object],
    writes: list[OutputRecord],
    topic: str,
    on_delivery: Callable[..., object],
) -> int:
    """Hand ``writes`` to ``produce``, a producer's; return how many are of ``topic``.

    ``on_delivery`` is called for the last of these alone: a call for each would cost as much again.
    """
    rows = [index for index, write in enumerate(writes) if write[0] == topic]
    last = rows[-1] if rows else -1
    for index, write in enumerate(writes):
        name, partition, key, value, headers = write
        produce(
            name,
            value,
            key,
            ANY_PARTITION if partition is None else partition,
            on_delivery if index == last else None,
            headers=headers,
        )
    return len(rows)


def size(key: bytes, value: bytes, headers: Headers) -> int:
    """Return roughly how many bytes a record of these takes."""
    return (
        len(key)
        + len(value)
        + sum(len(name) + len(content or b"") + 16 for name, content in headers)
    )
