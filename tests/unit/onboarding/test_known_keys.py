"""İYS is asked about the opt-ins that nobody is known to have registered, a thousand at a time."""

from collections.abc import Iterable
from time import monotonic

import pytest

from izin.consent import Registered
from izin.iys.errors import MisconfiguredError, RefusedError
from izin.onboarding.address_book import AddressBook, IysQuery, StoredKey, requests_to_ask
from izin.sinks.inbound.sweep import PageQuery
from izin.sinks.outbound.context import RequestBudget
from tests.support.builders import EMAIL, NOON, PHONE
from tests.unit.onboarding.first_loading import ACTIVE, BRANDS, a_record, noted

REFUSED = "+905550000003"


class FakeIys:
    """An İYS that holds one consent, refuses one recipient, and may refuse to be asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[tuple[str, str, list[str]]] = []

    async def statuses(
        self,
        path: object,
        channel: object,
        _recipient_type: object,
        recipients: Iterable[str],
        *,
        call_class: object,  # noqa: ARG002  # of the real one
    ) -> frozenset[str]:
        """Return who is at ONAY."""
        self.asked.append((str(path), str(channel), list(recipients)))
        if self.error is not None:
            raise self.error
        if REFUSED in recipients:
            raise RefusedError("no recipient")
        return frozenset({PHONE, EMAIL})


def a_query(iys: FakeIys) -> IysQuery:
    """Return what asks ``iys``, without pauses."""
    budget = RequestBudget(10**6, clock=monotonic)
    query = PageQuery(client=iys, clock=lambda: NOON, budget=budget)  # type: ignore[arg-type]
    return IysQuery(query=query)


async def test_iys_is_asked_group_by_group_about_what_is_not_known():
    """Opt-outs and what the ledger knows are left out; one bad recipient harms only itself."""
    numbers = [PHONE, "+905550000002", REFUSED, "+905550000004", "+905550000005"]
    with AddressBook() as book:
        noted(
            book,
            *(a_record(event_id=one, recipient=one) for one in numbers),
            a_record(type="EPOSTA", recipient=EMAIL, brand_code=ACTIVE),
            a_record(status="RET", recipient="+905550000009"),
        )
        keys = {one.recipient: one.number for page in book.pages(10) for one in page}
        known = [(Registered.RET, keys[numbers[3]]), (Registered.ONAY, keys[numbers[4]])]
        book.note_ledger(StoredKey(str(value), None, None, number) for value, number in known)
        assert requests_to_ask(book) == 2
        iys = FakeIys()
        assert await a_query(iys)(book, BRANDS) == 1
        assert {path for path, _, _ in iys.asked} == {
            f"/sps/200001/brands/{code}" for code in BRANDS
        }
        asked = [one for _, _, recipients in iys.asked for one in recipients]
        assert set(asked) == {PHONE, "+905550000002", REFUSED, EMAIL}
        held = {
            record.key.recipient: book.holds_onay(record.key)
            for record in (a_record(), a_record(recipient="+905550000002"))
        }
        assert held == {PHONE: True, "+905550000002": False}
        assert requests_to_ask(book) == 1


async def test_iys_that_does_not_let_us_ask_is_an_error():
    """A missing right is named at once, and not asked again."""
    with AddressBook() as book:
        noted(book, a_record())
        iys = FakeIys(MisconfiguredError("no right"))
        with pytest.raises(MisconfiguredError, match="no right"):
            await a_query(iys)(book, BRANDS)
        assert len(iys.asked) == 1
