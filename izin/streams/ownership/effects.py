"""What a batch amounts to: filled while it is folded, written in one transaction, then held."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from izin.schemas.cloud_events import Headers


DEAD = "dead:"
"""Begins the names under which dead letters are counted, before the reason of each."""


class Write(NamedTuple):
    """A record to be written in the batch's transaction; ``partition`` None: wherever."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes
    headers: Headers


write_of: Final[Callable[[tuple[str, int | None, bytes | None, bytes, Headers]], Write]] = partial(
    tuple.__new__, Write
)
"""Makes a write of its fields in a third of the time: two are made of most records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refile:
    """A record to be written again, where its key belongs."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: Headers


@dataclass(slots=True)
class Effects:
    """All that a batch amounts to. Filled while folding; the state changes after the commit."""

    writes: list[Write] = field(default_factory=list)
    refiles: list[Refile] = field(default_factory=list)
    changes: dict[bytes, bytes] = field(default_factory=dict)
    """By canonical key: what holds true of it from then on, packed as the state packs."""
    counts: Counter[str] = field(default_factory=Counter)
    """Decisions by kind, dead letters by reason (``dead:refused`` …), ``refiled`` and ``opt-
    outs``."""
    suspects: int = 0
    """Dead letters that may be our own fault: see :mod:`izin.streams.budget`."""
    alarms: list[tuple[str, int, int]] = field(default_factory=list)
    """The coordinates of every dead letter that was a "no", or may have been one: what came on the
    express lane, even where nobody can read what it says."""

    @property
    def dead(self) -> Counter[str]:
        """How many dead letters it brings, by reason."""
        counts = self.counts
        found = {name: counts[name] for name in counts if name.startswith(DEAD)}
        return Counter({name.removeprefix(DEAD): count for name, count in found.items()})


def size(key: bytes, value: bytes, about: Headers) -> int:
    """Return what a record of these will weigh, about."""
    return (
        len(key) + len(value) + sum(len(name) + len(content or b"") + 16 for name, content in about)
    )
