"""The sweep: İYS is asked for the status of every key of a brand, a thousand in a request.

A page is up to a thousand recipients of one channel and recipient type. Where İYS refuses it for
its content (a duplicate, H193; a recipient that is none, H464, H120, H121), the recipients that it
names are asked about alone, else each half, until those at fault are found.

The answer names what is ONAY. Presence is ONAY, without a date or a source. Absence is RET or no
record. So an ONAY that is believed and absent is a suspected opt-out, and an ONAY beside an opt-out
opens nothing: the query of that key alone decides about both.

What İYS answered about a page is saved in one transaction: the rows that differ, one fact for the
page, the cursor. Of a million equal keys the history has a thousand facts, which name nobody; each
key that differs has its own. Gates that shut are published before all else of the page.

One process of an account and address runs the open sweeps, one at a time. Pages are read and asked
about ahead of the one that is saved, so that no request of the budget goes unused while another is
under way. They are saved in the order of the keys, for the cursor to move. A sweep after a gap goes
first: others stop at their cursor, and go on behind it.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil

from izin.consent import Action, Channel, RecipientType, Registered, Status
from izin.iys.client import IysClient
from izin.iys.errors import CallError, RefusedError, Verdict
from izin.iys.rate_limit import CallClass
from izin.iys.wire_format import lower_case_email
from izin.ledger import brands
from izin.ledger.db import exclusive
from izin.ledger.history import HistoryEntry, sweep_key
from izin.ledger.offsets import until_released
from izin.ledger.record import Brand, ConsentRow, apply, to_sweep_query
from izin.ledger.sweep import sweeps
from izin.ledger.sweep.sweeps import Sweep, SweepCounts, SweptKey
from izin.ledger.unit_of_work import UnitOfWork, lock
from izin.runtime.logs import get_logger
from izin.runtime.process import cancel_all
from izin.sinks.outbound import status_query
from izin.sinks.outbound.context import OutboundContext, RequestBudget

_REFUSALS_OF_ALL = 2
"""So many recipients refused on their own and none answered: the recipients are not at fault."""
_AHEAD = timedelta(seconds=4)
"""For so long the pages last that are asked about while one is saved, or İYS is slow."""
_AHEAD_AT_LEAST = 8
_AGAIN = timedelta(minutes=1)
"""How long a sweep waits that İYS does not answer."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptPage:
    """What İYS answered about the keys of a page."""

    keys: tuple[SweptKey, ...]
    approved: frozenset[str]
    """The keys whose record at İYS is ONAY."""
    refused: frozenset[str]
    """The keys that İYS refuses to look up."""
    queried_at: datetime
    """Just before İYS was asked, in whole seconds as İYS counts."""

    def is_approved(self, one: SweptKey) -> bool:
        """Whether İYS holds ONAY for a key."""
        return one.key in self.approved


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """Asks about pages, within the budget of sweeps."""

    client: IysClient
    clock: Callable[[], datetime]
    budget: RequestBudget

    async def query(self, brand: Brand, keys: tuple[SweptKey, ...]) -> SweptPage:
        """Return İYS's answer about ``keys`` of one channel and recipient type.

        Raises:
            CallError: İYS does not answer, does not let us query, or refuses every recipient.
        """
        waiting: list[Sequence[SweptKey]] = [keys]
        approved: set[str] = set()
        refused: set[str] = set()
        queried_at: datetime | None = None
        while waiting:
            part = waiting.pop()
            at = self.clock().replace(microsecond=0)
            try:
                found = await self._approved(brand, part)
            except RefusedError as error:
                if len(part) > 1:
                    waiting += status_query.parts(part, error)
                    continue
                refused.add(part[0].key)
                if queried_at is None and waiting and len(refused) >= _REFUSALS_OF_ALL:
                    raise
                continue
            queried_at = queried_at or at
            approved |= {key.key for key in part if lower_case_email(key.recipient) in found}
        return SweptPage(
            keys=keys,
            approved=frozenset(approved),
            refused=frozenset(refused),
            queried_at=queried_at or self.clock().replace(microsecond=0),
        )

    async def _approved(self, brand: Brand, part: Sequence[SweptKey]) -> frozenset[str]:
        channel, recipient_type = part[0].group
        recipients = [key.recipient for key in part]
        return await self.budget.patiently(
            lambda: self.client.statuses(
                brand.path,
                Channel(channel),
                RecipientType(recipient_type),
                recipients,
                call_class=CallClass.SWEEP,
            )
        )


