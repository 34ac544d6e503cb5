"""The errors of the sinks; the type says who can act.

OurError
├── IllegalChangeError       the database refused a transition that the lifecycle does not have
├── RecreatedTopicError      a topic is not the one whose offsets the ledger has
├── UnreadableAnchorError    a line of the anchor file is not an anchor
├── MigrationError           the ledger's schema does not fit this release, or could not be migrated
├── LedgerFaultError         PostgreSQL refused a statement: the code or the schema is wrong
├── ConcurrentChangeError    another process was first: read again and repeat the step
├── FencedError              another process has taken over the work of this one: start over
├── LedgerUnavailableError   PostgreSQL cannot be reached, or is restarting: retry later
└── StreamUnavailableError   Kafka cannot be reached, or did not acknowledge: retry later
SourceError
└── UnreadablePushError      a push body is not İYS's list of movements
"""

from izin.consent.errors import OurError, SourceError


class IllegalChangeError(OurError):
    """The ledger refused a change of an obligation's state; nothing was changed."""


class RecreatedTopicError(OurError):
    """The offsets in the ledger belong to another topic id or cluster id."""

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"topic {topic} is not the one that the ledger has read so far (its id or the "
            "cluster's has changed): delete its rows in kafka_offsets to read it from the beginning"
        )
        self.topic = topic


class UnreadableAnchorError(OurError):
    """A line of the anchor file is not an anchor: it was damaged, or is another file."""


class MigrationError(OurError):
    """The ledger's schema is ahead of this release, a migration was changed after it ran, or one
    did not get its locks.
    """


class ConcurrentChangeError(OurError):
    """Another process changed the same rows or offsets first."""


class FencedError(OurError):
    """Another process has taken over the lease of this work; nothing was written."""

    def __init__(self, work: str) -> None:
        super().__init__(f"another process has taken over the work {work!r}")


class UnreadablePushError(SourceError):
    """A push body that is not İYS's; the message names the place and contains no value."""


class LedgerUnavailableError(OurError):
    """PostgreSQL cannot be reached, or is restarting."""


class LedgerFaultError(OurError):
    """PostgreSQL refused a statement; the message has SQLSTATE and constraint, no value."""


class StreamUnavailableError(OurError):
    """Kafka cannot be reached, or did not acknowledge in time."""
