"""Compute the links of one chain again, and name each row that was changed, moved or removed.

What the owner of the ledger can write proves nothing: neither an instant of recording, nor a cut,
nor that an act says so. That rows were dropped or emptied is lawful only where an act names them,
and where an anchor from outside, at or behind them, was time-stamped ten years ago.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from izin.ledger.history import append
from izin.ledger.history.hash_chain import (
    SALT,
    BatchDigest,
    batch_of,
    commitment_of_row,
    next_link,
)
from izin.ledger.record import Anchor

ERASED_KINDS = frozenset({"erased", "withheld"})
"""What rows are called of which only the commitment is there: erased, or (in the archive of one
customer) another's."""
_NOBODY_ERASED = "the row was erased, and no act names it"
_NOBODY_DROPPED = "rows up to this place were dropped, and no act names it"
_TOO_YOUNG = "no anchor from outside shows that ten years had passed"
_NOT_COVERED = b""
"""In place of a commitment: the row says what none covers, so that its link cannot follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of a chain, and between which places it is."""

    shard: int
    after: int
    place: int
    what: str
    anchor: int | None = None
    """The anchor that shows it, by its id; None: the chain itself does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the restoration of a ledger has lost, by the act that names it."""

    shard: int
    place: int
    """Of the act."""
    ends: Mapping[int, int]
    """The last row of each chain that was restored."""
    anchor: int
    """The last anchor before, by its id."""
    batch: int
    """The last batch of deliveries before; no archive has them."""

    def is_published(self, anchors: Iterable[Anchor]) -> bool:
        """Whether one of the ``anchors`` from outside is behind the act, and behind what it names.
        Else the act may explain away whatever they show.
        """
        return any(
            anchor.shard == self.shard and anchor.place >= self.place and anchor.id > self.anchor
            for anchor in anchors
        )

    def covers(self, fault: Fault) -> bool:
        """Whether the rows that a fault misses are among what was lost."""
        return (
            fault.anchor is not None
            and fault.anchor <= self.anchor
            and fault.place > self.ends.get(fault.shard, 0)
        )


class Head(NamedTuple):
    """The last row of a chain, as the ledger says."""

    place: int
    link: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRow:
    """An entry to be verified."""

    shard: int
    place: int
    link: bytes
    commitment: bytes
    is_erased: bool
    act: Act
    batch: tuple[int, BatchDigest] | None
    """The batch of deliveries that it proves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What a row names that was done to the history: nothing, if it is no act on it."""

    erased: Mapping[int, frozenset[int]] = field(default_factory=dict)
    """The rows that were erased: places by shard."""
    erased_deliveries: frozenset[tuple[int, int]] = frozenset()
    """The deliveries that were erased: batch and place."""
    cuts: Mapping[int, int] = field(default_factory=dict)
    """The last place of each chain in a month that was dropped."""
    loss: Loss | None = None


