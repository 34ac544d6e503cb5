"""Run the open sweeps: one process of an account and address, one sweep at a time.

Pages are read and asked about ahead of the one that is saved, so that no request of the budget goes
unused while another is under way. They are saved in the order of the keys, for the cursor to move.
A sweep after a gap goes first: others stop at their cursor, and go on behind it.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import ceil

from izin.iys.errors import CallError, Verdict
from izin.iys.transport.circuit_breaker import CircuitState
from izin.runtime.observe import get_logger
from izin.runtime.process import cancel_all
from izin.sinks.inbound.sweep.page_query import PageQuery, SweptPage
from izin.sinks.inbound.sweep.save_page import save_page
from izin.sinks.ledger import brands
from izin.sinks.ledger.db.leases import sole
from izin.sinks.ledger.sweep import cursor, sweeps
from izin.sinks.ledger.sweep.cursor import SweptKey
from izin.sinks.ledger.sweep.sweeps import Sweep
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.request_budget import RequestBudget
from izin.sinks.record.brand import Brand

_AHEAD = timedelta(seconds=4)
"""For so long the pages last that are asked about while one is saved, or İYS is slow."""
_AHEAD_AT_LEAST = 8
_AGAIN = timedelta(minutes=1)
"""How long a sweep waits that İYS does not answer."""

_log = get_logger(__name__)


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
        async with sole(context.ledger, context.lease_owner.sole("sweep")) as ledger:
            owner = replace(self, context=replace(context, ledger=ledger))
            while True:
                if not await owner.sweep():
                    await asyncio.sleep(poll_interval.total_seconds())

    async def sweep(self) -> bool:
        """Run the sweep that goes on now, as far as it goes; return whether there was one."""
        context = self.context
        if context.client.circuit_state("statuses") is CircuitState.OPEN:
            return False
        await self._start_scheduled()
        now = context.clock()
        found = await sweeps.next_sweep(context.ledger, context.lease_owner, now=now)
        if found is None:
            return False
        async with context.ledger.transaction() as connection:
            brand = (await brands.of_codes(connection, {found.brand_code}))[found.brand_code]
        await _SweepRun(sweeper=self, brand=brand, sweep=found).run()
        return True

    async def _start_scheduled(self) -> None:
        if self.every is None:
            return
        context = self.context
        for one in await sweeps.start_scheduled(
            context.ledger, context.lease_owner, self.every, now=context.clock()
        ):
            _log.info("sweep started", brand=one.brand_code, reason=one.reason, keys_total=one.keys)


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
        query = PageQuery(context=context, budget=self.sweeper.budget)
        most = max(_AHEAD_AT_LEAST, ceil(_AHEAD.total_seconds() * self.sweeper.budget.rate))
        while True:
            while read_up_to is not None and len(self._ahead) < most:
                keys = await cursor.page_after(context.ledger, self.brand.brand_code, read_up_to)
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
            self.sweep = advanced
            if not await self._goes_on():
                return

    async def _goes_on(self) -> bool:
        """Whether this sweep is the one that goes on now."""
        context = self.sweeper.context
        found = await sweeps.next_sweep(context.ledger, context.lease_owner, now=context.clock())
        return found is not None and found.id == self.sweep.id

    async def _give_way(self, group: tuple[str, str], error: CallError) -> None:
        """Leave out what İYS does not let us query; after any other error the sweep waits."""
        context, sweep = self.sweeper.context, self.sweep
        if error.verdict is Verdict.RIGHTS:
            codes = ", ".join(sorted({one.code for one in error.refusals}))
            _log.critical(
                "sweep passed over a channel",
                brand=sweep.brand_code,
                channel="/".join(group),
                code=codes,
                remedy="give the right back at İYS, then: izin iys sweep start",
            )
            await cursor.pass_over(context.ledger, sweep, group, codes)
            return
        retry_at = context.clock() + error.pause(_AGAIN)
        error.warn(_log, "sweep waits", brand=sweep.brand_code, until=retry_at)
        await cursor.postpone(context.ledger, sweep, str(error), retry_at)

    async def _end(self) -> None:
        context = self.sweeper.context
        ended = await cursor.end(context.ledger, self.sweep, now=context.clock())
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
