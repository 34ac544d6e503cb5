"""The differences as a table, as JSON that is written as they come, and as a CSV file."""

import json
import sys
from collections import Counter
from datetime import datetime
from typing import Any

from izin.consent.texts import visible
from izin.console.terminal.output import OutputFormat, out, print_rows, say, turkish, warn
from izin.console.terminal.private_files import CsvRows
from izin.reconcile.comparing import Comparison, Difference
from izin.reconcile.trails import words_of
from izin.runtime.masking import mask_text

_MOST = 200
"""So many differences are listed in the table."""
_COLUMNS = {
    "key": "recipient",
    "kind": "kind",
    "side": "side",
    "words": "ledger > side",
    "next": "what is done",
}
FIELDS = (
    *("key", "kind", "side", "here", "here_at", "there", "there_at", "saw", "missed"),
    *("repair", "next_step"),
)
"""The columns of the CSV file."""
_NOTHING = "-"


class DifferenceReport:
    """Takes the differences one by one; of a table it keeps the first, of JSON nothing."""

    def __init__(self, output: OutputFormat, *, unmasked: bool, csv: CsvRows | None) -> None:
        self.unexplained = 0
        """How many differences no cause explains."""
        self._output = output
        self._unmasked = unmasked
        self._csv = csv
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._listed: list[tuple[object, ...]] = []

    def begin(self, comparison: Comparison) -> None:
        """Begin the JSON of a comparison."""
        if self._output is OutputFormat.JSON:
            brand = comparison.scope.brand.brand_code
            sys.stdout.write(f'{{"brand": {brand}, "differences": [')

    def add(self, one: Difference) -> None:
        """Take a difference."""
        is_first = not self._counts
        self.unexplained += not one.is_explained
        self._counts[one.finding.kind, one.finding.side, _done(one)] += 1
        if self._csv is not None:
            self._csv.writerow([_text(value) for value in _values(one, one.key).values()])
        key = one.key if self._unmasked else mask_text(one.key)
        if self._output is OutputFormat.JSON:
            values = {**_values(one, key), "explained": one.is_explained}
            text = visible(json.dumps(values, ensure_ascii=False))
            sys.stdout.write(f"{'' if is_first else ','}\n{text}")
        elif len(self._listed) < _MOST:
            self._listed.append(_row(one, key.partition("/")[2]))

    def end(self, comparison: Comparison, plan: str | None) -> None:
        """Print what was taken; ``plan`` is the digest of the plan that was written, if one was."""
        sizes = {name: getattr(comparison.sizes, name) for name in comparison.sizes.__slots__}
        counts = [
            {"kind": kind, "side": side, "done": done, "keys": keys}
            for (kind, side, done), keys in sorted(self._counts.items())
        ]
        if self._output is OutputFormat.JSON:
            values = {
                "counts": counts,
                "compared": sizes,
                "unexplained": self.unexplained,
                "plan": plan,
            }
            sys.stdout.write(f"\n], {json.dumps(values, ensure_ascii=False)[1:]}\n")
            return
        if counts:
            print_rows(self._output, _COLUMNS, self._listed, below=True)
            columns = ("kind", "side", "done", "keys")
            print_rows(self._output, columns, [tuple(one.values()) for one in counts])
        left = sum(self._counts.values()) - len(self._listed)
        if left:
            say(f"not listed: {left:,} more; --out FILE has all of them")
        _print_sizes(sizes, self.unexplained)


def _print_sizes(sizes: dict[str, int], unexplained: int) -> None:
    line = (
        f"compared: {sizes['rows']:,} rows, {sizes['desired']:,} desired consents, "
        f"{sizes['permissions']:,} permissions; İYS as seen of {sizes['seen']:,} keys"
    )
    out.print(line, soft_wrap=True, highlight=False, markup=False)
    if sizes["changing"]:
        say(f"left out, for they changed meanwhile: {sizes['changing']:,} rows; compare again")
    if unexplained:
        warn(f"unexplained differences: {unexplained:,}")


def _row(one: Difference, recipient: str) -> tuple[object, ...]:
    finding = one.finding
    here = _said(finding.here, finding.here_at)
    words = f"{here} > {_said(finding.there, finding.there_at)}"
    paths = ""
    if finding.record is not None:
        paths = f"; seen by {words_of(one.saw)}; missed by {words_of(one.missed)}"
    return recipient, finding.kind, finding.side, words, f"{one.remedy.next_step}{paths}"


def _values(one: Difference, key: str) -> dict[str, Any]:
    finding, repair = one.finding, one.remedy.repair
    values = (
        *(key, str(finding.kind), str(finding.side)),
        *(finding.here, _iso(finding.here_at), finding.there, _iso(finding.there_at)),
        *(list(map(str, one.saw)), list(map(str, one.missed))),
        *(None if repair is None else str(repair), one.remedy.next_step),
    )
    return dict(zip(FIELDS, values, strict=True))


def _said(what: str | None, at: datetime | None) -> str:
    """Return what a side says for people, times in Turkish time."""
    return (what or _NOTHING) if at is None else f"{what} {turkish(at)}"


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds")


def _text(value: object) -> object:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _done(one: Difference) -> str:
    if one.is_explained:
        return "explained"
    return "by a person" if one.remedy.repair is None else str(one.remedy.repair)
