"""What holds back a partition: faults of this installation, for a source's become dead letters.

OurError
├── SkippedRecordsError   a batch does not begin where the last one ended: read again
├── PositionAheadError    an input topic ends before what was decided of it
├── StateError            the state, or the topic it is read from, cannot be used
├── DeadLetterBudgetError our own code fails on too many records: opt-ins wait
└── SplitLanesError       both lanes of a partition number must belong to one worker: it stops
"""

from izin.consent import OurError


class SkippedRecordsError(OurError):
    """A batch does not begin where the last one ended."""


class PositionAheadError(OurError):
    """An input topic ends before what was decided of it."""

    def __init__(self, topic: str, partition: int, decided: int, end: int) -> None:
        super().__init__(
            f"{topic}[{partition}] ends at offset {end}, and is decided up to {decided}: a broker "
            "that lags, or an unclean leader election that lost records; the partition waits"
        )


class SplitLanesError(OurError):
    """The assignment gave one lane of a partition number to this worker and the other away."""


class DeadLetterBudgetError(OurError):
    """Our own code fails on more records of a source than the budget allows."""

    def __init__(
        self, topic: str, partition: int, source: str, suspects: int, records: int
    ) -> None:
        super().__init__(
            f"{topic}[{partition}]: {suspects} of the latest {records} records are of {source} and "
            "would become dead letters; none did. If the last deploy is at fault, take it back; if "
            "the records are, set IZIN_DEAD_LETTER_SHARE higher (1: no bound); then restart"
        )


class StateError(OurError):
    """The state, or the topic that it is read from, has what this release cannot use."""
