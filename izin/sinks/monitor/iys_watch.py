"""Whether İYS answers: said once when it stops and once when it is back, and shown all the time.

The calls that are made anyway show it. An opt-out that is due makes it a matter for a person: its
three business days go on, and it can be withdrawn on İYS's own pages if İYS answers there.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import Gauge

from izin.iys.client import IysClient
from izin.runtime.observe import get_logger
from izin.sinks.ledger import deadlines
from izin.sinks.ledger.db.connection import Ledger

_INTERVAL = 1.0

_log = get_logger(__name__)


@dataclass(slots=True)
class IysWatch:
    """Watches the calls of one process."""

    client: IysClient
    ledger: Ledger
    unreachable: Gauge
    clock: Callable[[], float]
    _since: float | None = None
    """Since when it is away, and that is logged; None: it is not."""
    _is_alarmed: bool = False
    """Whether it was logged that opt-outs are due meanwhile."""

    async def run(self) -> None:
        """Watch until cancelled; raises LedgerUnavailableError."""
        while True:
            await self.look()
            await asyncio.sleep(_INTERVAL)

    async def look(self) -> None:
        """Look once, and log a change."""
        is_away = self.client.is_unreachable
        self.unreachable.set(is_away)
        if not is_away:
            if self._since is not None:
                _log.warning("iys reachable again", seconds=round(self.clock() - self._since))
            self._since, self._is_alarmed = None, False
        elif not self._is_alarmed:
            due = await deadlines.has_opt_outs(self.ledger)
            if due or self._since is None:
                log = _log.critical if due else _log.error
                log("iys unreachable", opt_outs_due=due)
            self._is_alarmed = due
            self._since = self.clock() if self._since is None else self._since
