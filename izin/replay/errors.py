"""Why a replay cannot be planned or executed.

OurError                    (izin.consent.errors)
├── PlanMovedError          what the plan relies on has changed since (group, offsets, law)
├── LiveGroupError          processes run that the execution would work against
├── InputLostError          what was decided is neither in the topics nor in the history
├── UnfinishedDryRunError   a plan is executed whose dry run was stopped
├── ProcessEndedError       a process of a replay ended before it was done
└── LostMovementsError      an archive ends before what was anchored
SourceError                 (izin.consent.errors)
├── UnreadablePlanError     the file is no plan, or was edited
├── OtherPlanError          a dry run would overwrite another plan
├── EmptySelectionError     a selection contradicts itself
├── UnfitSelectionError     a replay cannot be made of a part like that
├── NothingToExecuteError   the plan is of a replay that changes nothing
└── UnverifiedListError     a list is not the one that the gate answered
"""

from collections.abc import Sequence
from pathlib import Path

from izin.consent.errors import OurError, SourceError

_NAMED = 3
"""So many changes are named: of many partitions each may have moved."""


class UnreadablePlanError(SourceError):
    """A file that is no plan of a replay, or one that was edited by hand."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path.name}: {why}; plan the replay again")


class NothingToExecuteError(SourceError):
    """The plan of a replay that changes nothing, so that there is nothing to execute."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path.name} has nothing to execute; izin replay show prints its result")


class UnverifiedListError(SourceError):
    """A list of recipients that is not the one of a receipt of the gate."""

    def __init__(self, path: Path, receipt_id: str, why: str) -> None:
        super().__init__(f"{path.name}, receipt {receipt_id}: {why}")


class EmptySelectionError(SourceError):
    """A selection that nothing can match."""


class PlanMovedError(OurError):
    """Something that a plan relies on has changed since it was made; nothing was executed."""

    def __init__(self, moved: Sequence[str]) -> None:
        what = "; ".join(moved[:_NAMED])
        more = f"; and {len(moved) - _NAMED} more" if len(moved) > _NAMED else ""
        super().__init__(
            f"since the plan was made: {what}{more}; plan the replay again, in another file "
            "(--plan)"
        )
        self.moved = tuple(moved)

    def __reduce__(self) -> tuple[type["PlanMovedError"], tuple[Sequence[str]]]:
        """Come from another process as it was raised there."""
        return PlanMovedError, (self.moved,)


class LiveGroupError(OurError):
    """Processes run that the execution would work against; nothing was executed."""

    def __init__(self, what: str, count: int, remedy: str) -> None:
        super().__init__(f"{count} {what} run; {remedy}, then give the command again")


class InputLostError(OurError):
    """What was decided can be read no more, so that nothing can be rebuilt from it."""


class UnfinishedDryRunError(OurError):
    """The dry run of a plan was stopped, so that nobody has seen what its execution would do."""

    def __init__(self, left: int) -> None:
        super().__init__(
            f"{left} partitions are not read yet; finish the dry run with the command that began "
            "it, then execute the plan"
        )


class OtherPlanError(SourceError):
    """The file of a dry run has the plan of another one."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path.name} has the plan of something else; name another file (--plan)")


class UnfitSelectionError(SourceError):
    """A selection of which this replay cannot be made."""

    def __init__(self, target: str, takes: str) -> None:
        super().__init__(f"{target} is rebuilt whole, or of {takes}; leave out other selections")


class ProcessEndedError(OurError):
    """A process of a replay ended before it was done; what is done stays done."""

    def __init__(self, code: int) -> None:
        super().__init__(
            f"a process of the replay ended with exit code {code}: see its output above; without "
            "any, the system has ended it, perhaps for want of memory. Give the command again, "
            "with fewer --workers: it goes on where it was"
        )


class LostMovementsError(OurError):
    """Movements were anchored that the archive does not have; nothing was restored."""

    def __init__(self, places: Sequence[tuple[int, int]]) -> None:
        shard, place = places[0]
        super().__init__(
            f"rows were recorded after the archive was written: of {len(places)} chains, such as "
            f"shard {shard} up to place {place}; use a later archive, or add --accept-loss: what "
            "the topics have is restored, and the history keeps what it lacks"
        )
