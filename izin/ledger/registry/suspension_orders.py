"""A person's orders to suspend a brand, or all of a customer's: its calls to İYS, or the gate.

Calls are held back by a suspension of every record of the brand that nothing tries
(``ledger.suspensions``); the gate is closed by the reason that is published with the brand. Both
follow from the orders that stand, so that an order on a customer covers brands that are added
later, and one that ends uncovers no brand that another order suspends.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from izin.ledger.db import Connection, Ledger, fetch, fetch_one, notifications, statements
from izin.ledger.history import brand_key, customer_key, record_act
from izin.ledger.record import (
    ORDERED,
    Brand,
    TopicMessages,
    UnknownCustomerError,
    UnregisteredBrandError,
)
from izin.ledger.unit_of_work import append_messages

_SQL = statements("suspension_orders")


class Part(StrEnum):
    """What an order suspends."""

    IYS = "iys"
    """Submissions to İYS, and status queries."""
    GATE = "gate"
    """The gate: it permits nothing commercial."""


class Target(NamedTuple):
    """What an order is about: one brand, or a customer with all its brands; one of them is None."""

    brand_code: int | None = None
    customer_id: str | None = None

    def covers(self, brand: Brand) -> bool:
        """Whether the order concerns ``brand``."""
        return self.brand_code == brand.brand_code or self.customer_id == brand.customer_id

    @property
    def noun(self) -> str:
        """What it is."""
        return "customer" if self.brand_code is None else "brand"

    @property
    def key(self) -> str:
        """The key of its acts."""
        if self.brand_code is None:
            return customer_key(self.customer_id or "")
        return brand_key(self.brand_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspensionOrder:
    """An order that stands."""

    customer_id: str | None
    brand_code: int | None
    part: str
    reason: str
    ordered_by: str
    since: datetime

    @property
    def target(self) -> Target:
        """What it is about."""
        return Target(self.brand_code, self.customer_id)


async def every(ledger: Ledger) -> tuple[SuspensionOrder, ...]:
    """Return every order that stands."""
    return tuple(SuspensionOrder(**row) for row in await ledger.fetch(_SQL["all"]))


def of_brand(brand: Brand, orders: Iterable[SuspensionOrder]) -> dict[str, SuspensionOrder]:
    """Return what suspends ``brand``, by part: an order of its own before one of its customer."""
    found: dict[str, SuspensionOrder] = {}
    for one in orders:
        if one.target.covers(brand) and (one.part not in found or one.brand_code is not None):
            found[one.part] = one
    return found


async def suspend(  # noqa: PLR0913  # what, why, and by whose order
    ledger: Ledger,
    topic_messages: TopicMessages,
    target: Target,
    parts: Collection[Part],
    *,
    reason: str,
    by: str,
    now: datetime,
) -> int:
    """Suspend ``parts`` of ``target`` for ``reason``; return how many brands it has today.

    The history has who ordered it, ``by``.

    Raises:
        UnregisteredBrandError: the brand is not registered.
        UnknownCustomerError: the customer is not registered.
    """
    return await _change(
        ledger, topic_messages, target, dict.fromkeys(parts, reason), by=by, now=now
    )


async def resume(  # noqa: PLR0913  # what, and by whose order
    ledger: Ledger,
    topic_messages: TopicMessages,
    target: Target,
    parts: Collection[Part],
    *,
    by: str,
    now: datetime,
) -> int:
    """End the orders on ``parts`` of ``target`` itself; return how many brands it has today.

    A brand stays suspended by an order on its customer, and the other way round. Raises as
    :func:`suspend` does.
    """
    return await _change(ledger, topic_messages, target, dict.fromkeys(parts), by=by, now=now)


async def _change(  # noqa: PLR0913  # what, and by whose order
    ledger: Ledger,
    topic_messages: TopicMessages,
    target: Target,
    reasons: Mapping[Part, str | None],
    *,
    by: str,
    now: datetime,
) -> int:
    async with ledger.transaction() as connection:
        owner, codes = await _lock(connection, target)
        before = {
            row["part"]: row["reason"]
            for row in await fetch(connection, _SQL["of-target"], target._asdict())
        }
        values = {**target._asdict(), "by": by, "now": now}
        for reason in set(reasons.values()):
            parts = [str(part) for part, why in reasons.items() if why == reason]
            await connection.execute(
                _SQL["end" if reason is None else "order"],
                {**values, "parts": parts, "reason": reason},
            )
        await record_act(
            connection,
            f"{'suspend' if any(reasons.values()) else 'resume'} {target.noun}",
            target.key,
            by=by,
            now=now,
            before={str(part): before.get(part) for part in reasons},
            after={str(part): reason for part, reason in reasons.items()},
            customer_id=owner,
        )
        changed = await follow(connection, codes)
        messages = [topic_messages.brand(brand, now) for brand in changed]
        if messages:
            await append_messages(connection, messages, now)
    return len(codes)


async def _lock(connection: Connection, target: Target) -> tuple[str, list[int]]:
    """Return the customer and the brands of ``target``, which nobody changes meanwhile."""
    if (
        target.customer_id is not None
        and await fetch_one(connection, _SQL["lock-customer"], target._asdict()) is None
    ):
        raise UnknownCustomerError(target.customer_id)
    rows = await fetch(connection, _SQL["lock-brands"], target._asdict())
    if target.brand_code is not None and not rows:
        raise UnregisteredBrandError(target.brand_code)
    return target.customer_id or rows[0]["customer_id"], [row["brand_code"] for row in rows]


async def follow(connection: Connection, codes: Collection[int]) -> list[Brand]:
    """Have the brands of these ``codes`` suspended as the orders say; return those whose gate has
    changed, to be published.
    """
    values = {"codes": list(codes), "code": ORDERED}
    await connection.execute(_SQL["suspend-calls"], values)
    if await fetch(connection, _SQL["resume-calls"], values):
        await connection.execute(f"NOTIFY {notifications.OPT_OUTS}")
        await connection.execute(f"NOTIFY {notifications.BULK}")
        await connection.execute(f"NOTIFY {notifications.QUERIES}")
    return [Brand.from_row(row) for row in await fetch(connection, _SQL["close-gate"], values)]
