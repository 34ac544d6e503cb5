"""A subscriber of opt-outs, as an SMS platform would be: it notes when each arrives."""

import asyncio
import threading
import time
from collections.abc import Mapping
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Self

from izin.runtime.kafka_environment import KafkaAccess
from izin.subscribers import ChangeKind, OptedOut, subscribe


class Subscriber:
    """Receives opt-outs from now on, in a thread of its own; a context manager."""

    def __init__(self, access: KafkaAccess) -> None:
        self._received: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._following = self._loop.create_task(self._follow(access, datetime.now(UTC)))
        self._thread = threading.Thread(target=self._run, name="subscriber", daemon=True)

    @property
    def received(self) -> Mapping[str, int]:
        """By canonical key: when its first opt-out arrived here, epoch milliseconds."""
        return dict(self._received)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._following.cancel)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._following)

    async def _follow(self, access: KafkaAccess, since: datetime) -> None:
        changes = subscribe("izin-demo", [ChangeKind.OPT_OUTS], since=since, access=access)
        async with aclosing(changes):
            async for change in changes:
                if isinstance(change, OptedOut):
                    key = str(change.key)
                    self._received.setdefault(key, time.time_ns() // 1_000_000)
                await change.done()
