"""What is known of the keys of a book: by the ledger, and by İYS where it is asked.

İYS's multiple query names the recipients at ONAY and nothing else: of the others it does not say
whether they opted out or were never registered (reference 2.5). The ledger knows opt-outs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from izin.consent.next_action import Registered
from izin.iys.client import MAX_ITEMS, IysClient
from izin.onboarding.address_book import AddressBook, BookKey, StoredKey
from izin.runtime.plan import OnProgress, silent
from izin.sinks.inbound.sweep.page_query import PageQuery, SweptPage
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.sweep.cursor import SweptKey
from izin.sinks.outbound.request_budget import RequestBudget
from izin.sinks.record.brand import Brand

_SQL = statements("onboarding")
_PAGE = 5000


async def note_ledger(ledger: Ledger, book: AddressBook) -> None:
    """Note what the ledger knows of the keys of ``book``."""
    for page in book.pages(_PAGE):
        numbers = {one.key: one.number for one in page}
        rows = await ledger.fetch(_SQL["held-of"], {"keys": list(numbers)})
        book.note_ledger(
            StoredKey(
                row["registered"], row["desired_status"], row["desired_at"], numbers[row["key"]]
            )
            for row in rows
        )


def requests_to_ask(book: AddressBook) -> int:
    """Return how many requests :class:`IysQuery` makes at least."""
    return sum(ceil(group["keys"] / MAX_ITEMS) for group in book.groups_to_ask())


@dataclass(frozen=True, slots=True, kw_only=True)
class IysQuery:
    """Asks İYS which opt-ins of a book it holds, as a sweep does and within its share."""

    client: IysClient
    clock: Callable[[], datetime]
    budget: RequestBudget
    on_progress: OnProgress = silent

    async def __call__(self, book: AddressBook, brands: Mapping[int, Brand]) -> int:
        """Note what İYS says; return how many recipients it refuses to look up.

        Raises:
            CallError: İYS does not answer, or does not let us ask.
        """
        query = PageQuery(context=self, budget=self.budget)
        groups = book.groups_to_ask()
        total, done, refused = sum(one["keys"] for one in groups), 0, 0
        for group in groups:
            names = {name: group[name] for name in ("brand_code", "channel", "recipient_type")}
            for page in book.consents_of(names, MAX_ITEMS):
                numbers = {one.key: one.number for one in page}
                found = await query.query(brands[group["brand_code"]], _as_swept(page))
                book.note_iys(
                    (_registered(found, one), numbers[one.key])
                    for one in found.keys
                    if one.key not in found.refused
                )
                refused += len(found.refused)
                done += len(page)
                self.on_progress(done, total)
        return refused


def _as_swept(page: Sequence[BookKey]) -> tuple[SweptKey, ...]:
    return tuple(
        SweptKey(
            key=one.key,
            recipient=one.recipient,
            channel=one.channel,
            recipient_type=one.recipient_type,
            registered=Registered.UNKNOWN,
            registered_at=None,
            last_exchange_at=None,
        )
        for one in page
    )


def _registered(found: SweptPage, one: SweptKey) -> Registered:
    return Registered.ONAY if found.is_approved(one) else Registered.NOT_ONAY
