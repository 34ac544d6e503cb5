"""Plan and run a what-if: the history slice by slice of the keys, each judged by two settings.

The plan has both settings and the heads of the history, so that a run that was stopped goes on with
the same facts, and ends with the same result. One slice is in memory at a time, and what the gate
answered about the lists. Nothing is changed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from izin.consent.errors import UnreadableKeyError
from izin.consent.model import ConsentKey
from izin.replay.errors import EmptySelectionError, OtherPlanError
from izin.replay.plan import Plan
from izin.replay.selection import Selection
from izin.replay.what_if.changes import changes_of
from izin.replay.what_if.facts import AskedReceipt, KeyFacts
from izin.replay.what_if.lists import GivenList, on_lists
from izin.replay.what_if.results import JudgedSlice, ResultFolder, WhatIfResult
from izin.replay.what_if.settings import LawSettings
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.history import by_key
from izin.sinks.ledger.history.by_key import KeySlice

KIND = "what-if"
ROWS = 20_000
"""About so many movements are in one slice, and so in memory."""
_YIELD_EVERY = 200
"""So many keys are judged before others in the event loop have their turn."""

OnProgress = Callable[[int, int], None]
"""Called with how many slices are judged, and how many there are."""


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

    def __post_init__(self) -> None:
        if self.selection.origins or self.selection.offsets:
            raise EmptySelectionError("a what-if is about keys: leave out --origin and --offsets")


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
            "before": request.before.as_json(),
            "after": request.after.as_json(),
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

    async def run(self, progress: OnProgress = lambda _done, _all: None) -> WhatIfResult:
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
        options, selection = self.plan.options, self.plan.selection
        before, after = (LawSettings.from_json(options[name]) for name in ("before", "after"))
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

    async def _facts(self, part: KeySlice) -> AsyncIterator[KeyFacts]:
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
                facts = KeyFacts(ConsentKey.parse(key))
            except UnreadableKeyError:
                continue
            if is_wanted and selection.takes_key(key):
                for one in some:
                    facts.add(one)
                yield facts


def _asked(plan: Plan) -> dict[str, Any]:
    """Return what a plan was asked for."""
    asked = {name: plan.options.get(name) for name in ("before", "after", "lists")}
    return {"kind": plan.kind, "selection": plan.selection.as_json(), **asked}
