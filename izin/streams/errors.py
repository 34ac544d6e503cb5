"""What stops the order stage: faults of this installation, for a source's become dead letters.

OurError
├── SkippedRecordsError   records between two batches were not seen: stop, and read again
├── LostPartitionError    a partition could not be acquired or kept: another worker acquires it too
├── SplitLanesError       both lanes of a partition number must belong to one worker
├── StateError            the state, or the topic it is read from, cannot be used
└── DeadLetterBudgetError too many records are about to become dead letters
"""

from izin.consent.errors import OurError


class SkippedRecordsError(OurError):
    """A batch begins behind the place where the last one ended."""

    def __init__(self, topic: str, partition: int, expected: int, found: int) -> None:
        super().__init__(
            f"{topic}[{partition}]: expected offset {expected}, got a batch from {found}; "
            "the worker stops and reads again from its committed offsets"
        )


class LostPartitionError(OurError):
    """A partition could not be acquired or kept in a bounded number of attempts."""

    def __init__(self, partition: int, attempts: int) -> None:
        super().__init__(
            f"partition {partition} was lost {attempts} times in a row; "
            "is another installation running with the same IZIN_APP_ID?"
        )


class SplitLanesError(OurError):
    """The assignment gave one lane of a partition number to this worker and the other away."""

    def __init__(self, bulk: frozenset[int], express: frozenset[int]) -> None:
        super().__init__(
            f"the lanes are split: {sorted(bulk ^ express)} in one lane only; "
            "do all workers run the same release, and have both topics the same partition count?"
        )


class DeadLetterBudgetError(OurError):
    """More records than the budget allows would become dead letters; nothing was committed."""

    def __init__(self, topic: str, partition: int, suspects: int, records: int) -> None:
        super().__init__(
            f"{topic}[{partition}]: {suspects} of the latest {records} records would become dead "
            "letters; nothing of this batch was committed. If the last deploy is at fault, take it "
            "back; if the records are, set IZIN_DEAD_LETTER_SHARE higher (1: no bound) and start"
        )


class StateError(OurError):
    """The state, or the topic that it is read from, has what this release cannot use."""
