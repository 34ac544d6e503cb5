"""Plan and run a what-if: the history slice by slice of the keys, each judged by two settings.

The plan has both settings and the heads of the history, so that a run that was stopped goes on with
the same facts, and ends with the same result. One slice is in memory at a time, and what the gate
answered about the lists. Nothing is changed.

What was found is in the folder of the plan's work, which only its owner may read. A slice that was
written is not judged again.
"""

import asyncio
import csv
import io
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from izin.consent.due_dates import BrandTerms
from izin.consent.errors import UnreadableKeyError
from izin.consent.model import ConsentKey
from izin.consent.recorded import instant
from izin.consent.texts import visible
from izin.replay.what_if.changes import Change, ChangeKind, LawSettings, changes_of
from izin.replay.what_if.key_history import AskedReceipt, GivenList, KeyTimeline, on_lists
from izin.runtime.masking import mask
from izin.runtime.plan import (
    OnProgress,
    OtherPlanError,
    Plan,
    Selection,
    silent,
    work_folder,
    write_private,
)
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.history import by_key
from izin.sinks.ledger.history.by_key import KeySlice

KIND = "what-if"
ROWS = 20_000
"""About so many movements are in one slice, and so in memory."""
_YIELD_EVERY = 200
"""So many keys are judged before others in the event loop have their turn."""

COLUMNS = (
    *("brand", "type", "recipient_type", "recipient"),
    *("change", "from", "to", "since", "until", "about"),
)
"""Of the table of changes."""


@dataclass(frozen=True, kw_only=True)
class WhatIfRequest:
    """What is asked."""

    selection: Selection
    before: LawSettings
    """Those in force."""
    after: LawSettings
    customers: Mapping[int, str]
    """Of each brand that the selection concerns."""
    lists: tuple[GivenList, ...] = ()
    by: str
    now: datetime
    rows: int = ROWS


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


async def plan(ledger: Ledger, request: WhatIfRequest, path: Path) -> Plan:
    """Write the plan of ``request`` to ``path``, or return the one that is there.

    Raises:
        UnreadablePlanError: what is there is no plan.
        OtherPlanError: it is the plan of other options.
        PlanMovedError: the law or the calendar has changed since.
    """
    selection, heads = request.selection, await by_key.heads(ledger)
    is_named = bool(selection.keys or selection.recipients)
    owners = {one for code, one in request.customers.items() if code in selection.brands}
    customers = owners | selection.customers if selection.brands or selection.customers else None
    made = Plan(
        kind=KIND,
        target="",
        selection=selection,
        options={
            "closed_days": [day.isoformat() for day in sorted(request.after.closed_days)],
            "terms": _terms_as_json(request.before.terms),
            "customers": {str(code): one for code, one in sorted(request.customers.items())},
            "lists": [one.as_json() for one in request.lists],
            "slices": 1 if is_named else max(1, -(-sum(heads.values()) // request.rows)),
            "erased": await by_key.erased(ledger, customers),
        },
        cluster_id="",
        topics={},
        history=heads,
        closed_days=tuple(sorted(request.before.closed_days)),
        made_at=request.now,
        by=request.by,
    )
    return _kept(made, path)


def _kept(made: Plan, path: Path) -> Plan:
    """Return the plan in ``path``, which is written if there is none."""
    if not path.exists():
        made.write(path)
        return made
    known = Plan.read(path)
    if _asked(known) != _asked(made):
        raise OtherPlanError(path)
    known.check(made)
    return known


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """The work of a plan."""

    ledger: Ledger
    plan: Plan
    path: Path
    lists: tuple[GivenList, ...] = ()

    async def run(self, progress: OnProgress = silent) -> WhatIfResult:
        """Judge what is not judged yet; return what was found in all.

        Raises:
            UnverifiedListError: a list is not the one of its receipts.
        """
        folder, slices = ResultFolder(self.plan, self.path), self.plan.options["slices"]
        listed = await on_lists(self.ledger, self.lists)
        for number in range(slices):
            if not folder.has(number):
                folder.write(number, await self._judged(KeySlice(number, slices), listed))
            progress(number + 1, slices)
        return folder.result()

    async def _judged(
        self, part: KeySlice, listed: Mapping[str, list[AskedReceipt]]
    ) -> JudgedSlice:
        (before, after), selection = settings_of(self.plan), self.plan.selection
        keys, unreadable, changed = 0, 0, []
        async for one in self._facts(part):
            if keys % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
            key, code = str(one.key), one.key.brand_code
            one.receipts += listed.get(key, ())
            laws = before.of(code), after.of(code)
            found = list(changes_of(one, *laws, selection=selection, now=self.plan.made_at))
            keys, unreadable = keys + 1, unreadable + one.unreadable
            if found:
                changed.append((key, found))
        return JudgedSlice(keys=keys, unreadable=unreadable, changed=changed)

    async def _facts(self, part: KeySlice) -> AsyncIterator[KeyTimeline]:
        """Yield the facts of the selected keys of a slice that can be read."""
        selection, heads = self.plan.selection, self.plan.history
        if selection.keys or selection.recipients:
            found = await reads.keys_of(self.ledger, selection.recipients)
            keys = {*selection.keys, *(key for some in found.values() for key in some)}
            movements = await by_key.of_keys(self.ledger, keys, heads)
        else:
            brands = selection.brands or None
            movements = await by_key.in_slice(self.ledger, part, heads, brands=brands)
        for key, some in movements:
            # A brand that has moved is its present customer's, whatever its history says.
            owner = self.plan.options["customers"].get(key.partition("/")[0])
            is_wanted = not selection.customers or owner in selection.customers
            try:
                facts = KeyTimeline(ConsentKey.parse(key))
            except UnreadableKeyError:
                continue
            if is_wanted and selection.takes_key(key):
                for one in some:
                    facts.add(one)
                yield facts


def _asked(plan: Plan) -> dict[str, Any]:
    """Return what a plan was asked for."""
    asked = {name: plan.options.get(name) for name in ("closed_days", "terms", "lists")}
    days = [day.isoformat() for day in plan.closed_days]
    return {"kind": plan.kind, "selection": plan.selection.as_json(), "before": days, **asked}


def _terms_as_json(terms: Mapping[int, BrandTerms]) -> dict[str, Any]:
    return {
        str(code): {name: at and at.isoformat() for name, at in asdict(one).items()}
        for code, one in sorted(terms.items())
    }


def settings_of(plan: Plan) -> tuple[LawSettings, LawSettings]:
    """Return the settings in force and the other ones, as ``plan`` has them."""
    terms = {
        int(code): BrandTerms(**{name: instant(at) for name, at in one.items()})
        for code, one in plan.options["terms"].items()
    }
    before = LawSettings(closed_days=frozenset(plan.closed_days), terms=terms)
    return before, before.on_other_days(map(date.fromisoformat, plan.options["closed_days"]))


def _line(cells: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([visible(one) if isinstance(one, str) else one for one in cells])
    return text.getvalue().encode()
