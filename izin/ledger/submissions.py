"""The submissions in the ledger: stored before the call, with the result before anything else.

A submission without an answer is never lost: when its process is gone, another one claims it. An
item is settled once; a second result for it changes nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, LiteralString

from psycopg.rows import args_row

from izin.consent import ConsentKey
from izin.iys.wire_format import ConsentItem
from izin.ledger.db import (
    Connection,
    copy,
    fetch,
    fetch_one,
    microseconds,
    statements,
    while_waiting,
)
from izin.ledger.history import call_facts, history_codec, item_rows
from izin.ledger.record import (
    Brand,
    CallCheck,
    ClaimedRow,
    ConcurrentChangeError,
    Item,
    LeaseOwner,
    Settled,
    Submission,
    body_of,
    item_of,
)
from izin.ledger.unit_of_work import UnitOfWork
from izin.schemas.records import key_from_avro

_OTHERS_FIRST = timedelta(seconds=2)
"""For so long a process leaves a call that it has lost to other processes."""
_HISTORY = statements("history")
_SQL = statements("submissions")
_CONSENTS = statements("consents")


async def acknowledge(  # noqa: PLR0913 - İYS's acknowledgement of a batch
    connection: Connection,
    submission: Submission,
    request_id: str,
    sub_request_ids: Sequence[str],
    *,
    now: datetime,
    next_poll_at: datetime,
) -> bool:
    """Store İYS's acknowledgement of a batch; False: it is not in flight any more."""
    values = {
        "id": submission.id,
        "request_id": request_id,
        "sub_request_ids": list(sub_request_ids),
        "now": now,
        "next_poll_at": next_poll_at,
    }
    if await fetch_one(connection, _SQL["acknowledge"], values) is None:
        return False
    awaiting = {
        "keys": [item.key for item in submission.items],
        "event_ids": [item.event_id for item in submission.items],
        "now": now,
    }
    await connection.execute(_CONSENTS["await-result"], awaiting)
    return True


async def open_places(connection: Connection, submission: Submission) -> frozenset[int]:
    """Return the places of the items that are not settled yet."""
    return frozenset(
        row["index"] for row in await fetch(connection, _SQL["items"], {"id": submission.id})
    )


async def settle(
    connection: Connection, submission: Submission, settled: Sequence[Settled], *, now: datetime
) -> frozenset[int]:
    """Settle items, and the submission with its last; return the places settled by this call."""
    groups = defaultdict[tuple[str, str | None], list[int]](list)
    for one in settled:
        groups[one.state, one.code].append(one.place)
    counted: set[int] = set()
    for (state, its_code), places in groups.items():
        values = {"id": submission.id, "state": state, "code": its_code, "places": places}
        counted.update(
            row["index"] for row in await fetch(connection, _SQL["settle-items"], values)
        )
    await connection.execute(_SQL["settle"], {"id": submission.id, "now": now})
    return frozenset(counted)


async def withdraw(
    connection: Connection, submission: Submission, items: Sequence[Item], *, now: datetime
) -> None:
    """Withdraw items, to be submitted in another submission.

    Raises:
        ConcurrentChangeError: another process has claimed the submission and settled one of them.
    """
    moved = [Settled(place=item.place, state="withdrawn") for item in items]
    if len(await settle(connection, submission, moved, now=now)) < len(moved):
        raise ConcurrentChangeError(f"submission {submission.id} was claimed by another process")


async def mark_unknown(
    connection: Connection,
    submission: Submission,
    *,
    now: datetime,
    next_poll_at: datetime,
    lease_owner: LeaseOwner,
) -> bool:
    """Record that no answer came; False: the submission was claimed again meanwhile."""
    values = _holder(submission, lease_owner) | {"now": now, "next_poll_at": next_poll_at}
    return await fetch_one(connection, _SQL["mark-unknown"], values) is not None


async def is_held(
    connection: Connection, submission: Submission, *, lease_owner: LeaseOwner
) -> bool:
    """Return whether the submission was not claimed again; then nobody can in this transaction."""
    return await fetch_one(connection, _SQL["held"], _holder(submission, lease_owner)) is not None


