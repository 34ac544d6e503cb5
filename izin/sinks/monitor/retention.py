"""Delete what the ledger has kept for as long as its tables state, and carry out erasures."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from izin.runtime.observe import get_logger
from izin.sinks.ledger import table_retention
from izin.sinks.ledger.db import Ledger, repeat
from izin.sinks.ledger.privacy import erasure
from izin.sinks.record.messages import TopicMessages

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionEnforcer:
    """Deletes expired rows every ``interval``, in one process at a time."""

    ledger: Ledger
    clock: Callable[[], datetime]
    interval: timedelta

    async def run(self) -> None:
        """Delete until cancelled."""
        await repeat(
            self.ledger,
            "retention",
            self.interval,
            lambda ledger: replace(self, ledger=ledger).enforce(),
        )

    async def enforce(self) -> None:
        """Delete once what has expired."""
        deleted = await table_retention.delete_expired(self.ledger, now=self.clock())
        if any(deleted.values()):
            _log.info("expired rows deleted", **deleted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Eraser:
    """Looks for what can be erased every ``interval``, in one process at a time."""

    ledger: Ledger
    topic_messages: TopicMessages
    clock: Callable[[], datetime]
    interval: timedelta

    async def run(self) -> None:
        """Erase until cancelled."""
        await repeat(
            self.ledger,
            "erasures",
            self.interval,
            lambda ledger: replace(self, ledger=ledger).erase(),
        )

    async def erase(self) -> None:
        """Erase once what can be."""
        now = self.clock()
        keys = await erasure.remove(self.ledger, self.topic_messages, now=now)
        rows = await erasure.erase_history(self.ledger, now=now)
        if keys or rows:
            _log.info("erased", count=keys, history=rows)
