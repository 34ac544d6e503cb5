"""What a what-if found: slice by slice while it runs, then as a whole.

Everything is in the folder of the plan's work, which only its owner may read. A slice that was
written is not judged again.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from izin.consent.texts import visible
from izin.replay.plan import Plan, work_folder, write_private
from izin.replay.what_if.changes import Change, ChangeKind
from izin.runtime.masking import mask

COLUMNS = (
    *("brand", "type", "recipient_type", "recipient"),
    *("change", "from", "to", "since", "until", "about"),
)
"""Of the table of changes."""


class CountedChange(NamedTuple):
    """How many recipients of a brand have a change."""

    brand_code: int
    kind: str
    before: str
    after: str
    recipients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSlice:
    """What was found in a slice."""

    keys: int
    """How many keys were judged."""
    unreadable: int
    """Facts that could not be read, and were left out."""
    changed: Sequence[tuple[str, Sequence[Change]]]
    """What differs, by key."""


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


class ResultFolder:
    """The results of ``plan``, which is in ``path``, apart from those of a plan before it there."""

    def __init__(self, plan: Plan, path: Path) -> None:
        self._folder = work_folder(path) / plan.digest[:16]
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._options = plan.options

    def has(self, number: int) -> bool:
        """Whether a slice is judged."""
        return self._slice(number).exists()

    @property
    def left(self) -> int:
        """How many slices are not judged."""
        return sum(not self.has(number) for number in range(self._options["slices"]))

    def write(self, number: int, judged: JudgedSlice) -> None:
        """Write what was found in a slice."""
        write_private(self._slice(number), [orjson.dumps(judged)])

    def result(self) -> WhatIfResult:
        """Return what was found in all that is judged."""
        keys = unreadable = 0
        counts: Counter[tuple[int, str, str, str]] = Counter()
        receipts: Counter[str] = Counter()
        for judged in self._slices():
            keys += judged.keys
            unreadable += judged.unreadable
            for key, changes in judged.changed:
                brand = int(key.partition("/")[0])
                counts.update({(brand, one.kind, one.before, one.after) for one in changes})
                receipts.update(one.kind for one in changes)
        return WhatIfResult(
            keys=keys,
            unreadable=unreadable,
            erased=self._options["erased"],
            counts=[CountedChange(*what, count) for what, count in sorted(counts.items())],
            sent=receipts[ChangeKind.SENT],
            withheld=receipts[ChangeKind.WITHHELD],
        )

    def write_table(self, *, unmasked: bool) -> Path:
        """Write the changes as CSV, with whole recipients or masked ones; return the file."""
        path = self._folder / ("changes-unmasked.csv" if unmasked else "changes.csv")
        write_private(path, self._lines(unmasked=unmasked))
        return path

    def _lines(self, *, unmasked: bool) -> Iterator[bytes]:
        yield _line(COLUMNS)
        for judged in self._slices():
            for key, changes in judged.changed:
                *whose, recipient = key.split("/", 3)
                shown = recipient if unmasked else mask(recipient)
                yield from (_line([*whose, shown, *astuple(one)]) for one in changes)

    def _slices(self) -> Iterator[JudgedSlice]:
        for number in filter(self.has, range(self._options["slices"])):
            values = orjson.loads(self._slice(number).read_bytes())
            changed = [
                (key, [Change(**one) for one in changes]) for key, changes in values["changed"]
            ]
            yield JudgedSlice(**values | {"changed": changed})

    def _slice(self, number: int) -> Path:
        return self._folder / f"slice-{number:05}.json"


def _line(cells: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([visible(one) if isinstance(one, str) else one for one in cells])
    return text.getvalue().encode()