async def check(
    connection: Connection, submission: Submission, *, now: datetime, lease_owner: LeaseOwner
) -> CallCheck | None:
    """Renew the lease of a submission whose call is about to be written, and return what may have
    changed since it was stored; None: it was claimed again.

    Where nothing may have, the call is noted, as by :func:`call`.
    """
    first = submission.items[0]
    values = _holder(submission, lease_owner) | {
        "now": now,
        "lease_until": now + lease_owner.lease,
        "call_until": now + lease_owner.call_within,
        "channel": ConsentKey.parse(first.key).channel,
        "status": first.status,
    }
    async with connection.cursor(row_factory=args_row(CallCheck)) as cursor:
        return await (await cursor.execute(_SQL["check"], values)).fetchone()


async def call(
    connection: Connection, submission: Submission, *, now: datetime, lease_owner: LeaseOwner
) -> None:
    """Note that a call of the submission is written now, and by when it is over."""
    await connection.execute(
        _SQL["call"],
        _holder(submission, lease_owner) | {"call_until": now + lease_owner.call_within},
    )


async def renew_all(
    connection: Connection, numbers: Collection[int], *, now: datetime, lease_owner: LeaseOwner
) -> None:
    """Renew the leases of submissions, except of those that another process has by now."""
    await connection.execute(
        _SQL["renew-all"],
        {
            "ids": sorted(numbers),
            "owner": lease_owner.owner,
            "lease_until": now + lease_owner.lease,
        },
    )


async def poll_later(
    connection: Connection,
    submission: Submission,
    *,
    next_poll_at: datetime,
    lease_owner: LeaseOwner,
) -> None:
    """Have the submission polled again later, unless it was claimed again by now."""
    await connection.execute(
        _SQL["poll-later"], _holder(submission, lease_owner) | {"next_poll_at": next_poll_at}
    )


async def unanswered(  # noqa: PLR0913 - who claims what
    connection: Connection,
    *,
    now: datetime,
    lease_owner: LeaseOwner,
    kinds: Sequence[str],
    opt_outs_only: bool,
    is_silent: bool,
) -> Mapping[str, Any] | None:
    """Claim one submission of these kinds that was left without an answer; return its row.

    ``is_silent``: İYS answers this process nothing, so others come first.
    """
    values = {
        "opt_outs_only": opt_outs_only,
        "is_silent": is_silent,
        "kinds": list(kinds),
        "now": now,
        "lost_before": now - _OTHERS_FIRST,
        "owner": lease_owner.owner,
        **lease_owner.who,
    }
    return await _claim(connection, "claim-unanswered", values, now, lease_owner)


async def hasten_results(connection: Connection, *, soon: datetime) -> None:
    """Have the results for which opt-outs wait polled no later than ``soon``, but for those that
    were never polled: İYS has none before their time.
    """
    await connection.execute(_SQL["hasten-results"], {"soon": soon})


async def results_due(
    connection: Connection, *, now: datetime, lease_owner: LeaseOwner, opt_outs_only: bool
) -> Mapping[str, Any] | None:
    """Claim one batch whose result is due to be polled; return its row, and whether opt-outs wait
    for it.
    """
    return await _claim(
        connection,
        "claim-results",
        {
            "now": now,
            "opt_outs_only": opt_outs_only,
            "owner": lease_owner.owner,
            **lease_owner.who,
        },
        now,
        lease_owner,
    )


async def to_free(
    connection: Connection, *, lease_owner: LeaseOwner
) -> tuple[Mapping[str, Any], frozenset[int]] | None:
    """Return a submission that was never called, locked, and the places of its opt-ins for which
    opt-outs wait; None: there is none.
    """
    row = await fetch_one(connection, _SQL["to-free"], lease_owner.who)
    return None if row is None else (row, frozenset(row["places"]))


async def mark_freed(connection: Connection, submission: Submission) -> None:
    """Note that items were taken out of a submission that was never called, whoever has it."""
    await connection.execute(_SQL["free"], {"id": submission.id})