class ChainCheck:
    """The verification of one chain, whose rows are added in the order of their places."""

    def __init__(
        self,
        shard: int,
        anchors: Mapping[int, Anchor],
        head: Head,
        cut: Mapping[str, Any] | None,
        *,
        long_ago: datetime,
    ) -> None:
        self.rows = 0
        self.faults: list[Fault] = []
        self.unprovable: list[Fault] = []
        """What nothing contradicts, and nothing but the ledger's owner says."""
        self.erased: list[tuple[int, int]] = []
        """The places of erased rows, after the place before each."""
        self._shard = shard
        self._head = head
        self._appended = head.place
        """The last row that was read, also beyond the head."""
        self._place = 0
        self._link = first_link(shard)
        self._confirmed = 0
        """The last place that an anchor has confirmed."""
        self._aged = max(
            (
                place
                for place, one in anchors.items()
                if one.timestamped_at is not None and one.timestamped_at <= long_ago
            ),
            default=0,
        )
        """The last place that is known from outside to be old enough to be dropped."""
        self._cut = 0 if cut is None else int(cut["place"])
        if cut is not None:
            self._place = self._confirmed = self._cut
            self._link = cut["link"]
            anchored = anchors.get(self._cut)
            if anchored is not None and anchored.link != self._link:
                self._fault(self._cut, "rows up to this place were rewritten before they went")
        self._anchors = {place: one for place, one in anchors.items() if place > self._place}

    def add(self, row: VerifiedRow) -> None:
        """Compute the link of ``row`` again; one beyond the head is left to the next time."""
        if row.place > self._head.place:
            self._appended = max(self._appended, row.place)
            return
        self.rows += 1
        if row.is_erased:
            self.erased.append((self._place, row.place))
        if row.place > self._place + 1:
            self._fault(row.place - 1, f"{row.place - self._place - 1} rows are missing")
        elif row.place <= self._place or next_link(self._link, row.commitment) != row.link:
            self._fault(row.place, "the row was changed, moved or inserted")
        # Continue with the stored link, so that one row's fault is not the next one's.
        self._place, self._link = row.place, row.link
        self._compare(row)

    def end(self, latest: int) -> None:
        """Compare with the head, and with the place of the ``latest`` one, read after the rows."""
        place, link = self._head
        if place > self._place:
            self._fault(place, f"{place - self._place} rows are missing at the end")
        elif link != self._link or self._appended > latest:
            self._fault(self._appended, "the chain does not end where the ledger says")
        for gone, anchored in sorted(self._anchors.items()):
            self._fault(gone, "rows up to this place were anchored and are gone", anchored)

    def compare_acts(self, erased: Collection[int], cuts: Collection[int]) -> None:
        """Note each erased row and the cut, where no act names it, or nothing shows its age."""
        for after, place in self.erased:
            self.judge(after, place, "emptied", _NOBODY_ERASED, is_named=place in erased)
        if self._cut:
            self.judge(0, self._cut, "dropped", _NOBODY_DROPPED, is_named=self._cut in cuts)

    def judge(
        self, after: int, place: int, how: str, unnamed: str = "", *, is_named: bool = True
    ) -> None:
        """Note what was emptied or dropped at ``place``, unless an act names it and it is old."""
        if not is_named:
            self.faults.append(Fault(shard=self._shard, after=after, place=place, what=unnamed))
        elif place > self._aged:
            self.unprovable.append(
                Fault(
                    shard=self._shard,
                    after=after,
                    place=place,
                    what=f"{how}, not provable: {_TOO_YOUNG}",
                )
            )

    def _compare(self, row: VerifiedRow) -> None:
        anchored = self._anchors.pop(row.place, None)
        if anchored is None:
            return
        if anchored.link != row.link:
            self._fault(
                row.place,
                f"rows after {self._confirmed} were rewritten since {anchored.anchored_at}",
                anchored,
            )
        self._confirmed = row.place

    def _fault(self, place: int, what: str, shown_by: Anchor | None = None) -> None:
        anchor = None if shown_by is None else shown_by.id
        self.faults.append(
            Fault(shard=self._shard, after=self._place, place=place, what=what, anchor=anchor)
        )


def first_link(shard: int) -> bytes:
    """Return the link from which a chain starts."""
    return hashlib.sha256(f"izin history {shard}".encode()).digest()


def verified_row(row: Mapping[str, Any]) -> VerifiedRow:
    """Return a row to be verified: its columns by name, as :func:`commitment_of_row` has them."""
    commitment, act, batch = row["commitment"], Act(), None
    is_erased, is_covered = commitment is not None, _is_covered(row)
    if not is_erased and is_covered:
        commitment = commitment_of_row(row)
        try:
            act, batch = _act_of(row), batch_of(row)
        except (ValueError, KeyError, TypeError, AttributeError):
            # Nobody but the owner of the ledger writes an act of another shape.
            is_covered = False
    return VerifiedRow(
        shard=row["shard"],
        place=row["place"],
        link=row["link"],
        commitment=commitment if is_covered else _NOT_COVERED,
        is_erased=is_erased,
        act=act,
        batch=batch,
    )


def _is_covered(row: Mapping[str, Any]) -> bool:
    """Whether all that readers use of a row is covered by its commitment or follows from what is:
    the ledger's own constraint (``history_covered_check``), which its owner can drop.
    """
    columns = [row[name] for name in ("event_id", "status", "source", "data")]
    if row["commitment"] is not None:
        says = [*columns, *(row[name] for name in ("salt", "key", "decision"))]
        return (
            row["kind"] in ERASED_KINDS
            and row["customer_id"] == ""
            and row["occurred"] == row["recorded"]
            and all(say is None for say in says)
        )
    is_decision = row["decision"] is not None
    return (
        row["salt"] is not None
        and len(row["salt"]) == SALT
        and (row["kind"] == "decision") == is_decision
        and not (is_decision and any(column is not None for column in columns))
    )


def _act_of(row: Mapping[str, Any]) -> Act:
    """Return what a row names that was done to the history; raises where it has another shape."""
    if row["kind"] != append.KIND or row["data"] is None:
        return Act()
    said = json.loads(row["data"])
    after = said.get("after", {})
    match said.get("act"):
        case append.ERASED:
            return Act(
                erased={int(shard): frozenset(some) for shard, some in after["places"].items()},
                erased_deliveries=frozenset(
                    (int(batch), place)
                    for batch, some in after["deliveries"].items()
                    for place in some
                ),
            )
        case append.DROPPED:
            return Act(cuts={int(shard): int(place) for shard, place in after["cuts"].items()})
        case append.RESTORED:
            ends = {int(shard): int(place) for shard, place in after["ends"].items()}
            return Act(
                loss=Loss(
                    shard=row["shard"],
                    place=row["place"],
                    ends=ends,
                    anchor=int(after["anchor"]),
                    batch=int(after["batch"]),
                )
            )
        case _:
            return Act()
