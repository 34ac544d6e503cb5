"""The records of a brand belong to the brand's customer, also after it has moved to another."""

from collections import Counter
from collections.abc import Iterable

from izin.runtime.observe import get_logger
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.registry.row_owner import OtherCustomerOptIn
from izin.sinks.record.brand import Brand

_PAGE = 5000
"""Keys of all brands in one transaction, of which those of the brand are changed."""
_SQL = statements("ownership")

_log = get_logger(__name__)


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