class KeyFinding(StrEnum):
    """What a key's answer means."""

    SHUT = "shut"
    """ONAY was believed and İYS shows none: nothing may be sent, and the key is queried alone."""
    FOUND = "found"
    """İYS holds an ONAY that was not known, and there is no opt-out."""
    ASKED = "asked"
    """İYS shows ONAY beside an opt-out: the key is queried alone, and nothing opens before."""
    SKIPPED = "skipped"
    """It cannot be judged: the key changed, or something is due that reads İYS's answer itself."""


def is_as_known(key: SweptKey, *, is_approved: bool) -> bool:
    """Whether the answer changes nothing: ONAY as believed, or neither."""
    return is_approved == (key.registered == Registered.ONAY)


def finding(
    key: SweptKey, row: ConsentRow | None, *, is_approved: bool, queried_at: datetime
) -> KeyFinding:
    """Return what an answer means that is not as known; ``row`` is the key's, locked.

    What moved since İYS was asked is not judged: a consent that it took a moment ago was not there
    yet when it answered.
    """
    if row is None or row.is_open or _has_moved(key, row, queried_at):
        return KeyFinding.SKIPPED
    is_due = row.action is not Action.NOTHING
    if not is_approved:
        is_opting_out = row.desired_status == Status.RET and is_due
        return KeyFinding.SKIPPED if is_opting_out else KeyFinding.SHUT
    if is_due:
        return KeyFinding.SKIPPED
    is_opted_out = Status.RET in {row.desired_status, row.registered}
    return KeyFinding.ASKED if is_opted_out or row.latest_ret_at is not None else KeyFinding.FOUND


def may_be_asked(key: SweptKey, row: ConsentRow, *, queried_at: datetime) -> bool:
    """Whether a key that İYS refuses among many is queried alone: ONAY is believed, and nothing is
    due for it.
    """
    return (
        key.registered == Registered.ONAY
        and row.action is Action.NOTHING
        and not row.is_open
        and not _has_moved(key, row, queried_at)
    )


def _has_moved(key: SweptKey, row: ConsentRow, queried_at: datetime) -> bool:
    before = (key.registered, key.registered_at, key.last_exchange_at)
    return before != (row.registered, row.registered_at, row.last_exchange_at) or (
        row.registered_at is not None and row.registered_at >= queried_at
    )


_FIRST = (KeyFinding.SHUT, KeyFinding.ASKED, KeyFinding.FOUND)
"""In which order findings are written."""


async def save_page(
    context: OutboundContext, sweep: Sweep, page: SweptPage, brand: Brand
) -> Sweep | None:
    """Save a page and return the sweep behind it; None where the sweep has ended: nothing is saved.

    Raises:
        ConcurrentChangeError: a row changed although it was locked; the page is repeated.
    """
    answered = [one for one in page.keys if one.key not in page.refused]
    differing = {
        one.key: one for one in answered if not is_as_known(one, is_approved=page.is_approved(one))
    }
    now = context.clock()
    async with context.ledger.transaction() as connection:
        rows = await lock(connection, [*differing, *page.refused])
        findings = {
            key: finding(
                one, rows.get(key), is_approved=page.is_approved(one), queried_at=page.queried_at
            )
            for key, one in differing.items()
        }
        changes = UnitOfWork(connection, context.topic_messages, context.ledger.calendar, now)
        for wanted in _FIRST:
            for key, found in findings.items():
                if found is wanted:
                    _write(changes, rows[key], found, page, brand)
        alone = _ask_refused(changes, page, rows)
        confirmed = [
            one.key
            for one in answered
            if one.registered == Registered.ONAY and page.is_approved(one)
        ]
        counts = _counts(findings.values(), page, confirmed=len(confirmed), alone=alone)
        advanced = await sweeps.advance(connection, sweep, page.keys[-1].key, counts)
        if advanced is None:
            return None
        await sweeps.confirm(connection, confirmed, page.queried_at)
        changes.add_entry(_fact(advanced, page, counts, changes))
        await changes.write()
    return advanced


