"""How many records our own code may fail on before the fault is taken for ours.

After a bad deploy every record of a source may look like poison, and a worker that goes on would
empty the topic into the dead letters. So among the latest records of a partition the share of
poison is bounded, source by source; beyond it the opt-ins (ONAY) of that partition wait for a
person, and its opt-outs (RET) go on.

What a source did wrong does not count: an event that is refused, too large, or marked as one that
was moved to its partition and is not there, and bytes that nobody can read. No source may
stop the opt-outs, or the opt-ins, of the others by sending rubbish.
"""

from collections import Counter, deque
from collections.abc import Mapping
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
    """Counts, batch by batch, how many of a partition's latest records are suspect, by source."""

    def __init__(self, budget: DeadLetterBudget) -> None:
        self._budget = budget
        self._batches: deque[tuple[Mapping[str, int], int]] = deque()
        self.suspects: Counter[str] = Counter()
        self.records = 0

    def exceeded_by(self, suspects: Mapping[str, int], records: int) -> str | None:
        """Return the source whose suspects a batch of ``records`` would make too many, if any."""
        for source, count in suspects.items():
            if self._budget.is_exceeded(self.suspects[source] + count, self.records + records):
                return source
        return None

    def add(self, suspects: Mapping[str, int], records: int) -> None:
        """Count a batch, and drop the oldest ones that the window does not need."""
        self._batches.append((suspects, records))
        self.suspects.update(suspects)
        self.records += records
        while self.records - self._batches[0][1] >= self._budget.window:
            old_suspects, old_records = self._batches.popleft()
            self.suspects.subtract(old_suspects)
            self.records -= old_records
