"""What may go wrong in the sinks; the type says who may act.

OurError
├── IllegalChangeError       the database refused a change that the law's table does not know
├── RecreatedTopicError      a topic is not the one whose offsets the ledger remembers
├── UnreadableAnchorError    a line of the anchor file is none of ours
├── MigrationError           the ledger's schema is not what this release needs
├── LedgerFaultError         PostgreSQL refused a statement: the code or the schema is wrong
├── ConcurrentChangeError    another process moved on first: read again, and do the step again
├── LedgerUnavailableError   PostgreSQL cannot be reached, or is restarting: time heals it
└── StreamUnavailableError   Kafka cannot be reached, or did not acknowledge: time heals it
SourceError
└── UnreadablePushError      what came to the push receiver is not İYS's list of movements
"""

from izin.consent.errors import OurError, SourceError


class IllegalChangeError(OurError):
    """The ledger refused a change of an obligation's state; nothing was changed."""


class RecreatedTopicError(OurError):
    """The topic's id or the cluster's is not the one the offsets in the ledger belong to."""

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"topic {topic} is not the one the ledger has read so far (its id or its cluster's has "
            "changed): delete its rows in kafka_offsets to read it from the beginning"
        )
        self.topic = topic


class UnreadableAnchorError(OurError):
    """The anchor file holds what no anchor is: it was damaged, or is another file."""


class MigrationError(OurError):
    """The ledger's schema is ahead of this release, or a migration was changed after it ran."""


class ConcurrentChangeError(OurError):
    """Another process changed the same rows or offsets first."""


class UnreadablePushError(SourceError):
    """A push body that is not İYS's; the message names the place and holds no value."""


class LedgerUnavailableError(OurError):
    """PostgreSQL cannot be reached, or is restarting."""


class LedgerFaultError(OurError):
    """PostgreSQL refused a statement; the message names SQLSTATE and constraint, no value."""


class StreamUnavailableError(OurError):
    """Kafka cannot be reached, or did not acknowledge in time."""
