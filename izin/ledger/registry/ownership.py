"""Whose a row is: its brand's customer, whatever customer its event names.

A Kafka record carries no principal, so the customer that an event names proves nothing, and the
order stage does not judge it: a replay, after a brand has moved, would decide otherwise. Here an
opt-in (ONAY) that names another customer than its brand's is parked for a person. An opt-out (RET)
takes effect, and one that is still due to İYS stays due: such an opt-in does not undo it. The
records of a brand belong to its customer also after it has moved to another.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from izin.consent import OPEN, WAITING, Action, State, Status
from izin.ledger.db import Ledger, statements
from izin.ledger.record import Brand, ConsentRow, ruling
from izin.runtime.logs import get_logger

_DUE = frozenset({*WAITING, *OPEN, State.PARKED})
_PAGE = 5000
"""Keys of all brands in one transaction, of which those of the brand are changed."""
_SQL = statements("ownership")
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherCustomerOptIn:
    """An opt-in of a brand that names another customer than the brand's."""

    brand_code: int
    customer_id: str
    """Whom its event names."""


Report = Callable[[OtherCustomerOptIn], None]


def owned(row: ConsentRow, brand: Brand | None) -> ConsentRow:
    """Return ``row`` as its brand's customer has it; without a brand it stays as it is."""
    if brand is None or row.customer_id == brand.customer_id:
        return row
    return row.replace(customer_id=brand.customer_id)


def is_of_another(row: ConsentRow, brand: Brand | None) -> bool:
    """Whether ``row`` desires an opt-in of ours that names another customer than its brand's."""
    return (
        brand is not None
        and row.customer_id != brand.customer_id
        and row.is_ours
        and row.desired_status == Status.ONAY
    )


def received(
    before: ConsentRow | None, after: ConsentRow, brand: Brand | None, report: Report
) -> ConsentRow:
    """Return ``after``, which an event made of ``before``, as its brand's customer has it.

    An opt-in that names another customer is reported; it is parked, or leaves the opt-out that is
    still due. ``after`` has the customer that its desired event names.
    """
    if brand is None or after.customer_id == brand.customer_id:
        return after
    is_known = before is not None and before.is_of(after.desired_event_id, after.desired_status)
    if is_known or not is_of_another(after, brand):
        return owned(after, brand)
    report(OtherCustomerOptIn(brand_code=brand.brand_code, customer_id=after.customer_id))
    if (
        before is not None
        and before.desired_status == Status.RET
        and (before.state in _DUE or before.action is not Action.NOTHING)
    ):
        return owned(before, brand).replace(
            latest_onay_at=after.latest_onay_at, latest_ret_at=after.latest_ret_at
        )
    return ruling.park(owned(after, brand), ruling.OTHER_CUSTOMER, None)


async def was_unknown(ledger: Ledger, brand_code: int) -> bool:
    """Whether events named the brand before it was registered."""
    return bool(await ledger.fetch(_SQL["was-unknown"], {"brand_code": brand_code}))


async def adopt(ledger: Ledger, brand: Brand) -> int:
    """Give everything of ``brand`` that is of another customer to its own; return how many records.

    It reads every key of the ledger, page by page, each in a transaction of its own: repeated after
    a failure, it goes on. What submissions and history have of the time before stays as it was.
    """
    values = {"brand_code": brand.brand_code, "customer_id": brand.customer_id}
    await ledger.fetch(_SQL["adopt-suspensions"], values)
    after, adopted = "", 0
    while True:
        (page,) = await ledger.fetch(_SQL["adopt-page"], {**values, "after": after, "size": _PAGE})
        if page["last"] is None:
            return adopted
        after, adopted = page["last"], adopted + page["adopted"]


def alert(found: Iterable[OtherCustomerOptIn]) -> None:
    """Alert of opt-ins that name another customer than their brand's, a line a brand."""
    for one, count in Counter(found).items():
        _log.critical(
            "opt-ins of another customer",
            brand=one.brand_code,
            named=one.customer_id,
            records=count,
            effect="parked, not sent to İYS; opt-outs take effect",
            remedy="izin brands parked; correct the customer at the source that publishes them",
        )
