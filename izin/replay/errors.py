"""Why a replay cannot be planned or executed; why a plan cannot be used: ``runtime.plan``.

OurError                    (izin.consent.errors)
├── LiveGroupError          processes run that the execution would work against
├── InputLostError          what was decided is neither in the topics nor in the history
├── ProcessEndedError       a process of a replay ended before it was done
└── LostHistoryError      an archive ends before what was anchored
SourceError                 (izin.consent.errors)
└── UnverifiedListError     a list is not the one that the gate answered
"""

from collections.abc import Sequence
from pathlib import Path

from izin.consent import OurError, SourceError


class UnverifiedListError(SourceError):
    """A list of recipients that is not the one of a receipt of the gate."""

    def __init__(self, path: Path, receipt_id: str, why: str) -> None:
        super().__init__(f"{path.name}, receipt {receipt_id}: {why}")


class LiveGroupError(OurError):
    """Processes run that the execution would work against; nothing was executed."""

    def __init__(self, what: str, count: int, remedy: str) -> None:
        super().__init__(f"{count} {what} run; {remedy}, then give the command again")


class InputLostError(OurError):
    """What was decided can be read no more, so that nothing can be rebuilt from it."""


class ProcessEndedError(OurError):
    """A process of a replay ended before it was done; what is done stays done."""

    def __init__(self, code: int) -> None:
        super().__init__(
            f"a process of the replay ended with exit code {code}: see its output above; without "
            "any, the system has ended it, perhaps for want of memory. Give the command again, "
            "with fewer --processes: it goes on where it was"
        )


class LostHistoryError(OurError):
    """Entries were anchored that the archive does not have; nothing was restored."""

    def __init__(self, places: Sequence[tuple[int, int]]) -> None:
        shard, place = places[0]
        super().__init__(
            f"rows were recorded after the archive was written: of {len(places)} chains, such as "
            f"shard {shard} up to place {place}; use a later archive, or add --accept-loss: what "
            "the topics have is restored, and the history keeps what it lacks"
        )
