"""The errors of the sinks; the type says who can act.

OurError
├── IllegalChangeError       the database refused a transition that the lifecycle does not have
├── RecreatedTopicError      a topic is not the one whose offsets the ledger has
├── BootstrapHeldError       too much of the state cannot be stored: a person must look
├── UnreadableAnchorError    a line of the anchor file is not an anchor
├── UnreadableArchiveError   a file of an archive of the history is gone, damaged or changed
├── UnknownSuppressionError  a key was erased under a secret that this process does not have
├── UndecryptableSecretError a secret whose key this process does not have, or of another row
├── FullLedgerError          a ledger that is not empty cannot be restored
├── BrokenHistoryError       a row of the history does not continue its chain
├── MigrationError           the ledger's schema does not fit this release, or could not be migrated
├── LedgerFaultError         PostgreSQL refused a statement: the code or the schema is wrong
│   └── RefusedValueError    PostgreSQL refused a value: the record that has it is poison
├── ConcurrentChangeError    another process was first: read again and repeat the step
├── FencedError              another process has taken over the work of this one: start over
├── LedgerUnavailableError   PostgreSQL cannot be reached, or is restarting: retry later
└── StreamUnavailableError   Kafka cannot be reached, or did not acknowledge: retry later
SourceError
├── UnknownCustomerError     a customer that is not registered
├── OffboardedCustomerError  a customer for which nothing more is done
├── CompanyNumberError       a MERSİS number or VKN that cannot be right
├── NationalIdError          the number of a natural person, which is never stored
├── UnregisteredBrandError   a brand that is not registered
├── BrandOfAnotherError      a brand that another customer has
├── DecidedSuspensionError   what is held back was decided about otherwise
├── UnknownComplaintError    no complaint of this number
├── ClosedComplaintError     a complaint that is closed
├── ForeignBrandError        brands that belong to none of a key's customers
├── TakenNameError           an API key of this name exists
├── UnknownKeyError          no API key of this name or id is left
├── UnknownAccountError      no account of the console has this name, or it is disabled
└── EndedKeyError            an API key that has expired cannot be replaced
"""

from collections.abc import Sequence
from datetime import datetime

from izin.consent import OurError, SourceError


class IllegalChangeError(OurError):
    """The ledger refused a change of an obligation's state; nothing was changed."""


class RecreatedTopicError(OurError):
    """The offsets in the ledger belong to another topic id, or to another cluster."""

    def __init__(self, topic: str, *, cluster_id: str, is_other_cluster: bool) -> None:
        where = f"stands in another cluster ({cluster_id})" if is_other_cluster else "is another"
        super().__init__(
            f"topic {topic} {where} than the one that the ledger has read so far; check "
            "KAFKA_BOOTSTRAP_SERVERS and IZIN_TOPIC_PREFIX, for what another installation decided "
            "must not come in; where Kafka was moved for good with its topics, set cluster_id of "
            f"this topic's rows in kafka_offsets to {cluster_id}, and the ledger is restored from "
            "this cluster; where it was lost, see in docs/replaying.md: Kafka is lost"
        )
        self.is_other_cluster = is_other_cluster


class BootstrapHeldError(OurError):
    """Too many records of the topic of desired consents cannot be stored."""

    def __init__(self, partition: int, error: str) -> None:
        super().__init__(
            f"too much of partition {partition} of desired-consents cannot be stored ({error}); if "
            "the last deploy is at fault, take it back; if the records are, set "
            "IZIN_DEAD_LETTER_SHARE higher (1: no bound); then start again"
        )


class UnreadableAnchorError(OurError):
    """A line of the anchor file is not an anchor: it was damaged, or is another file."""


class UnreadableArchiveError(OurError):
    """A file of an archive of the history is gone, was changed, or is of another release."""


class UnknownSuppressionError(OurError):
    """A key was erased under a secret that this process does not have; nothing was restored."""

    def __init__(self, partition: int, offset: int) -> None:
        super().__init__(
            f"desired-consents[{partition}] at {offset} says that a key was erased, under a secret "
            "that IZIN_SUPPRESSION_SECRETS does not have; add it, as the order workers have it, "
            "or erased persons would come back"
        )


class UndecryptableSecretError(OurError):
    """A secret of the ledger whose key this process does not have, or that is of another row."""


