"""How many records may become dead letters before the fault is taken for ours.

After a bad deploy every record may look like poison, and a worker that goes on would empty the
topic into the dead letters. So the share of suspect dead letters among the latest records is
bounded; beyond it the worker stops before it commits, and a person looks.

A refused opt-in (ONAY) is not suspect: it is its source's fault, and no source may stop the
opt-outs of the others by sending rubbish. Every other dead letter is suspect, an opt-out (RET) that
cannot be read above all.
"""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterBudget:
    """The policy: at most ``share`` (0 to 1) of the latest ``window`` records or a few more.

    Fewer than ``least`` suspects never exceed it; a share of 1 sets no bound.
    """

    share: float = 0.2
    window: int = 5000
    least: int = 100

    def is_exceeded(self, suspects: int, records: int) -> bool:
        """Return whether so many ``suspects`` among so many ``records`` are too many."""
        return suspects >= self.least and suspects > self.share * records


BUDGET = DeadLetterBudget()
"""The policy unless settings say otherwise."""


class LatestRecords:
    """Counts, batch by batch, how many of the latest records became suspect dead letters."""

    def __init__(self, budget: DeadLetterBudget) -> None:
        self._budget = budget
        self._batches: deque[tuple[int, int]] = deque()
        self.suspects = 0
        self.records = 0

    def would_exceed(self, suspects: int, records: int) -> bool:
        """Return whether a batch of ``records``, so many of them ``suspects``, is one too many."""
        return self._budget.is_exceeded(self.suspects + suspects, self.records + records)

    def add(self, suspects: int, records: int) -> None:
        """Count a batch, and drop the oldest ones that the window does not need."""
        self._batches.append((suspects, records))
        self.suspects += suspects
        self.records += records
        while self.records - self._batches[0][1] >= self._budget.window:
            old_suspects, old_records = self._batches.popleft()
            self.suspects -= old_suspects
            self.records -= old_records
