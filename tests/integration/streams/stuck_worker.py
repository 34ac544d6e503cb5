"""An order worker whose broker takes nothing: it decides a batch and waits for ever to commit it.

It prints how many records the transport has handed over, a line each time.
"""

import asyncio
import sys
from unittest import mock

from izin.streams.__main__ import main
from izin.streams.engine.transport import BatchConsumerThread
from izin.streams.ownership import OwnedPartition

_fetch = BatchConsumerThread._fetch_records


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


if __name__ == "__main__":
    with (
        mock.patch.object(BatchConsumerThread, "_fetch_records", fetch),
        mock.patch.object(OwnedPartition, "commit", commit),
    ):
        main()