class FullLedgerError(OurError):
    """A ledger that is not empty cannot be restored; nothing was changed."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the ledger is not empty: it has {what}; a ledger is restored to an empty database "
            "(izin doctor --fix makes its tables)"
        )


class BrokenHistoryError(OurError):
    """A row of the history does not continue its chain: it is neither archived nor loaded."""

    def __init__(self, shard: int, place: int) -> None:
        super().__init__(
            f"the history is broken at shard {shard}, place {place}: the row was changed, moved or "
            "removed; izin ledger verify names every such row"
        )


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


class UnknownCustomerError(SourceError):
    """A customer that is not registered."""

    def __init__(self, customer_id: str) -> None:
        super().__init__(
            f"customer {customer_id} is not registered; correct it, or register the customer: "
            f"izin customers add {customer_id} --name …"
        )


class OffboardedCustomerError(SourceError):
    """A customer for which nothing more is done; nothing was changed."""

    def __init__(self, customer_id: str, offboarded_at: datetime) -> None:
        super().__init__(
            f"customer {customer_id} was offboarded on {offboarded_at:%Y-%m-%d}, and nothing is "
            "registered for it any more; name another customer, or register it under another id: "
            "izin customers add ID --name …"
        )


class CompanyNumberError(SourceError):
    """A MERSİS number or VKN that cannot be right; nothing was stored."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} cannot be right: {why}; look it up in the company's documents")


class NationalIdError(SourceError):
    """The number of a natural person (T.C. kimlik numarası), which is never stored."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} has a T.C. kimlik numarası, which is never stored: leave it out, and register "
            "a natural person by its VKN (10 digits)"
        )


class UnregisteredBrandError(SourceError):
    """A brand that is not registered."""

    def __init__(self, brand_code: int) -> None:
        super().__init__(f"brand {brand_code} is not registered; see: izin brands add --help")


class DecidedSuspensionError(SourceError):
    """The opt-outs that are held back were decided about otherwise."""

    def __init__(self, source: str, decision: str) -> None:
        super().__init__(
            f"the opt-outs of {source} are {decision} already; an order that was cut off is given "
            "again as it was: izin held-back list"
        )


class UnknownComplaintError(SourceError):
    """No complaint of this number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"there is no complaint {number}; see: izin complaints list --closed")


class ClosedComplaintError(SourceError):
    """A complaint that is closed."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"complaint {number} is closed; see: izin complaints show {number}. What comes after "
            "is entered as another"
        )


class BrandOfAnotherError(SourceError):
    """A brand has another customer than the one that is named."""

    def __init__(self, brand_code: int) -> None:
        super().__init__(
            f"brand {brand_code} is another customer's: check the code; where it moves, name that "
            "customer with --from"
        )


class ForeignBrandError(SourceError):
    """Brands that belong to none of the customers of an API key."""

    def __init__(self, brands: Sequence[int], customers: Sequence[str]) -> None:
        super().__init__(
            f"brand {', '.join(map(str, brands))} does not belong to {', '.join(customers)}; see "
            "izin brands list, and name a brand of the customers"
        )


class TakenNameError(SourceError):
    """An API key of this name is neither revoked nor replaced."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"a key {name} exists; choose another name, or: izin keys rotate {name} (a new secret),"
            f" izin keys revoke {name} (frees the name)"
        )


class UnknownKeyError(SourceError):
    """No API key of this name or id is left."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no valid key {name}; see: izin keys list")


class EndedKeyError(SourceError):
    """An API key that has expired."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"key {name} has expired; revoke it, and create another: izin keys revoke {name}, "
            "izin keys create"
        )


class LedgerUnavailableError(OurError):
    """PostgreSQL cannot be reached, or is restarting."""


class LedgerFaultError(OurError):
    """PostgreSQL refused a statement; the message has SQLSTATE and constraint, no value."""


class RefusedValueError(LedgerFaultError):
    """PostgreSQL refused a value of a statement: another value would have been taken."""


class StreamUnavailableError(OurError):
    """Kafka cannot be reached, or did not acknowledge in time."""


class UnknownAccountError(SourceError):
    """No account of the console has this name, or it is disabled; nothing was changed."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is no account {name}, or it is disabled; see: izin accounts list, or add it: "
            f"izin accounts save {name} --role …"
        )
