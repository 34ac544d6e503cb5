"""Claim rows for a submission: rows and exact body are stored before the call may start."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, LiteralString

from psycopg.rows import args_row

from izin.iys.wire_format import ConsentItem
from izin.ledger.db import Connection, copy, fetch_one, microseconds, statements, while_waiting
from izin.ledger.history import call_facts, item_rows
from izin.ledger.record import (
    Brand,
    ClaimedRow,
    ConcurrentChangeError,
    Item,
    LeaseOwner,
    Submission,
    body_of,
    item_of,
)
from izin.ledger.unit_of_work import UnitOfWork

_SQL = statements("submissions")
_CLAIMS = statements("claims")


async def select_rows(
    connection: Connection, query: LiteralString, values: Mapping[str, Any]
) -> Sequence[ClaimedRow]:
    """Return the rows that ``query`` claims, locked until the transaction ends."""
    async with connection.cursor(binary=True, row_factory=args_row(ClaimedRow)) as cursor:
        return await (await cursor.execute(_CLAIMS[query], values)).fetchall()


async def claim(
    changes: UnitOfWork,
    brand: Brand,
    rows: Sequence[ClaimedRow],
    *,
    kind: str,
    lease_owner: LeaseOwner,
) -> Submission:
    """Put ``rows`` in flight and store their submission; the call may start after the commit.

    Raises:
        ConcurrentChangeError: another process has changed one of the rows.
    """
    values = {"places": [one.ctid for one in rows], "now": changes.now}
    claimed, (content, items) = await while_waiting(
        changes.connection.execute(_CLAIMS["claim-rows"], values), partial(_items, rows)
    )
    if claimed.rowcount != len(rows):
        raise ConcurrentChangeError("a row was changed by another process")
    return await intend(
        changes, brand, items, content, kind=kind, lease_owner=lease_owner, refusals=0
    )


async def _items(rows: Sequence[ClaimedRow]) -> tuple[list[ConsentItem], list[Item]]:
    """Return the content of each row, and its item."""
    content = [item_of(one) for one in rows]
    return content, [
        Item(
            place,
            one.customer_id,
            one.key,
            one.desired_event_id,
            one.desired_status,
            item.consent_date,
            None if item.source is None else str(item.source),
            one.attempts + 1,
            one.desired_origin or "",
            one.desired_origin_ref,
        )
        for place, (one, item) in enumerate(zip(rows, content, strict=True))
    ]


async def intend(  # noqa: PLR0913 - what is submitted, how, and by whom
    changes: UnitOfWork,
    brand: Brand,
    items: Sequence[Item],
    content: Sequence[ConsentItem],
    *,
    kind: str,
    lease_owner: LeaseOwner,
    refusals: int,
    call_until: datetime | None = None,
) -> Submission:
    """Store a submission of ``items`` whose body has ``content``, item by item, before the call.

    ``call_until``: by when an earlier call of these items is over whose outcome is not known.
    """
    connection, now = changes.connection, changes.now
    body = body_of(content)
    values = {
        "customer_id": brand.customer_id,
        "brand_code": brand.brand_code,
        "kind": kind,
        "body": body,
        "owner": lease_owner.owner,
        "lease_until": now + lease_owner.lease,
        "now": now,
        "refusals": refusals,
        "call_until": call_until,
    }
    row = await fetch_one(connection, _SQL["intend"], values)
    if row is None:
        raise ConcurrentChangeError("a submission was not stored")
    number = row["id"]
    renumbered = tuple(item._replace(place=place) for place, item in enumerate(items))
    await copy(connection, _SQL["intend-items"], item_rows(number, renumbered))
    changes.add_history(call_facts(number, kind, renumbered, microseconds(now)))
    return Submission(
        id=number,
        brand=brand,
        kind=kind,
        body=body,
        items=renumbered,
        intended_at=now,
        refusals=refusals,
        call_until=call_until,
    )
