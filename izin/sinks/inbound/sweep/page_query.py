"""Ask İYS which keys of a page are ONAY, so that one bad recipient harms only itself.

A page is up to a thousand recipients of one channel and recipient type. Where İYS refuses it for
its content (a duplicate, H193; a recipient that is none, H464, H120, H121), the recipients that it
names are asked about alone, else each half, until those at fault are found.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from izin.consent.model import Channel, RecipientType
from izin.iys.client import IysClient
from izin.iys.errors import CallError, RefusedError
from izin.iys.rate_limit import CallClass
from izin.iys.wire_format.json_reader import lower_case_email
from izin.runtime.backoff import Backoff
from izin.sinks.ledger.sweep.cursor import SweptKey
from izin.sinks.outbound.queries.refused_query import parts
from izin.sinks.outbound.request_budget import RequestBudget
from izin.sinks.record.brand import Brand

_TRIES = 3
"""So often a request is made that İYS does not answer."""
_BACKOFF = Backoff(timedelta(seconds=1), timedelta(seconds=5))
_REFUSALS_OF_ALL = 2
"""So many recipients refused on their own and none answered: the recipients are not at fault."""


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


class QueryContext(Protocol):
    """What asks İYS, and by which clock."""

    @property
    def client(self) -> IysClient:
        """The client of İYS."""

    @property
    def clock(self) -> Callable[[], datetime]:
        """The clock of what is noted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """Asks about pages, within the budget of sweeps."""

    context: QueryContext
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
            at = self.context.clock().replace(microsecond=0)
            try:
                found = await self._approved(brand, part)
            except RefusedError as error:
                if len(part) > 1:
                    waiting += parts(part, error)
                    continue
                refused.add(part[0].key)
                if queried_at is None and waiting and len(refused) >= _REFUSALS_OF_ALL:
                    raise
                continue
            queried_at = queried_at or at
            approved |= {one.key for one in part if lower_case_email(one.recipient) in found}
        return SweptPage(
            keys=keys,
            approved=frozenset(approved),
            refused=frozenset(refused),
            queried_at=queried_at or self.context.clock().replace(microsecond=0),
        )

    async def _approved(self, brand: Brand, part: Sequence[SweptKey]) -> frozenset[str]:
        channel, recipient_type = part[0].group
        recipients = [one.recipient for one in part]
        tries = 0
        while True:
            await self.budget.turn()
            tries += 1
            try:
                return await self.context.client.statuses(
                    brand.path,
                    Channel(channel),
                    RecipientType(recipient_type),
                    recipients,
                    call_class=CallClass.SWEEP,
                )
            except CallError as error:
                if not error.is_transient or tries >= _TRIES:
                    raise
                await asyncio.sleep(error.pause(_BACKOFF.after(tries)).total_seconds())
