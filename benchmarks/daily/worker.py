"""``python -m benchmarks.daily.worker``: one look at the daily files, in a process of its own.

The settings are in the environment. Prints what it took as JSON.
"""

import json
import os
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, time as time_of_day, timedelta

import uvloop

from benchmarks.daily.day import BRAND, yesterday
from benchmarks.process_usage import cpu_seconds, peak_megabytes
from izin.iys.client import IysClient
from izin.iys.rate_limit import Pace
from izin.iys.tokens import TokenAuth
from izin.ledger.daily import files
from izin.ledger.db import Ledger
from izin.ledger.rate_limits import LedgerPacer
from izin.ledger.record import LeaseOwner, Message, TopicMessages
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.sinks.inbound.daily.loop import DailyFiles
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.publish.publisher import Publisher
from tests.support.iys import InMemoryTokenStore

_MINUTE = timedelta(minutes=1)


class _Unused(Publisher):
    """A publisher of nothing, without a broker: every line is known."""

    def __init__(self) -> None:
        """Connect to nothing."""

    async def publish(self, messages: Iterable[Message]) -> None:
        """Refuse messages."""
        if any(True for _ in messages):
            raise RuntimeError("a line of the file is not in the history")


async def look() -> dict[str, object]:
    """Do what is due, and return what it took."""
    iys = IysSettings()
    async with Ledger(LedgerSettings(), owner=1) as ledger:
        pacer = LedgerPacer(ledger, Pace(rate=iys.requests_per_second), address="bench")
        await pacer.begin()
        auth = TokenAuth(iys, InMemoryTokenStore())
        async with IysClient(iys, auth=auth, pacer=pacer) as client:
            context = OutboundContext(
                ledger=ledger,
                client=client,
                topic_messages=TopicMessages(Codec(), KafkaSettings().topics),
                clock=lambda: datetime.now(UTC),
                pacer=pacer,
                lease_owner=LeaseOwner(owner=ledger.owner, lease=_MINUTE, call_within=_MINUTE / 4),
                result_delay=_MINUTE,
                unforeseen=lambda _code: None,
            )
            daily = DailyFiles(
                context=context,
                publisher=_Unused(),
                available_from=time_of_day(),
                empty_date="",
            )
            began = time.perf_counter()
            await daily.look()
            seconds = time.perf_counter() - began
        file = await files.one(ledger, BRAND, yesterday())
    if file is None:
        raise RuntimeError("the day was not noted")
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds(os.getpid()),
        "peak_megabytes": peak_megabytes(os.getpid()),
        "lines": file.lines,
        "is_equal": file.is_equal,
        "timestamp": str(file.timestamp_state),
    }


def main() -> None:
    """Look once."""
    json.dump(uvloop.run(look()), sys.stdout)


if __name__ == "__main__":
    main()
