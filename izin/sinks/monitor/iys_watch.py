"""Whether İYS answers the calls that a process makes anyway: said when it stops, and when not.

While an opt-out is due that needs a person: its three business days go on, and it may have to be
withdrawn on İYS's own pages.
"""

import time
from collections.abc import Callable

from prometheus_client import Gauge

from izin.iys.client import IysClient
from izin.runtime.answer_watch import AnswerWatch
from izin.sinks.ledger import deadlines
from izin.sinks.ledger.db.connection import Ledger


class IysWatch(AnswerWatch):
    """Watches the calls of one process, and shows in ``unreachable`` whether none is answered."""

    def __init__(
        self,
        client: IysClient,
        ledger: Ledger,
        unreachable: Gauge,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("iys", clock)
        self._client, self._ledger, self._unreachable = client, ledger, unreachable

    async def _request(self) -> str | None:
        is_away = self._client.is_unreachable
        self._unreachable.set(is_away)
        if not is_away:
            return None
        self._is_urgent = await deadlines.has_opt_outs(self._ledger)
        return "it answers no call"
