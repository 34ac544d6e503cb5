"""What is known of the keys of a book: by the ledger, and by İYS where it is asked.

İYS's multiple query names the recipients at ONAY and nothing else: of the others it does not say
whether they opted out or were never registered (reference 2.5). The ledger knows opt-outs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

from izin.consent.model import Channel, RecipientType
from izin.consent.next_action import Registered
from izin.iys.client import MAX_ITEMS, IysClient
from izin.iys.errors import RefusedError
from izin.iys.wire_format.json_reader import lower_case_email
from izin.onboarding.address_book import AddressBook, BookKey, StoredKey
from izin.reconcile.asking import patiently
from izin.sinks.inbound.sweep.budget import RequestBudget
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.outbound.queries.refused_query import parts
from izin.sinks.record.brand import Brand

_SQL = statements("onboarding")
_PAGE = 5000

OnProgress = Callable[[int, int], None]
"""Called with how many are done, and how many there are."""


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
    """Asks İYS which opt-ins of a book it holds, within the share of requests for that."""

    client: IysClient
    budget: RequestBudget
    on_progress: OnProgress = lambda _done, _all: None

    async def __call__(self, book: AddressBook, brands: Mapping[int, Brand]) -> int:
        """Note what İYS says; return how many recipients it refuses to look up.

        Raises:
            IysSilentError: İYS does not answer, or does not let us ask.
        """
        groups = book.groups_to_ask()
        total, done, refused = sum(one["keys"] for one in groups), 0, 0
        for group in groups:
            names = {name: group[name] for name in ("brand_code", "channel", "recipient_type")}
            for page in book.consents_of(names, MAX_ITEMS):
                refused += await self._page(book, brands[group["brand_code"]], page)
                done += len(page)
                self.on_progress(done, total)
        return refused

    async def _page(self, book: AddressBook, brand: Brand, page: Sequence[BookKey]) -> int:
        """Ask about a page, in parts where İYS refuses one; return how many it refuses alone."""
        waiting, refused = [page], 0
        while waiting:
            part = waiting.pop()
            try:
                found = await patiently(partial(self._approved, brand, part))
            except RefusedError as error:
                if len(part) > 1:
                    waiting += parts(part, error)
                else:
                    refused += 1
                continue
            book.note_iys(
                (
                    Registered.ONAY
                    if lower_case_email(one.recipient) in found
                    else Registered.NOT_ONAY,
                    one.number,
                )
                for one in part
            )
        return refused

    async def _approved(self, brand: Brand, part: Sequence[BookKey]) -> frozenset[str]:
        await self.budget.turn()
        return await self.client.statuses(
            brand.path,
            Channel(part[0].channel),
            RecipientType(part[0].recipient_type),
            [one.recipient for one in part],
        )
