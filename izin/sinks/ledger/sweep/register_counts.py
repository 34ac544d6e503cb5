"""İYS's counts of a brand's consents beside ours, kept for the trend.

No method of İYS lists the keys of a brand. Where it counts more than the ledger knows, only İYS's
portal or whoever registered them can name the rest.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from izin.iys.wire_format.account import BrandSummary
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.record.lease import LeaseOwner

_SQL = statements("register_counts")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterCount:
    """What İYS counts of a brand, and what the ledger believes to be registered there."""

    brand_code: int
    counted_at: datetime
    iys_onay: int
    iys_ret: int
    onay: int
    ret: int
    unconfirmed: int
    """Keys of which is not known, or not confirmed, what İYS holds."""
    in_flight: int
    """Keys on their way to İYS when it was counted: either side may have them."""
    before_at: datetime | None
    """Of the last count that is thirty days older; None: there is none."""
    onay_before: int | None
    """The surplus then."""
    ret_before: int | None

    @property
    def onay_surplus(self) -> int:
        """How many ONAY İYS has beyond ours; below 0: we believe in more than it holds."""
        return self.iys_onay - self.onay

    @property
    def ret_surplus(self) -> int:
        """How many RET İYS has beyond ours; below 0: we believe in more than it holds."""
        return self.iys_ret - self.ret

    @property
    def differs(self) -> bool:
        """Whether the counts differ by more than what was on its way."""
        return max(abs(self.onay_surplus), abs(self.ret_surplus)) > self.in_flight


async def providers(ledger: Ledger, who: LeaseOwner, since: datetime) -> tuple[int, ...]:
    """Return the İYS codes of the providers with a brand served here that was not counted since."""
    rows = await ledger.fetch(_SQL["providers"], {**who.who, "since": since})
    return tuple(row["iys_code"] for row in rows)


async def count(ledger: Ledger, summaries: Collection[BrandSummary], *, now: datetime) -> None:
    """Keep İYS's counts of brands, and count the ledger beside them. Brands without counts, and
    those that are not registered here, are left out.
    """
    counted = [
        (one.brand_code, one.approvals, one.rejections)
        for one in summaries
        if one.approvals is not None and one.rejections is not None
    ]
    codes, onay, ret = map(list, zip(*counted, strict=True)) if counted else ([], [], [])
    values = {"brand_codes": codes, "onay": onay, "ret": ret, "now": now}
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["count"], values)


async def latest(
    ledger: Ledger, brand_code: int | None = None, *, since: datetime | None = None
) -> tuple[RegisterCount, ...]:
    """Return the latest counts of each brand, or of one; with ``since`` all from then on, brand by
    brand, the latest first.
    """
    rows = await ledger.fetch(_SQL["latest"], {"brand_code": brand_code, "since": since})
    return tuple(RegisterCount(**row) for row in rows)
