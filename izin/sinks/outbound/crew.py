"""The loops of one process that tell İYS and ask it, several of a kind where calls may overlap.

Each works alone: what keeps them, and other processes' loops, from taking up the same is in the
ledger.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator

from izin.runtime.settings import IysSettings, SinkSettings
from izin.sinks.ledger.db import notifications as ring
from izin.sinks.ledger.db.notifications import Notifications
from izin.sinks.outbound.batch_results import BatchResultPoller
from izin.sinks.outbound.context import Tools
from izin.sinks.outbound.lease_renewal import SHARE
from izin.sinks.outbound.loops import every, lane
from izin.sinks.outbound.recover import SubmissionRecovery
from izin.sinks.outbound.schedule import Scheduler
from izin.sinks.outbound.send import Sender
from izin.sinks.outbound.status_query import StatusQuerier

_OPT_OUT_LANES = 6
_BULK_LANES = 3
_RESULT_LANES = 2


def crew(
    tools: Tools,
    iys: IysSettings,
    sink: SinkSettings,
    bells: Notifications,
    stopping: asyncio.Event,
) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
    """Yield the loops, each with its name; they end once ``stopping`` is set."""
    sender = Sender(tools=tools, result_delay=iys.result_delay)
    querier = StatusQuerier(tools=tools)
    scheduler = Scheduler(tools=tools, sender=sender, querier=querier, batch_size=sink.batch_size)
    poller = BatchResultPoller(tools=tools, result_delay=iys.result_delay)
    recovery = SubmissionRecovery(tools=tools, sender=sender, result_delay=iys.result_delay)
    interval = sink.poll_interval

    def rung(
        name: str, step: Callable[[], Awaitable[bool]], bell: str
    ) -> Coroutine[None, None, None]:
        return lane(name, step, bells=bells, bell=bell, interval=interval, stopping=stopping)

    async def renew() -> bool:
        await tools.leases.renew(tools.ledger, tools.lease_owner, tools.clock())
        return False

    yield "leases", every("leases", renew, interval=sink.lease / SHARE, stopping=stopping)
    for number in range(_OPT_OUT_LANES):
        yield f"opt-outs {number}", rung("opt-outs", scheduler.opt_out, ring.OPT_OUTS)
    for number in range(_BULK_LANES):
        yield f"bulk {number}", rung("bulk", scheduler.bulk, ring.BULK)
    yield "last hour", rung("last hour", scheduler.last_hour, ring.BULK)
    yield "asks", rung("asks", querier.ask, ring.QUERIES)
    for name, step, count in (
        ("results", poller.settle, _RESULT_LANES),
        ("recover", recovery.recover, 1),
        ("expire", scheduler.expire, 1),
    ):
        for number in range(count):
            yield f"{name} {number}", every(name, step, interval=interval, stopping=stopping)
