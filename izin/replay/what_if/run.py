"""Plan and run a what-if: the history slice by slice of the keys, each judged by two settings.

The plan has both settings and the heads of the history, so that a run that was stopped goes on with
the same facts, and ends with the same result. One slice is in memory at a time. Nothing is changed.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from izin.consent.errors import UnreadableKeyError
from izin.consent.may_send import PermissionReason
from izin.consent.model import ConsentKey, RecipientType
from izin.replay.errors import OtherPlanError
from izin.replay.plan import Plan, work_folder
from izin.replay.selection import Selection
from izin.replay.what_if.answers import (
    ChangedAnswer,
    Span,
    answers,
    changed_answers,
    closings_of,
)
from izin.replay.what_if.changes import Change, Window, changes_of, wrong_receipts
from izin.replay.what_if.facts import AskedReceipt, KeyFacts, KeyFold
from izin.replay.what_if.lists import GivenList, ListReceipt, file_digest, on_list
from izin.replay.what_if.results import JudgedSlice, KeyChanges, ResultFolder, WhatIfResult
from izin.replay.what_if.settings import LawSettings
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.history import by_key
from izin.sinks.ledger.history.by_key import KeyMovements, KeySlice
from izin.sinks.ledger.history.receipts import receipt_key

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


async def plan(ledger: Ledger, request: WhatIfRequest, path: Path) -> Plan:
    """Write the plan of ``request`` to ``path``, or return the one that is there.

    Raises:
        UnreadablePlanError: what is there is no plan.
        OtherPlanError: it is the plan of other options.
        PlanMovedError: the law or the calendar has changed since.
    """
    heads = await by_key.heads(ledger)
    made = Plan(
        kind=KIND,
        target="",
        selection=request.selection,
        options={
            "before": request.before.as_json(),
            "after": request.after.as_json(),
            "customers": {str(code): one for code, one in sorted(request.customers.items())},
            "lists": [one.as_json(file_digest(one.path)) for one in request.lists],
            "slices": _slices(request, sum(heads.values())),
            "erased": await by_key.erased(ledger, _concerned(request)),
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


def result_folder(plan: Plan, path: Path) -> ResultFolder:
    """Return where the results of ``plan`` are, which is in ``path``: apart from those of one that
    was there before.
    """
    folder = work_folder(path) / plan.digest[:16]
    folder.mkdir(mode=0o700, exist_ok=True)
    return ResultFolder(folder, plan.options["slices"])


def result(plan: Plan, path: Path) -> WhatIfResult:
    """Return what was found in all that is judged."""
    return result_folder(plan, path).result(plan.options["erased"])


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
        folder, slices = result_folder(self.plan, self.path), self.plan.options["slices"]
        for number in range(slices):
            if not folder.has(number):
                folder.write(number, await self._judged(KeySlice(number, slices)))
            progress(number + 1, slices)
        if self.lists and not folder.has_lists:
            folder.write_lists(await self._on_lists(folder))
        return result(self.plan, self.path)

    @property
    def _customers(self) -> dict[int, str]:
        return {int(code): one for code, one in self.plan.options["customers"].items()}

    @property
    def _settings(self) -> tuple[LawSettings, LawSettings]:
        before, after = (
            LawSettings.from_json(self.plan.options[name]) for name in ("before", "after")
        )
        return before, after

    async def _judged(self, part: KeySlice) -> JudgedSlice:
        before, after = self._settings
        facts = await self._facts(part)
        closings = await self._closings(facts)
        window = _window(self.plan.selection)
        changed = []
        for number, one in enumerate(facts):
            if number % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
            laws = (law.of(one.key.brand_code, one.customer_id) for law in (before, after))
            found = list(
                changes_of(
                    one,
                    *laws,
                    closings=closings.get(str(one.key), ()),
                    window=window,
                    now=self.plan.made_at,
                )
            )
            if found:
                changed.append(KeyChanges(str(one.key), found))
        return JudgedSlice(
            keys=len(facts), unreadable=sum(one.unreadable for one in facts), changed=changed
        )

    async def _facts(self, part: KeySlice) -> list[KeyFacts]:
        """Return the facts of the selected keys of a slice."""
        selection, heads = self.plan.selection, self.plan.history
        if selection.keys or selection.recipients:
            found = await reads.keys_of(self.ledger, selection.recipients)
            keys = {*selection.keys, *(key for some in found.values() for key in some)}
            movements = await by_key.of_keys(self.ledger, keys, heads)
        else:
            brands = selection.brands or None
            movements = await by_key.in_slice(self.ledger, part, heads, brands=brands)
        customers = self._customers
        facts = []
        for one in _folded(movements):
            # A brand that has moved is its present customer's, whatever its history says.
            owner, wanted = customers.get(one.key.brand_code), selection.customers
            one.customer_id = owner or one.customer_id
            if selection.takes_key(str(one.key)) and (not wanted or owner in wanted):
                facts.append(one)
        return facts

    async def _closings(self, facts: Iterable[KeyFacts]) -> dict[str, list[Span]]:
        """Return when the addresses of merchants are opted out as BIREYSEL, by their keys."""
        others = {
            str(replace(one.key, recipient_type=RecipientType.BIREYSEL)): str(one.key)
            for one in facts
            if one.key.recipient_type is RecipientType.TACIR
        }
        if not others:
            return {}
        movements = await by_key.of_keys(self.ledger, others, self.plan.history)
        return {
            others[str(one.key)]: closings_of(one.states, RecipientType.BIREYSEL)
            for one in _folded(movements)
        }

    async def _on_lists(self, folder: ResultFolder) -> JudgedSlice:
        """Judge the lists: who of those with another answer was on them."""
        changed, window = folder.changed_answers(), _window(self.plan.selection)
        free = self._settings[0].unregistered_merchants
        found: dict[str, list[Change]] = {}
        for given in self.lists:
            receipts = [
                ListReceipt.of(given.path, one, await reads.facts(self.ledger, [receipt_key(one)]))
                for one in given.receipts
            ]
            for receipt, key, asked in on_list(given, receipts, free=free):
                if not window.has(asked.asked_at):
                    continue
                others = changed.get(key) or self._of_unknown(receipt, key, asked)
                if wrong := list(wrong_receipts([asked], others)):
                    found.setdefault(key, []).extend(wrong)
        return JudgedSlice(changed=[KeyChanges(key, some) for key, some in found.items()])

    def _of_unknown(
        self, receipt: ListReceipt, key: str, asked: AskedReceipt
    ) -> Sequence[ChangedAnswer]:
        """Return the changed answers of a merchant of whom the history has nothing."""
        selection, customer_id = self.plan.selection, receipt.customer_id
        is_selected = selection.takes_key(key) and (
            not selection.customers or customer_id in selection.customers
        )
        if asked.reason != PermissionReason.REGISTER_FIRST or not is_selected:
            return ()
        before, after = (
            answers((), RecipientType.TACIR, one.of(receipt.brand_code, customer_id))
            for one in self._settings
        )
        return list(changed_answers(before, after))


def _folded(movements: Iterable[KeyMovements]) -> Iterator[KeyFacts]:
    """Yield the facts of each key that can be read."""
    for key, some in movements:
        try:
            fold = KeyFold(ConsentKey.parse(key))
        except UnreadableKeyError:
            continue
        for one in some:
            fold.add(one)
        yield fold.facts


def _window(selection: Selection) -> Window:
    return Window(since=selection.since, until=selection.until)


def _slices(request: WhatIfRequest, movements: int) -> int:
    """Return into how many slices the keys are cut; those that are named are one."""
    if request.selection.keys or request.selection.recipients:
        return 1
    return max(1, -(-movements // request.rows))


def _concerned(request: WhatIfRequest) -> set[str] | None:
    """Return the customers that are selected, themselves or by their brands; None: all."""
    selection = request.selection
    if not (selection.customers or selection.brands):
        return None
    codes = selection.brands & request.customers.keys()
    return {*selection.customers, *(request.customers[code] for code in codes)}


def _asked(plan: Plan) -> dict[str, Any]:
    """Return what a plan was asked for."""
    asked = {name: plan.options.get(name) for name in ("before", "after", "lists")}
    return {"kind": plan.kind, "selection": plan.selection.as_json(), **asked}
