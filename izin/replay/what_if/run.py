"""Run a what-if: the history slice by slice of the keys, each judged by two settings.

The history is read up to the heads that its chains had when the run began, and one slice is in
memory at a time, with what the gate answered about the lists. Nothing is changed.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from izin.consent import ConsentKey, UnreadableKeyError
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.history import KeySlice, by_key
from izin.replay.what_if.changes import (
    ALWAYS,
    AnswerChange,
    AnswerChangeKind,
    LawSettings,
    Period,
    changes_of,
)
from izin.replay.what_if.key_history import GivenList, KeyTimeline, on_lists
from izin.runtime.plan import OnProgress, Selection, silent

ROWS = 20_000
"""About so many entries are in one slice, and so in memory."""
_YIELD_EVERY = 200
"""So many keys are judged before others in the event loop have their turn."""

OnChange = Callable[[str, AnswerChange], None]
"""Gets a key, and what differs of it."""


class CountedChange(NamedTuple):
    """How many recipients of a brand have a change."""

    brand_code: int
    kind: str
    before: str
    after: str
    recipients: int


@dataclass(slots=True, kw_only=True)
class WhatIfResult:
    """What was found."""

    erased: int
    """Keys of which no facts are left: nothing can be said of them."""
    keys: int = 0
    unreadable: int = 0
    """Facts that could not be read, and were left out."""
    receipts: Counter[str] = field(default_factory=Counter)
    """By kind of change."""
    recipients: Counter[tuple[int, str, str, str]] = field(default_factory=Counter)
    """By brand, and by kind, before and after of a change."""

    def add(self, key: str, changes: Iterable[AnswerChange]) -> None:
        """Count what differs of a key."""
        brand, found = int(key.partition("/")[0]), list(changes)
        self.recipients.update(
            {(brand, change.kind, change.before, change.after) for change in found}
        )
        self.receipts.update(one.kind for one in found)

    @property
    def sent(self) -> int:
        """Receipts that said yes where the right answer is no."""
        return self.receipts[AnswerChangeKind.SENT]

    @property
    def withheld(self) -> int:
        """Receipts that said no where the right answer is yes."""
        return self.receipts[AnswerChangeKind.WITHHELD]

    @property
    def counts(self) -> list[CountedChange]:
        """What differs, in order, with how many recipients have it."""
        return [CountedChange(*what, count) for what, count in sorted(self.recipients.items())]


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """What is asked of one ledger."""

    ledger: Ledger
    selection: Selection
    period: Period = ALWAYS
    before: LawSettings
    """Those in force."""
    after: LawSettings
    customers: Mapping[int, str]
    """Of each brand that the selection concerns."""
    lists: tuple[GivenList, ...] = ()
    now: datetime
    rows: int = ROWS

    async def run(self, on_change: OnChange, progress: OnProgress = silent) -> WhatIfResult:
        """Judge every key; return what was found.

        Raises:
            SourceError: a list is not the one of its receipts.
        """
        heads, selection = await by_key.heads(self.ledger), self.selection
        listed = await on_lists(self.ledger, self.lists)
        is_named = bool(selection.keys or selection.recipients)
        slices = 1 if is_named else max(1, -(-sum(heads.values()) // self.rows))
        result = WhatIfResult(erased=await self._erased())
        for number in range(slices):
            async for timeline in self._timelines(KeySlice(number, slices), heads):
                if result.keys % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
                key, code = str(timeline.key), timeline.key.brand_code
                timeline.receipts += listed.get(key, ())
                laws = self.before.of(code), self.after.of(code)
                found = list(changes_of(timeline, *laws, period=self.period, now=self.now))
                result.keys += 1
                result.unreadable += timeline.unreadable
                result.add(key, found)
                for change in found:
                    on_change(key, change)
            progress(number + 1, slices)
        return result

    async def _erased(self) -> int:
        brands = self.selection.brands
        owners = {one for code, one in self.customers.items() if code in brands}
        return await by_key.erased(self.ledger, owners if brands else None)

    async def _timelines(
        self, part: KeySlice, heads: Mapping[int, int]
    ) -> AsyncIterator[KeyTimeline]:
        """Yield what the history says of the selected keys of a slice that can be read."""
        selection = self.selection
        if selection.keys or selection.recipients:
            found = await reads.keys_of(self.ledger, selection.recipients)
            entries = await by_key.of_keys(
                self.ledger,
                {*selection.keys, *(key for some in found.values() for key in some)},
                heads,
            )
        else:
            brands = selection.brands or None
            entries = await by_key.in_slice(self.ledger, part, heads, brands=brands)
        for key, some in entries:
            try:
                parsed = ConsentKey.parse(key)
            except UnreadableKeyError:
                continue
            if selection.takes_key(key):
                timeline = KeyTimeline(parsed)
                for one in some:
                    timeline.add(one)
                yield timeline