def _write(
    changes: UnitOfWork,
    row: ConsentRow,
    found: KeyFinding,
    page: SweptPage,
    brand: Brand,
) -> None:
    """Write what was found of a row; what is queried alone is ruled by that answer."""
    if found is KeyFinding.ASKED:
        changes.put(row, to_sweep_query(row, changes.now))
        return
    shown = status_query.observation_of_many(
        approved=found is KeyFinding.FOUND, queried_at=page.queried_at
    )
    changes.add_entry(status_query.observation(row, shown, changes.now))
    observed = apply.observed(row, shown)
    if found is KeyFinding.SHUT:
        changes.put(row, to_sweep_query(observed, changes.now))
    else:
        status_query.rule(changes, row, observed, brand)


def _ask_refused(changes: UnitOfWork, page: SweptPage, rows: Mapping[str, ConsentRow]) -> int:
    """Have the keys queried alone that İYS refuses and holds as ONAY; return how many."""
    asked = [
        rows[key.key]
        for key in page.keys
        if key.key in page.refused
        and key.key in rows
        and may_be_asked(key, rows[key.key], queried_at=page.queried_at)
    ]
    for row in asked:
        changes.put(row, to_sweep_query(row, changes.now))
    return len(asked)


def _counts(
    findings: Iterable[KeyFinding], page: SweptPage, *, confirmed: int, alone: int
) -> SweepCounts:
    counted = Counter(findings)
    return SweepCounts(
        queried=len(page.keys),
        confirmed=confirmed,
        shut=counted[KeyFinding.SHUT],
        found=counted[KeyFinding.FOUND],
        asked=counted[KeyFinding.ASKED] + alone,
        skipped=counted[KeyFinding.SKIPPED],
        refused=len(page.refused),
    )


