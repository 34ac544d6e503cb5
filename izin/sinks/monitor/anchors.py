"""Anchor the heads of the history's hash chains outside the ledger: in a topic and in a file.

An anchor is written to the ledger and its outbox in one transaction. Then the anchors that the file
lacks are appended to it, so that neither a crash nor a change of machine loses one. Whoever can
change the ledger should not be able to change both copies.

A chain that grows fast is anchored sooner: an archive of evidence has 32 bytes for each row between
one of its own and the next anchor.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from izin.runtime.observe import get_logger
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.leases import sole
from izin.sinks.ledger.history import verify
from izin.sinks.ledger.unit_of_work import append_messages
from izin.sinks.monitor.anchor_witnesses import AnchorWitnesses, WitnessError, append_lines
from izin.sinks.record.messages import TopicMessages

MOST_ROWS = 5_000
"""So many rows of one chain are anchored before the interval ends."""
_LOOKS = timedelta(seconds=0.5)
"""How often the growth of the chains is looked at meanwhile."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorWriter:
    """Anchors the chains every ``interval``, in one process at a time."""

    ledger: Ledger
    topic_messages: TopicMessages
    file: Path | None
    clock: Callable[[], datetime]
    interval: timedelta
    witnesses: AnchorWitnesses | None = None

    async def run(self) -> None:
        """Anchor until cancelled."""
        async with sole(self.ledger, "anchor") as ledger:
            owner, due = replace(self, ledger=ledger), self.clock()
            while True:
                await owner.anchor()
                if (now := self.clock()) >= due:
                    await owner.witness(now)
                    due = now + self.interval
                await owner.wait()

    async def witness(self, now: datetime) -> None:
        """Have others see what is in the file; what they do not take is tried again."""
        if self.file is None or self.witnesses is None or not self.file.exists():
            return
        try:
            await self.witnesses.reach(self.file, now)
        except WitnessError as error:
            _log.error("anchors did not leave the host", error=str(error))  # whose fault it is

    async def wait(self) -> None:
        """Wait for the interval, or until a chain has grown by ``MOST_ROWS``."""
        left = self.interval
        while left > timedelta(0):
            rest = min(left, _LOOKS)
            await asyncio.sleep(rest.total_seconds())
            left -= rest
            if await verify.growth(self.ledger) >= MOST_ROWS:
                return

    async def anchor(self) -> int:
        """Anchor the chains that have grown; return their number."""
        now = self.clock()
        async with self.ledger.transaction() as connection:
            made = await verify.anchor(connection, now=now)
            if made:
                messages = [self.topic_messages.anchor(one) for one in made]
                await append_messages(connection, messages, now)
        if self.file is not None:
            await self._file(self.file)
        return len(made)

    async def _file(self, path: Path) -> None:
        known = await asyncio.to_thread(_known, path)
        missing = await verify.anchors_after(self.ledger, known)
        if missing:
            lines = [one.to_line() for one in missing]
            await asyncio.to_thread(append_lines, path, lines)
            _log.info("history anchored", anchors=len(missing), last=missing[-1].id)


def _known(path: Path) -> int:
    """Return the id of the last anchor in the file; 0 if there is none."""
    if not path.exists():
        return 0
    return max((one.id for one in verify.read_anchors(path)), default=0)
