"""Rule the records of a brand again: after it has changed, by a person's order, or by new terms.

A record keeps the term that was counted when it was last ruled, so a day that is closed or opened
changes nothing by itself. What İYS has taken stays as it is; what is in flight is ruled when it is
answered. A consent that expired by the wrong calendar is due again where its term goes on by the
right one: Yönetmelik m.7/12 voids a consent by its own term, not by our mistake.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from izin.consent import State
from izin.consent.transitions import Event
from izin.ledger.db import Connection, Ledger, fetch, statements
from izin.ledger.history import HistoryEntry, act, append, brand_key
from izin.ledger.record import Brand, ConsentRow, TopicMessages, ruling, transition
from izin.ledger.registry.ownership import OtherCustomerOptIn, alert, is_of_another, owned
from izin.ledger.unit_of_work import UnitOfWork, unit_of_work

_CHUNK = 1000
_CONSENTS = statements("consents")


async def rule_again(  # noqa: PLR0913 - one loop for both orders
    ledger: Ledger,
    topic_messages: TopicMessages,
    brand: Brand | None,
    query: str,
    values: Mapping[str, Any],
    *,
    now: datetime,
    by: str | None = None,
) -> int:
    """Rule the records of ``brand`` that a ``query`` of ``consents.sql`` claims with ``values``;
    return how many.

    Without ``by``, who ordered it, parked records stay parked, but for those whose brand was
    unknown; with it, the history of each has who did.
    """
    after, seen = "", 0
    while True:
        async with unit_of_work(ledger, topic_messages, now) as changes:
            rows = list(
                map(
                    ConsentRow.from_row,
                    await fetch(
                        changes.connection,
                        _CONSENTS[query],
                        {**values, "after": after, "size": _CHUNK},
                    ),
                )
            )
            if not rows:
                return seen
            ruled, of_others = rule_page(changes, rows, brand, by=by)
            seen += ruled
        alert(of_others)
        after = rows[-1].key


def rule_page(
    changes: UnitOfWork,
    rows: Iterable[ConsentRow],
    brand: Brand | None,
    *,
    by: str | None = None,
) -> tuple[int, list[OtherCustomerOptIn]]:
    """Rule some records of ``brand`` as :func:`rule_again` does; return how many, and the opt-ins
    of other customers among them, which are to be alerted of once the changes are written.
    """
    seen, of_others = 0, []
    for row in rows:
        if brand is not None and _was_of_another(row, brand) and by is None:
            of_others.append(
                OtherCustomerOptIn(brand_code=brand.brand_code, customer_id=row.customer_id)
            )
        seen += _rule(changes, row, brand, by=by)
    return seen, of_others


def _was_of_another(row: ConsentRow, brand: Brand | None) -> bool:
    """Whether a row that was parked before its brand was known is an opt-in of another customer."""
    return row.reason == ruling.UNKNOWN_BRAND and is_of_another(row, brand)


def _rule(
    changes: UnitOfWork,
    row: ConsentRow,
    brand: Brand | None,
    *,
    by: str | None,
) -> bool:
    now, own = changes.now, owned(row, brand)
    if row.state is not State.PARKED:
        row_now = own
    elif by is not None:
        row_now = ruling.requeue(own)
    elif row.reason != ruling.UNKNOWN_BRAND or _was_of_another(row, brand):
        if row.reason == ruling.UNKNOWN_BRAND:
            own = own.replace(reason=ruling.OTHER_CUSTOMER)
        changes.put(row, ruling.with_terms(own, brand, now, calendar=changes.calendar))
        return False
    else:
        row_now = transition(own, Event.REQUEUE)
    ruled = changes.ruled(row_now, brand)
    if row.state is State.PARKED and by is not None:
        changes.add_entry(_requeued(row, ruled.row, by, now))
    changes.apply(row, ruled)
    return True


def _requeued(row: ConsentRow, after: ConsentRow, by: str, now: datetime) -> HistoryEntry:
    """Return the entry of a person's order: it shows why a parked record was submitted."""
    return act(
        "requeue",
        row.key,
        by=by,
        now=now,
        before={"state": row.state, "reason": row.reason, "code": row.code},
        after={"state": after.state, "reason": after.reason, "code": after.code},
        customer_id=after.customer_id,
        event_id=row.desired_event_id,
        status=row.desired_status,
    )