def _fact(sweep: Sweep, page: SweptPage, counts: SweepCounts, changes: UnitOfWork) -> HistoryEntry:
    """Return the history's record of a page."""
    channel, recipient_type = page.keys[0].group
    return HistoryEntry(
        kind="observation",
        customer_id=sweep.customer_id,
        key=sweep_key(sweep.id),
        source=f"sweep/{sweep.id}/{sweep.pages}",
        occurred_at=changes.now,
        data={
            "by": "sweep",
            "brand_code": sweep.brand_code,
            "channel": channel,
            "recipient_type": recipient_type,
            "queried_at": page.queried_at,
            **asdict(counts),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Runs sweeps."""

    context: OutboundContext
    budget: RequestBudget
    every: timedelta | None
    """How often each brand is swept by itself; None: never."""

    async def run(self, poll_interval: timedelta) -> None:
        """Sweep until cancelled, in one process of an account and address at a time."""
        context = self.context
        async with exclusive(context.ledger, context.lease_owner.exclusive("sweep")) as ledger:
            owner = replace(self, context=replace(context, ledger=ledger))
            while True:
                await until_released(ledger)
                if not await owner.sweep():
                    await asyncio.sleep(poll_interval.total_seconds())

    async def sweep(self) -> bool:
        """Run the sweep that goes on now, as far as it goes; return whether there was one."""
        context = self.context
        if context.is_paused("statuses"):
            return False
        now = context.clock()
        if self.every is not None:
            for one in await sweeps.start_scheduled(
                context.ledger, context.lease_owner, self.every, now=now
            ):
                brand_code, keys = one.brand_code, one.keys
                _log.info("sweep started", brand=brand_code, reason=one.reason, keys_total=keys)
        found = await sweeps.next_sweep(context.ledger, context.lease_owner, now=now)
        if found is None:
            return False
        async with context.ledger.transaction() as connection:
            brand = (await brands.of_codes(connection, {found.brand_code}))[found.brand_code]
        await _SweepRun(sweeper=self, brand=brand, sweep=found).run()
        return True


@dataclass(slots=True, kw_only=True)
class _SweepRun:
    """The run of one sweep, until it ends, waits, or another one goes first."""

    sweeper: Sweeper
    brand: Brand
    sweep: Sweep
    _ahead: deque[tuple[tuple[SweptKey, ...], asyncio.Task[SweptPage]]] = field(
        default_factory=deque
    )

    async def run(self) -> None:
        """Run it."""
        try:
            await self._run()
        finally:
            left = [asking for _, asking in self._ahead]
            await cancel_all(left)
            # What failed meanwhile is asked about again: nobody else looks at the errors.
            await asyncio.gather(*left, return_exceptions=True)

    async def _run(self) -> None:
        context, read_up_to = self.sweeper.context, self.sweep.after
        query = PageQuery(client=context.client, clock=context.clock, budget=self.sweeper.budget)
        most = max(_AHEAD_AT_LEAST, ceil(_AHEAD.total_seconds() * self.sweeper.budget.rate))
        while True:
            while read_up_to is not None and len(self._ahead) < most:
                keys = await sweeps.page_after(context.ledger, self.brand.brand_code, read_up_to)
                read_up_to = keys[-1].key if keys else None
                if keys:
                    asking = asyncio.create_task(query.query(self.brand, keys), name="swept page")
                    self._ahead.append((keys, asking))
            if not self._ahead:
                await self._end()
                return
            keys, asking = self._ahead[0]
            try:
                page = await asking
            except CallError as error:
                await self._give_way(keys[0].group, error)
                return
            advanced = await save_page(context, self.sweep, page, self.brand)
            self._ahead.popleft()
            if advanced is None:
                return
            if advanced.counts.shut > self.sweep.counts.shut:
                _log.warning(
                    "gates shut by a sweep",
                    brand=self.brand.brand_code,
                    records=advanced.counts.shut - self.sweep.counts.shut,
                )
            self.sweep, now = advanced, context.clock()
            goes_on = await sweeps.next_sweep(context.ledger, context.lease_owner, now=now)
            if goes_on is None or goes_on.id != advanced.id:
                return

    async def _give_way(self, group: tuple[str, str], error: CallError) -> None:
        """Leave out what İYS does not let us query; after any other error the sweep waits."""
        context, sweep = self.sweeper.context, self.sweep
        if error.verdict is Verdict.RIGHTS:
            codes = ", ".join(sorted({refusal.code for refusal in error.refusals}))
            _log.critical(
                "sweep skipped a channel",
                brand=sweep.brand_code,
                channel="/".join(group),
                code=codes,
                remedy="give the right back at İYS, then: izin iys sweep start",
            )
            await sweeps.skip_group(context.ledger, sweep, group, codes)
            return
        retry_at = context.clock() + error.pause(_AGAIN)
        error.warn(_log, "sweep waits", brand=sweep.brand_code, until=retry_at)
        await sweeps.postpone(context.ledger, sweep, str(error), retry_at)

    async def _end(self) -> None:
        context = self.sweeper.context
        ended = await sweeps.end(context.ledger, self.sweep, now=context.clock())
        if ended is not None:
            counts = ended.counts
            _log.info(
                "sweep ended",
                brand=ended.brand_code,
                queried=counts.queried,
                shut=counts.shut,
                asked=counts.asked,
                found=counts.found,
                skipped=counts.skipped,
                refused=counts.refused,
            )
