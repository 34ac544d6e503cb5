"""What a customer has given for its application to İYS: the items of the checklist.

They are facts that somebody gave, with who noted them and when. The number of a natural person is
never stored (``registry.customers``); a signatory is noted by name.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from urllib.parse import urlsplit

from izin.consent import SourceError
from izin.ledger.brands import brands_of
from izin.ledger.db import Ledger, fetch, statements
from izin.ledger.history import customer_key, record_act
from izin.ledger.registry.customers import refuse_national_id

_SQL = statements("application_items")
_NUMBER = re.compile(r"\(?\+?[0-9](?:[ ().-]{0,2}[0-9]){2,14}")
"""What a person could dial: short numbers and those of any country are among them."""


class ApplicationItem(StrEnum):
    """An item of the checklist."""

    TRADE_MARK = "trade-mark"
    """The registration of a brand's trade mark: each brand has its own."""
    UNDERTAKING = "undertaking"
    """The undertaking on basic services, signed with an electronic signature."""
    SIGNATURE = "signature"
    """Whether the signatories sign ``alone`` or ``jointly``."""
    SIGNATORY = "signatory"
    SECOND_SIGNATORY = "second-signatory"
    AUTHORISATION = "authorisation"
    """Of the business partner, given by the customer at İYS."""
    OPT_OUT_NUMBER = "opt-out-number"
    OPT_OUT_SMS = "opt-out-sms"
    OPT_OUT_URL = "opt-out-url"


OF_BRANDS = frozenset({ApplicationItem.TRADE_MARK})
"""Items that each brand has; the others are the customer's."""
DAYS = frozenset({ApplicationItem.UNDERTAKING, ApplicationItem.AUTHORISATION})
"""Items that are noted by the day of their signature."""


class SignatureKind(StrEnum):
    """How the signatories of a customer sign."""

    ALONE = "alone"
    JOINTLY = "jointly"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenItem:
    """An item as it was given."""

    item: str
    brand_code: int
    """0: of the customer."""
    value: str
    given_by: str
    given_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """What a person gives; an empty value takes an item away.

    Raises:
        NationalIdError: the value has the number of a natural person.
        ItemFormError: it is not what the item is.
    """

    item: ApplicationItem
    brand_code: int = 0
    value: str

    def __post_init__(self) -> None:
        """Check the value."""
        refuse_national_id(self.value, f"the item {self.item}")
        is_right, what = _FORMS.get(self.item, (bool, ""))
        if self.value and not is_right(self.value):
            raise ItemFormError(self.item, what)


class ItemFormError(SourceError):
    """A value that an item cannot have."""

    def __init__(self, item: ApplicationItem, what: str) -> None:
        super().__init__(f"{item} {what}")


def _is_day(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _is_address(value: str) -> bool:
    try:
        found = urlsplit(value)
    except ValueError:
        return False
    return found.scheme in {"http", "https"} and bool(found.hostname) and " " not in value


_DAY = (_is_day, "is the day on which it was signed or given: write it as 2026-03-02")
_FORMS: Mapping[ApplicationItem, tuple[Callable[[str], object], str]] = {
    ApplicationItem.SIGNATURE: (
        frozenset(SignatureKind).__contains__,
        f"is how the signatories sign: {' or '.join(SignatureKind)}",
    ),
    **dict.fromkeys(DAYS, _DAY),
    ApplicationItem.OPT_OUT_NUMBER: (
        _NUMBER.fullmatch,
        "is a number to dial, in digits: write it as 08500000000",
    ),
    ApplicationItem.OPT_OUT_URL: (
        _is_address,
        "is the address of a page: write it as https://example.com/ret",
    ),
}
"""Whether a value is what an item is, and what to say where it is not."""


async def of_customer(ledger: Ledger, customer_id: str) -> tuple[GivenItem, ...]:
    """Return what a customer has given."""
    return tuple(
        GivenItem(**row)
        for row in await ledger.fetch(_SQL["of-customer"], {"customer_id": customer_id})
    )


async def put(
    ledger: Ledger, customer_id: str, items: Collection[NewItem], *, by: str, now: datetime
) -> int:
    """Note items, with who gave them, ``by``; return how many differ from what was noted.

    What changes nothing is no entry of the history; the entry names the items that changed,
    and no value: a signatory is a person.

    Raises:
        UnknownCustomerError: the customer is not registered.
        OtherBrandsError: a brand is not the customer's. Nothing is noted in either case.
    """
    await brands_of(ledger, customer_id, {item.brand_code for item in items} - {0})
    async with ledger.transaction() as connection:
        known = {
            (row["item"], row["brand_code"]): row["value"]
            for row in await fetch(connection, _SQL["of-customer"], {"customer_id": customer_id})
        }
        changed = [
            one for one in items if known.get((str(one.item), one.brand_code), "") != one.value
        ]
        for one in changed:
            values = {
                "customer_id": customer_id,
                "item": str(one.item),
                "brand_code": one.brand_code,
                "value": one.value,
                "by": by,
                "now": now,
            }
            await connection.execute(_SQL["put" if one.value else "remove"], values)
        if changed:
            await record_act(
                connection,
                "provide application items",
                customer_key(customer_id),
                by=by,
                now=now,
                before={},
                after={
                    "given": _names(changed, filled=True),
                    "taken": _names(changed, filled=False),
                },
                customer_id=customer_id,
            )
    return len(changed)


def _names(items: Collection[NewItem], *, filled: bool) -> list[str]:
    return sorted(
        f"{item.item}:{item.brand_code}" if item.brand_code else str(item.item)
        for item in items
        if bool(item.value) is filled
    )
