"""Compute the links of one chain again, and name each row that was changed, moved or removed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from izin.sinks.ledger.history import acts
from izin.sinks.ledger.history.batches import BatchDigest, batch_of
from izin.sinks.ledger.history.hash_chain import commitment_of_row, next_link
from izin.sinks.record.anchor import Anchor

_NOBODY_ERASED = "the row was erased, and no act names it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of a chain, and between which places it is."""

    shard: int
    after: int
    place: int
    what: str


class Head(NamedTuple):
    """The last row of a chain, as the ledger says."""

    place: int
    link: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRow:
    """A movement to be verified."""

    shard: int
    place: int
    link: bytes
    commitment: bytes
    is_erased: bool
    named: Mapping[int, frozenset[int]]
    """The rows that an act of erasure names: places by shard."""
    named_deliveries: frozenset[tuple[int, int]]
    """The deliveries that it names: batch and place."""
    batch: tuple[int, BatchDigest] | None
    """The batch of deliveries that it proves."""


class ChainCheck:
    """The verification of one chain, whose rows are added in the order of their places."""

    def __init__(
        self,
        shard: int,
        anchors: Mapping[int, Anchor],
        head: Head,
        cut: Mapping[str, Any] | None,
    ) -> None:
        self.rows = 0
        self.faults: list[Fault] = []
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
        if cut is not None:
            self._place = self._confirmed = cut["place"]
            self._link = cut["link"]
            anchored = anchors.get(self._place)
            if anchored is None or anchored.link != self._link:
                self._fault(
                    self._place, "rows up to this place were dropped, and no anchor says so"
                )
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
        for cut in sorted(self._anchors):
            what = "rows up to this place were anchored and are gone"
            self._fault(cut, what)

    def compare_erased(self, named: frozenset[int]) -> None:
        """Note each erased row whose place no act names."""
        self.faults += [
            Fault(shard=self._shard, after=after, place=place, what=_NOBODY_ERASED)
            for after, place in self.erased
            if place not in named
        ]

    def _compare(self, row: VerifiedRow) -> None:
        anchored = self._anchors.pop(row.place, None)
        if anchored is None:
            return
        if anchored.link != row.link:
            what = f"rows after {self._confirmed} were rewritten since {anchored.anchored_at}"
            self._fault(row.place, what)
        self._confirmed = row.place

    def _fault(self, place: int, what: str) -> None:
        self.faults.append(Fault(shard=self._shard, after=self._place, place=place, what=what))


def first_link(shard: int) -> bytes:
    """Return the link from which a chain starts."""
    return hashlib.sha256(f"izin movements {shard}".encode()).digest()


def verified_row(row: Mapping[str, Any]) -> VerifiedRow:
    """Return a row to be verified: its columns by name, as :func:`commitment_of_row` has them."""
    commitment, data = row["commitment"], row["data"]
    is_erased = commitment is not None
    if not is_erased:
        commitment = commitment_of_row(row)
    is_act = not is_erased and row["kind"] == acts.KIND
    erasure = _erasure(data) if is_act and data is not None else {}
    return VerifiedRow(
        shard=row["shard"],
        place=row["place"],
        link=row["link"],
        commitment=commitment,
        is_erased=is_erased,
        named={int(shard): frozenset(some) for shard, some in erasure.get("places", {}).items()},
        named_deliveries=frozenset(
            (int(batch), place)
            for batch, some in erasure.get("deliveries", {}).items()
            for place in some
        ),
        batch=None if is_erased else batch_of(row),
    )


def _erasure(data: str) -> Mapping[str, Mapping[str, list[int]]]:
    """Return what an act of erasure names; nothing of any other act."""
    said = json.loads(data)
    return said["after"] if said.get("act") == acts.ERASED else {}
