"""End what a customer has: its keys, subscribers, waiting consents and brands, each only once.

Opt-outs are never ended here: they are sent first, or named to a person.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from izin.consent.transitions import WAITING, State
from izin.sinks.ledger import brands
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.registry import api_keys, suspension_orders
from izin.sinks.ledger.registry.suspension_orders import Part, Target
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.ledger.webhooks import registry as subscribers
from izin.sinks.record import ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.messages import TopicMessages

OFFBOARDED = "offboarded"
"""Why a consent was not sent to İYS any more, and why nothing may be sent for the brands."""
_PAGE = 1000
_SQL = statements("offboarding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """What is a customer's, and ends with it."""

    brands: tuple[Brand, ...]
    keys: tuple[str, ...]
    """Names of the valid API keys that are for nothing else: they are revoked."""
    shared_keys: tuple[str, ...]
    """Names of those that go on for other customers, without this one and its brands."""
    subscribers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Ends what is a customer's, by a person's order."""

    ledger: Ledger
    messages: TopicMessages
    customer_id: str
    by: str

    async def belongings(self, now: datetime) -> Belongings:
        """Return what is the customer's now."""
        own = tuple(
            one for one in await brands.every(self.ledger) if one.customer_id == self.customer_id
        )
        codes = [one.brand_code for one in own]
        keys = [
            (one.name, one.without(self.customer_id, codes) is None)
            for one in await api_keys.every(self.ledger)
            if self.customer_id in one.customers and one.is_valid(now)
        ]
        return Belongings(
            brands=own,
            keys=tuple(name for name, ends in keys if ends),
            shared_keys=tuple(name for name, ends in keys if not ends),
            subscribers=tuple(
                one.name
                for one in await subscribers.every(self.ledger)
                if one.customer_id == self.customer_id
            ),
        )

    async def close(self, now: datetime) -> None:
        """Close the gate for its brands, take it from its keys and remove its subscribers."""
        target = Target(customer_id=self.customer_id)
        standing = await suspension_orders.every(self.ledger)
        if not any(one.target == target and one.part == Part.GATE for one in standing):
            await suspension_orders.suspend(
                self.ledger,
                self.messages,
                target,
                [Part.GATE],
                reason=OFFBOARDED,
                by=self.by,
                now=now,
            )
        found = await self.belongings(now)
        codes = [one.brand_code for one in found.brands]
        await api_keys.withdraw_customer(
            self.ledger, self.messages, self.customer_id, codes, by=self.by, now=now
        )
        for name in found.subscribers:
            await subscribers.remove(self.ledger, name, by=self.by, now=now)

    async def withdraw_consents(self, now: datetime) -> int:
        """Have the consents that wait not sent to İYS any more; return how many."""
        withdrawn = 0
        values = {"customer_id": self.customer_id, "size": _PAGE}
        while True:
            async with self.ledger.transaction() as connection:
                found = await (
                    await connection.execute(_SQL["waiting-consents"], values)
                ).fetchall()
                if not found:
                    return withdrawn
                rows = await lock(connection, (row["key"] for row in found))
                changes = UnitOfWork(connection, self.messages, self.ledger.calendar, now)
                for row in filter(_waits, rows.values()):
                    changes.put(row, ruling.expire(row, OFFBOARDED, None))
                    withdrawn += 1
                await changes.write()

    async def set_brands(self, as_given: Iterable[Brand], now: datetime) -> None:
        """Change brands: of a stopped one nothing is sent, asked or pulled any more."""
        for brand in as_given:
            await brands.upsert(self.ledger, self.messages, brand, by=self.by, now=now)


def _waits(row: ConsentRow) -> bool:
    """Whether a consent still waits, now that its row is locked."""
    is_waiting = row.state in {*WAITING, State.PARKED} and not row.onay_open
    return is_waiting and row.desired_status == "ONAY"