@dataclass(kw_only=True)
class CountedTerms:
    """What counting the terms of a brand's records again has changed, or would change."""

    brand_code: int
    records: int = 0
    sooner: int = 0
    """Due earlier than before."""
    later: int = 0
    extended: int = 0
    """Consents that had expired, and are due again."""
    expired: int = 0
    """Consents that have expired by the terms of today, and had not before."""

    def add(self, before: ConsentRow, after: ConsentRow) -> None:
        """Count a record by what changed."""
        self.records += 1
        if before.due_at is not None and after.due_at is not None:
            self.sooner += after.due_at < before.due_at
            self.later += after.due_at > before.due_at
        was_expired, is_expired = (row.state is State.EXPIRED for row in (before, after))
        self.extended += was_expired and not is_expired
        self.expired += is_expired and not was_expired


@dataclass(frozen=True, kw_only=True)
class TermsAgain:
    """A person's order to count terms again by the calendar of ``ledger``."""

    ledger: Ledger
    topic_messages: TopicMessages
    by: str
    now: datetime
    is_dry_run: bool

    async def run(self, brands: Collection[Brand]) -> tuple[CountedTerms, ...]:
        """Count the terms of these brands; return what that changes, brand by brand.

        Cut off and run again it goes on: what has its term already does not change again.
        """
        return tuple([await self._brand(brand) for brand in brands])

    async def _brand(self, brand: Brand) -> CountedTerms:
        counted, after = CountedTerms(brand_code=brand.brand_code), ""
        while True:
            values = {"brand_code": brand.brand_code, "after": after, "size": _CHUNK}
            of_others: list[OtherCustomerOptIn] = []
            async with self.ledger.transaction() as connection:
                rows = list(
                    map(
                        ConsentRow.from_row,
                        await fetch(connection, _CONSENTS["claim-terms"], values),
                    )
                )
                if rows:
                    of_others = await self._page(connection, rows, brand, counted)
                elif not self.is_dry_run:
                    await append.append(connection, [self._counted(brand, counted)], now=self.now)
            alert(of_others)
            if not rows:
                return counted
            after = rows[-1].key

    async def _page(
        self, connection: Connection, rows: list[ConsentRow], brand: Brand, counted: CountedTerms
    ) -> list[OtherCustomerOptIn]:
        """Count the terms of a page, in two writes: an expired record becomes due again, and is
        ruled as any other then. Return what is to be alerted of.
        """
        calendar = self.ledger.calendar
        extension = UnitOfWork(connection, self.topic_messages, calendar, self.now)
        due = [self._extended(extension, row, brand) for row in rows]
        changes = UnitOfWork(connection, self.topic_messages, calendar, self.now)
        expired = {one.key for one in due if one.state is State.EXPIRED}
        _, of_others = rule_page(changes, (one for one in due if one.key not in expired), brand)
        for before, between in zip(rows, due, strict=True):
            counted.add(before, changes.written(between))
        if self.is_dry_run:
            return []
        await extension.write()
        await changes.write()
        return of_others

    def _extended(self, changes: UnitOfWork, row: ConsentRow, brand: Brand) -> ConsentRow:
        """Return an expired row with the term of today; any other as it is."""
        if row.state is not State.EXPIRED:
            return row
        extended = ruling.extend(row, brand, self.now, calendar=self.ledger.calendar)
        if extended.state is not State.EXPIRED:
            changes.add_entry(self._act(row, extended))
        return changes.put(row, extended)

    def _act(self, row: ConsentRow, extended: ConsentRow) -> HistoryEntry:
        return act(
            "extend term",
            row.key,
            by=self.by,
            now=self.now,
            before={"state": row.state, "expires_at": row.expires_at},
            after={"state": extended.state, "expires_at": extended.expires_at},
            customer_id=row.customer_id,
            event_id=row.desired_event_id,
            status=row.desired_status,
        )

    def _counted(self, brand: Brand, counted: CountedTerms) -> HistoryEntry:
        """Return the act on the brand: by which days its terms were counted, and what changed."""
        closed = sorted(map(str, self.ledger.calendar.extra_closed_days))
        counts = {name: value for name, value in asdict(counted).items() if name != "brand_code"}
        return act(
            "count terms again",
            brand_key(brand.brand_code),
            by=self.by,
            now=self.now,
            before={},
            after={"extra_closed_days": closed, **counts},
            customer_id=brand.customer_id,
        )
