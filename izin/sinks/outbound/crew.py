"""The loops of one process that tell İYS and ask it, several of a kind where calls may overlap.

Each works alone: what keeps them, and other processes' loops, from taking up the same is in the
ledger.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator

from izin.runtime.settings import IysSettings, SinkSettings
from izin.sinks.ledger.db import notifications as ring
from izin.sinks.ledger.db.notifications import Bells
from izin.sinks.outbound.batch_results import Settler
from izin.sinks.outbound.context import Tools
from izin.sinks.outbound.lease_renewal import SHARE
from izin.sinks.outbound.loops import every, lane
from izin.sinks.outbound.recover import Recoverer
from izin.sinks.outbound.schedule import Submitter
from izin.sinks.outbound.send import Teller
from izin.sinks.outbound.status_query import Asker

_OPT_OUT_LANES = 6
_BULK_LANES = 3
_RESULT_LANES = 2


def crew(
    tools: Tools,
    iys: IysSettings,
    sink: SinkSettings,
    bells: Bells,
    stopping: asyncio.Event,
) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
    """Yield the loops, each with its name; they end once ``stopping`` is set."""
    teller = Teller(tools=tools, result_delay=iys.result_delay)
    asker = Asker(tools=tools)
    submitter = Submitter(tools=tools, teller=teller, asker=asker, batch_size=sink.batch_size)
    settler = Settler(tools=tools, result_delay=iys.result_delay)
    recoverer = Recoverer(tools=tools, teller=teller, result_delay=iys.result_delay)
    interval = sink.poll_interval

    def rung(
        name: str, step: Callable[[], Awaitable[bool]], bell: str
    ) -> Coroutine[None, None, None]:
        return lane(name, step, bells=bells, bell=bell, interval=interval, stopping=stopping)

    async def renew() -> bool:
        await tools.leases.renew(tools.ledger, tools.holder, tools.clock())
        return False

    yield "leases", every("leases", renew, interval=sink.lease / SHARE, stopping=stopping)
    for number in range(_OPT_OUT_LANES):
        yield f"opt-outs {number}", rung("opt-outs", submitter.opt_out, ring.OPT_OUTS)
    for number in range(_BULK_LANES):
        yield f"bulk {number}", rung("bulk", submitter.bulk, ring.BULK)
    yield "last hour", rung("last hour", submitter.last_hour, ring.BULK)
    yield "asks", rung("asks", asker.ask, ring.ASKS)
    for name, step, count in (
        ("results", settler.settle, _RESULT_LANES),
        ("recover", recoverer.recover, 1),
        ("expire", submitter.expire, 1),
    ):
        for number in range(count):
            yield f"{name} {number}", every(name, step, interval=interval, stopping=stopping)
