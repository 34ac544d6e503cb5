"""``python -m benchmarks.sink.worker_process``: a sink's outbound loops alone, until SIGTERM.

The other parts of the worker (ingest, topics, pull) are left out: the loops submit and settle what
is due in the ledger, with the account and address of the environment.
"""

import asyncio
import secrets
import signal

import uvloop

from izin.iys.client import IysClient
from izin.iys.rate_limit import Pace
from izin.iys.tokens import TokenAuth
from izin.ledger import submissions
from izin.ledger.access_tokens import LedgerTokenStore
from izin.ledger.db import Ledger, Notifications, live
from izin.ledger.rate_limits import LedgerPacer
from izin.ledger.record import LeaseOwner, TopicMessages
from izin.runtime.logs import configure
from izin.runtime.process import tune_gc_for_batches
from izin.runtime.settings import IysSettings, LedgerSettings, LogSettings, SinkSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.sinks.monitor.metrics import Metrics
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.loops import keep_running, outbound_loops


async def main() -> None:
    """Submit and settle until SIGTERM."""
    iys, sink = IysSettings(), SinkSettings()
    stopping, alive, notifications, metrics = (
        asyncio.Event(),
        asyncio.Event(),
        Notifications(),
        Metrics(),
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with Ledger(LedgerSettings(), owner=secrets.randbelow(2**31 - 1) + 1) as ledger:
        pacer = LedgerPacer(ledger, Pace(rate=iys.requests_per_second), address=iys.egress_address)
        await pacer.begin()
        store = LedgerTokenStore(ledger=ledger, account=iys.username, address=iys.egress_address)
        async with IysClient(iys, auth=TokenAuth(iys, store), pacer=pacer) as client:
            context = OutboundContext(
                ledger=ledger,
                client=client,
                topic_messages=TopicMessages(Codec(), Topics()),
                clock=ledger.clock.now,
                pacer=pacer,
                lease_owner=LeaseOwner(
                    owner=ledger.owner,
                    lease=sink.lease,
                    call_within=iys.timeout,
                    account=iys.username,
                    address=iys.egress_address,
                ),
                result_delay=iys.result_delay,
                unforeseen=lambda code: metrics.unforeseen.labels(code).inc(),
            )
            beside = [
                asyncio.create_task(keep_running("live", lambda: live(ledger, alive))),
                asyncio.create_task(keep_running("listen", lambda: notifications.listen(ledger))),
            ]
            await alive.wait()
            loops = [
                asyncio.create_task(loop, name=name)
                for name, loop in outbound_loops(context, sink, notifications, stopping)
            ]
            await asyncio.gather(*loops)
            await pacer.flush()
            for task in beside:
                task.cancel()
            async with ledger.transaction() as connection:
                await submissions.release(connection, owner=ledger.owner, now=ledger.clock.now())


if __name__ == "__main__":
    configure(LogSettings())
    tune_gc_for_batches()
    uvloop.run(main())
