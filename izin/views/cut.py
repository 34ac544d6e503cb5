"""Whose data somebody sees, and the record of who looked at whom.

Each look of a person at people is in the history, like an act, with its actor. Whom it shows is a
keyed digest, for a look at somebody of whom nothing is known must not keep that recipient for ten
years. Without a secret for it (IZIN_SUPPRESSION_SECRETS) the look is recorded, and not at whom.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from izin.ledger.brands import brands_of
from izin.ledger.db import Ledger
from izin.ledger.history import EVERYBODY, NO_CUSTOMER, brand_key, looks, people_keys
from izin.ledger.history.append import append
from izin.schemas.erasure import SuppressionKeys

Owner = int | str | Collection[str] | None
"""Whose something is: a brand's code, a customer's id, several of them, or nobody's."""


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
