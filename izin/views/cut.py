"""Whose data somebody sees, what of it is not there yet, and the record of who looked at whom.

Each look of a person at people is in the history, like an act, with its actor. Whom it shows is a
keyed digest, for a look at somebody of whom nothing is known must not keep that recipient for ten
years. Without a secret for it (IZIN_SUPPRESSION_SECRETS) the look is recorded, and not at whom.

What is due and what is known is read from the ledger, which a sink worker fills from Kafka. So that
an opt-out that waits there is not taken for one that never came, it is said where none is read.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from izin.ledger import reads
from izin.ledger.brands import brands_of
from izin.ledger.db import Ledger
from izin.ledger.history import EVERYBODY, NO_CUSTOMER, brand_key, looks, people_keys
from izin.ledger.history.append import append
from izin.ledger.history.reports import read_until
from izin.schemas.erasure import SuppressionKeys
from izin.views.sentences import Sentence, sentence

Owner = int | str | Collection[str] | None
"""Whose something is: a brand's code, a customer's id, several of them, or nobody's."""
_BEHIND = timedelta(minutes=1)
"""For so long it may be behind: many records are read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A look at people, by a command or a screen; of whom nothing is said, it is at everybody."""

    command: str
    by: str
    people: Collection[str] = ()
    """The recipients (normalised) or canonical keys that were asked for."""
    brand: int | None = None
    """The brand whose recipients are shown."""
    customer: str | None = None
    """The customer to which it is cut."""


async def record_look(ledger: Ledger, look: Look, digests: SuppressionKeys) -> None:
    """Write a look at people to the history, once for each whom it names.

    Raises:
        IzinError: the ledger takes no writes (a standby, a full disk).
    """
    now = datetime.now(UTC)
    keys = [EVERYBODY if look.brand is None else brand_key(look.brand)]
    if look.people:
        keys = people_keys(look.people, digests)
    entries = looks(
        keys, look.command, by=look.by, now=now, customer_id=look.customer or NO_CUSTOMER
    )
    async with ledger.transaction() as connection:
        await append(connection, entries, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerCut:
    """One customer with its brands, or everybody."""

    customer_id: str | None
    brand_codes: frozenset[int]

    def has(self, owner: Owner) -> bool:
        """Return whether what ``owner`` names is of the customer; everything is of everybody."""
        match owner:
            case _ if self.customer_id is None:
                return True
            case None:
                return False
            case int():
                return owner in self.brand_codes
            case str():
                return owner == self.customer_id
            case _:
                return self.customer_id in owner


async def cut_to(
    ledger: Ledger, customer: str | None, only: Collection[int] | None = None
) -> CustomerCut:
    """Return the cut to ``customer``, None: everybody; to ``only`` those of its brands, where any
    are named.

    Raises:
        UnknownCustomerError: it is not registered.
        OtherBrandsError: one of ``only`` is not its brand.
    """
    if customer is None:
        return CustomerCut(customer_id=None, brand_codes=frozenset())
    found = await brands_of(ledger, customer, only or ())
    return CustomerCut(customer_id=customer, brand_codes=frozenset(found))


async def unread(ledger: Ledger, now: datetime) -> Sentence | None:
    """Return what keeps the ledger from having all that was published; None: nothing does."""
    if not await reads.living(ledger):
        return sentence("No sink worker runs: nothing is read from Kafka or submitted to İYS.")
    until = await read_until(ledger)
    if until is None or now - until <= _BEHIND:
        return None
    return sentence("What was published after %(at)s has not been read yet.", at=until)
