"""Count the opt-outs of each source at ingest, and its opt-ins over opt-outs, and hold them back
where they are too many.

Counted are keys, within the hour before their ingest, and by the clock of the ledger: no date that
a sender states delays or spreads them. Everything is written in the transaction of the rows
themselves, so that none of them is submitted in between.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from izin.consent import Status
from izin.ledger.db import Connection, Ledger, fetch, statements
from izin.ledger.history import customer_key, record_act
from izin.ledger.record import ConsentRow, UnknownCustomerError
from izin.ledger.registry import customers

WINDOW = timedelta(hours=1)
_LONGEST = 200
"""Characters of a source: an origin is any text, and an entry of an index is not."""
_SQL = statements("automatic_suspensions")
_CUSTOMERS = statements("customers")


class SourcedEvent(NamedTuple):
    """An opt-out of ours, or an opt-in over an opt-out, that is new in the ledger, and where it
    comes from.
    """

    brand_code: int
    key: str
    event_id: str
    actor: str | None
    origin: str
    over_ret: bool = False
    """Whether an opt-out was desired before."""


class Watched(NamedTuple):
    """What is counted of the brands of a batch."""

    opted_in: Mapping[int, int | None]
    """How many keys desire ONAY of each brand whose opt-outs are watched; None: not counted yet."""
    reversals: Collection[int]
    """The brands whose opt-ins over opt-outs are watched."""


async def watched(connection: Connection, codes: Collection[int]) -> Watched:
    """Return what is counted of the brands among ``codes``, by what their customers have set."""
    rows: Sequence[Mapping[str, Any]] = ()
    if codes:
        rows = await fetch(connection, _SQL["watched"], {"codes": sorted(codes)})
    return Watched(
        {row["brand_code"]: row["opted_in"] for row in rows if row["of_ret"]},
        {row["brand_code"] for row in rows if row["of_onay"]},
    )


def opt_in_changes(
    before: Mapping[str, ConsentRow | None], after: Mapping[str, ConsentRow]
) -> Counter[int]:
    """Return how many keys of each brand desire ONAY in ``after`` that did not ``before``, less
    those that did and do not; without the brands of which the number is the same.
    """
    changes = Counter[int]()
    for key, row in after.items():
        was = before.get(key)
        is_on = row.desired_status == Status.ONAY
        was_on = was is not None and was.desired_status == Status.ONAY
        if is_on != was_on:
            changes[row.brand_code] += 1 if is_on else -1
    return Counter({code: change for code, change in changes.items() if change})


async def add_opt_ins(connection: Connection, changes: Mapping[int, int]) -> None:
    """Add to the opt-ins of those brands that are counted how many more, or fewer, there are."""
    if not changes:
        return
    await connection.execute(
        _SQL["add-opt-ins"], {"codes": list(changes), "changes": list(changes.values())}
    )


async def count_opt_ins(connection: Connection, codes: Collection[int]) -> None:
    """Count the opt-ins of brands. It reads the whole ledger."""
    await connection.execute(_SQL["count-opt-ins"], {"codes": sorted(codes)})


async def forget(connection: Connection, codes: Collection[int]) -> None:
    """Forget what was counted of brands."""
    await connection.execute(_SQL["forget"], {"codes": sorted(codes)})


async def forget_keys(connection: Connection, keys: Collection[str]) -> None:
    """Forget from where opt-outs of ``keys`` came lately."""
    await connection.execute(_SQL["forget-keys"], {"keys": list(keys)})


async def hold_back(
    connection: Connection, events: Sequence[SourcedEvent], status: Status, *, now: datetime
) -> list[str]:
    """Note ``events`` of a ``status``, whose rows are written, and hold back those of suspended
    sources; one that has sent too many is suspended. Return which of the keys that are held back
    were opted out before.
    """
    sources = await sources_of(connection, events)
    codes = [event.brand_code for event in events]
    # First: a person's decision, which forgets what was noted, waits for this transaction.
    values: dict[str, Any] = {"codes": sorted(set(codes)), "status": status, "now": now}
    open_ids = {
        (row["brand_code"], row["source"]): row["id"]
        for row in await fetch(connection, _SQL["lock-open"], values)
    }
    noted = {
        "codes": codes,
        "sources": sources,
        "keys": [one.key for one in events],
        "event_ids": [one.event_id for one in events],
        "over_ret": [one.over_ret for one in events],
    }
    await connection.execute(_SQL["note"], values | noted)
    over_ret: list[str] = []
    for code, source in sorted(set(zip(codes, sources, strict=True))):
        values |= {"brand_code": code, "source": source, "since": now - WINDOW}
        await connection.execute(_SQL["forget-older"], values)
        brake_id = open_ids.get((code, source))
        if brake_id is not None:
            values["since"] = now
        else:
            # Those of the hour before too, if one begins.
            brake_id = next(
                (
                    row["id"]
                    for row in await fetch(connection, _SQL[f"begin-{status.lower()}"], values)
                ),
                None,
            )
        if brake_id is not None:
            over_ret += [
                row["key"]
                for row in await fetch(
                    connection, _SQL["hold-back"], {**values, "brake_id": brake_id}
                )
            ]
    return over_ret


async def sources_of(connection: Connection, events: Sequence[SourcedEvent]) -> list[str]:
    """Return the source of each: the API key that published it, else the origin that it names, or
    the beginning of a long one.
    """
    actors = {event.actor for event in events if event.actor is not None}
    names = {
        row["name"]
        for row in await fetch(connection, _SQL["names-of-keys"], {"actors": sorted(actors)})
    }
    return [
        one.actor if one.actor is not None and one.actor in names else one.origin[:_LONGEST]
        for one in events
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspensionLimits:
    """Above what a source is suspended."""

    share: float | None = None
    """Of a brand's keys that one source opts out within an hour, in percent: above 0, below 100;
    None: opt-outs are not held back.
    """
    at_least: int | None = None
    """Below so many opt-outs it never is; given with the share."""
    reversals: int | None = None
    """How many opt-outs of a brand one source may reverse within an hour; None: any number."""

    def __str__(self) -> str:
        """Return the limits in words."""
        found = (
            (self.share, f"{self.share or 0:g} % and at least {self.at_least} opt-outs an hour"),
            (self.reversals, f"{self.reversals} opt-outs reversed an hour"),
        )
        return "; ".join(f"more than {what}" for limit, what in found if limit is not None)


def limits_of(customer: customers.Customer) -> SuspensionLimits | None:
    """Return the limits that ``customer`` has set; None: it has set none."""
    found = SuspensionLimits(
        share=customer.brake_share,
        at_least=customer.brake_at_least,
        reversals=customer.brake_reversals,
    )
    return None if found == SuspensionLimits() else found


async def set_limits(
    ledger: Ledger, customer_id: str, limits: SuspensionLimits | None, *, by: str, now: datetime
) -> None:
    """Set the limits of a customer, or take them away; the history has who ordered it, ``by``.

    With one on opt-outs, the opt-ins of the customer's brands are counted, which reads the
    ledger once. Without, what was counted is forgotten; what is held back stays so until it is
    decided about.
    The same limits again count anew, and are no entry.

    Raises:
        UnknownCustomerError: the customer is not registered.
    """
    async with ledger.transaction() as connection:
        values = {"customer_id": customer_id}
        customer = await customers.lock(connection, customer_id)
        if customer is None:
            raise UnknownCustomerError(customer_id)
        before = limits_of(customer)
        codes = {
            "codes": [
                row["brand_code"] for row in await fetch(connection, _CUSTOMERS["brands"], values)
            ]
        }
        await connection.execute(
            _SQL["set-limits"],
            {
                **values,
                **asdict(limits or SuspensionLimits()),
            },
        )
        counts = limits is not None and limits.share is not None
        await connection.execute(_SQL["count-opt-ins" if counts else "forget"], codes)
        if limits != before:
            await record_act(
                connection,
                "set brake",
                customer_key(customer_id),
                by=by,
                now=now,
                before={"brake": None if before is None else str(before)},
                after={"brake": None if limits is None else str(limits)},
                customer_id=customer_id,
            )
