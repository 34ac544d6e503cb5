"""An order worker with something wrong about it, which is named in its environment.

``failing``: its own code fails on every event of the origin ``FAILS``. ``settled``: it has worked
for long already, so another one of its name comes second. ``unchecked``: it found its topics right,
and its brokers are gone a moment later. ``stuck``: its broker takes nothing, so it decides a batch
and waits for ever to commit it; it prints how many records the transport has handed over, a line
each time.
"""

import asyncio
import os
import sys
from contextlib import ExitStack
from typing import Any
from unittest import mock

from izin.consent import admit
from izin.streams import guard
from izin.streams.__main__ import main
from izin.streams.engine import app, watches
from izin.streams.engine.transport import BatchConsumerThread
from izin.streams.order import OrderStage
from izin.streams.ownership import OwnedPartition

FAILS = "failing"
_HOW = "IZIN_TEST_SPOILT"
_fetch = BatchConsumerThread._fetch_records


def spoilt(how: str, **environment: str) -> dict[str, Any]:
    """Return how a ``Worker`` is started that is spoilt so, with what else is set for it."""
    return {"module": __name__, "environment": {_HOW: how, **environment}}


def failing(event: guard.ConsentEvent, **keywords: object) -> object:
    """Admit `event`, unless it is marked."""
    if event.origin == FAILS:
        raise ZeroDivisionError
    return admit(event, **keywords)


async def fetch(self: BatchConsumerThread, *args: object, **kwargs: object) -> object:
    """Fetch, and report the number of records."""
    folded = await _fetch(self, *args, **kwargs)
    brought = sum(len(one.value.records) for (one,) in folded.values())
    if brought:
        sys.stdout.write(f"brought {brought}\n")
        sys.stdout.flush()
    return folded


async def commit(*_: object, **__: object) -> None:
    """Wait for ever."""
    await asyncio.Event().wait()


PATCHES = {
    "failing": (
        mock.patch.object(guard, "admit", failing),
        mock.patch.object(OrderStage, "_fold_fast", return_value=False),  # which admits elsewhere
    ),
    "settled": (mock.patch.object(watches, "SETTLED_AFTER", 0.0),),
    "unchecked": (mock.patch.object(app, "topic_faults", return_value=()),),
    "stuck": (
        mock.patch.object(BatchConsumerThread, "_fetch_records", fetch),
        mock.patch.object(OwnedPartition, "commit", commit),
    ),
}

if __name__ == "__main__":
    with ExitStack() as stack:
        for patch in PATCHES[os.environ[_HOW]]:
            stack.enter_context(patch)
        main()
