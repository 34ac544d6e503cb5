"""What a what-if found: slice by slice while it runs, then as a whole.

Everything is in the folder of the plan's work, which only its owner may read. A slice that was
written is not judged again.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from izin.consent.texts import visible
from izin.replay.what_if.answers import ChangedAnswer
from izin.replay.what_if.changes import Change, ChangeKind, changed_answer
from izin.runtime.masking import mask
from izin.runtime.plan import write_private

WRONG = (ChangeKind.SENT, ChangeKind.WITHHELD)
"""The kinds that are about a receipt."""
COLUMNS = (
    "brand",
    "type",
    "recipient_type",
    "recipient",
    "change",
    "from",
    "to",
    "since",
    "until",
    "about",
)
"""Of the table of changes."""


class KeyChanges(NamedTuple):
    """What differs for one key."""

    key: str
    changes: Sequence[Change]


class CountedChange(NamedTuple):
    """How many recipients of a brand have a change."""

    brand_code: int
    kind: ChangeKind
    before: str
    after: str
    recipients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSlice:
    """What was found in a slice, or in lists."""

    keys: int = 0
    """How many keys were judged."""
    unreadable: int = 0
    """Facts that could not be read, and were left out."""
    changed: Sequence[KeyChanges] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfResult:
    """What was found in all."""

    keys: int
    unreadable: int
    erased: int
    """Keys of which no facts are left: nothing can be said of them."""
    counts: Sequence[CountedChange]
    sent: int
    """Receipts that said yes where the right answer is no."""
    withheld: int
    digest: str
    """SHA-256 of every change, in hexadecimal digits."""


class ResultFolder:
    """The results in the folder of the plan's work."""

    def __init__(self, folder: Path, slices: int) -> None:
        self._folder = folder
        self._slices = slices

    def has(self, number: int) -> bool:
        """Whether a slice is judged."""
        return self._slice(number).exists()

    @property
    def left(self) -> int:
        """How many slices are not judged."""
        return sum(not self.has(number) for number in range(self._slices))

    def write(self, number: int, judged: JudgedSlice) -> None:
        """Write what was found in a slice."""
        write_private(self._slice(number), [_bytes(judged)])

    @property
    def has_lists(self) -> bool:
        """Whether the lists are judged."""
        return self._lists.exists()

    def write_lists(self, judged: JudgedSlice) -> None:
        """Write what was found in the lists."""
        write_private(self._lists, [_bytes(judged)])

    def changed_answers(self) -> dict[str, list[ChangedAnswer]]:
        """Return the changed answers of all slices, by key."""
        return {
            one.key: answers
            for judged in self._judged_slices()
            for one in judged.changed
            if (answers := [changed_answer(it) for it in one.changes if _is_answer(it)])
        }

    def result(self, erased: int) -> WhatIfResult:
        """Return what was found in all that is judged, beside so many erased keys."""
        keys = unreadable = 0
        counts: Counter[tuple[int, ChangeKind, str, str]] = Counter()
        receipts: Counter[ChangeKind] = Counter()
        hashed = hashlib.sha256()
        for judged in self._all():
            keys += judged.keys
            unreadable += judged.unreadable
            for one in judged.changed:
                brand = int(one.key.partition("/")[0])
                counts.update({(brand, it.kind, it.before, it.after) for it in one.changes})
                receipts.update(it.kind for it in one.changes)
                hashed.update(orjson.dumps([one.key, [it.as_json() for it in one.changes]]))
        return WhatIfResult(
            keys=keys,
            unreadable=unreadable,
            erased=erased,
            counts=[CountedChange(*what, count) for what, count in sorted(counts.items())],
            sent=receipts[ChangeKind.SENT],
            withheld=receipts[ChangeKind.WITHHELD],
            digest=hashed.hexdigest(),
        )

    def changes(self, kinds: Iterable[ChangeKind] = ChangeKind) -> Iterator[tuple[str, Change]]:
        """Yield each change of some kinds, with its key."""
        wanted = frozenset(kinds)
        for judged in self._all():
            for one in judged.changed:
                yield from ((one.key, it) for it in one.changes if it.kind in wanted)

    def masked(self) -> Iterator[dict[str, Any]]:
        """Yield each change as JSON values, with its recipient masked."""
        for key, change in self.changes():
            yield dict(zip(COLUMNS, _cells(key, change, unmasked=False), strict=True))

    def write_table(self, *, unmasked: bool) -> Path:
        """Write the changes as CSV, with whole recipients or masked ones; return the file."""
        path = self._folder / ("changes-unmasked.csv" if unmasked else "changes.csv")
        rows = (_cells(key, change, unmasked=unmasked) for key, change in self.changes())
        write_private(path, map(_line, chain([COLUMNS], rows)))
        return path

    def _all(self) -> Iterator[JudgedSlice]:
        yield from self._judged_slices()
        if self.has_lists:
            yield _judged(self._lists.read_bytes())

    def _judged_slices(self) -> Iterator[JudgedSlice]:
        for number in range(self._slices):
            if self.has(number):
                yield _judged(self._slice(number).read_bytes())

    def _slice(self, number: int) -> Path:
        return self._folder / f"slice-{number:05}.json"

    @property
    def _lists(self) -> Path:
        return self._folder / "lists.json"


def _line(cells: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([visible(one) if isinstance(one, str) else one for one in cells])
    return text.getvalue().encode()


def _cells(key: str, change: Change, *, unmasked: bool) -> list[Any]:
    *whose, recipient = key.split("/", 3)
    return [*whose, recipient if unmasked else mask(recipient), *change.as_json()]


def _is_answer(change: Change) -> bool:
    return change.kind is ChangeKind.ANSWER


def _bytes(judged: JudgedSlice) -> bytes:
    return orjson.dumps(
        {
            "keys": judged.keys,
            "unreadable": judged.unreadable,
            "changed": [[one.key, [it.as_json() for it in one.changes]] for one in judged.changed],
        }
    )


def _judged(content: bytes) -> JudgedSlice:
    values = orjson.loads(content)
    return JudgedSlice(
        keys=values["keys"],
        unreadable=values["unreadable"],
        changed=[
            KeyChanges(key, [Change.from_json(it) for it in changes])
            for key, changes in values["changed"]
        ],
    )