async def resend(
    connection: Connection, submission: Submission, *, now: datetime, lease_owner: LeaseOwner
) -> Submission:
    """Record that the same body is about to be sent once more; return the submission after that.

    Raises:
        ConcurrentChangeError: it is settled, or was claimed again by now.
    """
    values = _holder(submission, lease_owner) | {"lease_until": now + lease_owner.lease}
    if await fetch_one(connection, _SQL["resend"], values) is None:
        raise ConcurrentChangeError(f"submission {submission.id} is no longer in flight")
    return replace(submission, sends=submission.sends + 1)


async def release(
    connection: Connection, *, owner: str, now: datetime, numbers: Collection[int] | None = None
) -> None:
    """End the leases of ``owner``, or only those of these submissions."""
    await connection.execute(
        _SQL["release"],
        {"owner": owner, "now": now, "ids": None if numbers is None else sorted(numbers)},
    )


async def submitted_by_us(
    connection: Connection, entries: Sequence[tuple[str, str, datetime | None]]
) -> frozenset[int]:
    """Return which of these (key, status, consent date) we submitted, by their place from 0.

    Where the ledger lost its submissions (it was restored), our own decisions tell: İYS shows of
    them what we would submit. Taken for another's, a consent of ours would be one that somebody
    gave behind an opt-out of ours, and be withdrawn.
    """
    values = {
        "keys": [key for key, _, _ in entries],
        "statuses": [status for _, status, _ in entries],
        "consent_dates": [date for _, _, date in entries],
    }
    ours = {row["place"] - 1 for row in await fetch(connection, _SQL["submitted-by-us"], values)}
    left = [place for place in range(len(entries)) if place not in ours]
    decided = await _decided(connection, {entries[place][0] for place in left})
    return frozenset(ours | {place for place in left if entries[place] in decided})


async def _decided(
    connection: Connection, keys: Collection[str]
) -> set[tuple[str, str, datetime | None]]:
    """Return (key, status, consent date) of what was decided on ``keys`` and is not from İYS."""
    found, codec = set[tuple[str, str, datetime | None]](), history_codec()
    for row in await fetch(connection, _HISTORY["decisions-of"], {"keys": sorted(keys)}):
        decision = codec.decode("Decision", row["decision"])
        event, key = decision["event"], str(key_from_avro(decision["consent"]))
        if event["iys"] is None:
            for at in (event["consent_date"], decision["effective_at"]):
                found.add((key, event["status"], at and at.replace(microsecond=0)))
    return found


async def with_items(connection: Connection, row: Mapping[str, Any], brand: Brand) -> Submission:
    """Return the submission of ``row``, with the items that are still open."""
    async with connection.cursor(row_factory=args_row(Item)) as cursor:
        items = await (await cursor.execute(_SQL["items"], {"id": row["id"]})).fetchall()
    return Submission(
        id=row["id"],
        brand=brand,
        kind=row["kind"],
        body=row["body"],
        items=tuple(items),
        intended_at=row["intended_at"],
        answered_at=row["answered_at"],
        request_id=row["request_id"],
        sub_request_ids=row["sub_request_ids"] or (),
        polls=row["polls"],
        sends=row["sends"],
        refusals=row["refusals"],
        call_until=row["call_until"],
        lease_epoch=row["lease_epoch"],
    )


async def _claim(
    connection: Connection,
    query: str,
    values: Mapping[str, Any],
    now: datetime,
    lease_owner: LeaseOwner,
) -> Mapping[str, Any] | None:
    row = await fetch_one(connection, _SQL[query], values)
    if row is None:
        return None
    leased = await fetch_one(
        connection,
        _SQL["lease"],
        {"id": row["id"], "owner": lease_owner.owner, "lease_until": now + lease_owner.lease},
    )
    return row if leased is None else {**row, **leased}


def _holder(submission: Submission, lease_owner: LeaseOwner) -> dict[str, Any]:
    """Return the parameters that tell whether a submission still is with who claimed it."""
    return {"id": submission.id, "owner": lease_owner.owner, "epoch": submission.lease_epoch}


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
    values = {"places": [row.ctid for row in rows], "now": changes.now}
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
    content = [item_of(row) for row in rows]
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
