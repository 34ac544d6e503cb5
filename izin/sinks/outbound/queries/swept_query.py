"""Query the records alone that a sweep could not settle, within İYS's thousand an hour (H086).

Gates that the sweep shut go first. A fifth of the hour is left to our own opt-outs, and once the
rest is spent nothing is claimed until some of it is free again: other queries have their own lane.
"""

from dataclasses import dataclass
from datetime import datetime

from izin.iys.errors import RefusedError, ThrottledError
from izin.iys.rate_limit import CallClass
from izin.iys.transport.circuit_breaker import CircuitState
from izin.sinks.ledger.db.queries import statements
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.queries.status_query import SINGLES, StatusQuerier

_SQL = statements("claims")


@dataclass(slots=True, kw_only=True)
class SweptQuerier:
    """Queries what sweeps have found, one by one."""

    context: OutboundContext
    querier: StatusQuerier
    _spent_until: datetime | None = None
    """The queries of the hour are spent until then."""

    async def query_swept(self) -> bool:
        """Query a few of them; return whether more may wait that can be queried now."""
        now = self.context.clock()
        if self._spent_until is not None and now < self._spent_until:
            return False
        if self.context.client.circuit_state("status") is CircuitState.OPEN:
            return False
        values = {"now": now, **self.context.lease_owner.who}
        found = await self.context.ledger.fetch(_SQL["swept"], values)
        if not found:
            return False
        claimed = await self.querier.claim("claim-swept", **found[0], size=SINGLES)
        if claimed is None:
            return False
        brand, entries = claimed
        for place, entry in enumerate(entries, 1):
            error = await self.querier.query_one(brand, entry, CallClass.RESULTS)
            if error is None or isinstance(error, RefusedError):
                continue
            if isinstance(error, ThrottledError) and error.retry_after is not None:
                self._spent_until = self.context.clock() + error.retry_after
            await self.querier.release(entries[place:])
            return False
        return True
