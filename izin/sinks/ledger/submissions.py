"""What is told to İYS: the intent is kept before the call, the answer before anything else.

A submission without an answer is never forgotten: whoever finds its process gone takes it up. An
item is settled once; a second answer to it changes nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg.rows import args_row

from izin.sinks.ledger.db.connection import LOCK_CLASS, Connection
from izin.sinks.ledger.db.queries import statements
from izin.sinks.record.brand import Brand
from izin.sinks.record.errors import ConcurrentChangeError
from izin.sinks.record.lease import LeaseOwner
from izin.sinks.record.submission import Item, Settled, Submission

_SQL = statements("submissions")
_CONSENTS = statements("consents")


async def acknowledge(  # noqa: PLR0913 - İYS's receipt of a batch
    connection: Connection,
    submission: Submission,
    request_id: str,
    sub_request_ids: Sequence[str],
    *,
    now: datetime,
    next_poll_at: datetime,
) -> None:
    """Keep İYS's receipt of a batch; raises ConcurrentChangeError if the batch is not under way."""
    values = {
        "id": submission.id,
        "request_id": request_id,
        "sub_request_ids": list(sub_request_ids),
        "now": now,
        "next_poll_at": next_poll_at,
    }
    if await (await connection.execute(_SQL["acknowledge"], values)).fetchone() is None:
        raise ConcurrentChangeError(f"submission {submission.id} was answered before")
    told = {
        "keys": [item.key for item in submission.items],
        "event_ids": [item.event_id for item in submission.items],
        "now": now,
    }
    await connection.execute(_CONSENTS["await-result"], told)


async def open_places(connection: Connection, submission: Submission) -> frozenset[int]:
    """Return the places of the items that are not settled yet."""
    found = await (await connection.execute(_SQL["items"], {"id": submission.id})).fetchall()
    return frozenset(row["index"] for row in found)


async def settle(
    connection: Connection,
    submission: Submission,
    settled: Sequence[Settled],
    *,
    now: datetime,
    code: str | None = None,
) -> frozenset[int]:
    """Settle items, and the submission with its last; return the indexes that this call settled."""
    groups = defaultdict[tuple[str, str | None], list[int]](list)
    for one in settled:
        groups[one.state, one.code].append(one.place)
    counted: set[int] = set()
    for (state, its_code), places in groups.items():
        values = {"id": submission.id, "state": state, "code": its_code, "places": places}
        found = await (await connection.execute(_SQL["settle-items"], values)).fetchall()
        counted.update(row["index"] for row in found)
    await connection.execute(_SQL["settle"], {"id": submission.id, "now": now, "code": code})
    return frozenset(counted)


async def withdraw(
    connection: Connection, submission: Submission, items: Sequence[Item], *, now: datetime
) -> None:
    """Take items out, to be told in another submission; raises ConcurrentChangeError where one of
    them is settled already, for another process has taken this one up.
    """
    moved = [Settled(place=item.place, state="withdrawn") for item in items]
    if len(await settle(connection, submission, moved, now=now)) < len(moved):
        raise ConcurrentChangeError(f"submission {submission.id} was taken up by another")


async def mark_unknown(
    connection: Connection,
    submission: Submission,
    *,
    next_poll_at: datetime,
    lease_owner: LeaseOwner,
) -> None:
    """Note that no answer came, unless another process has taken the submission up meanwhile."""
    values = {"id": submission.id, "next_poll_at": next_poll_at, "owner": lease_owner.owner}
    await connection.execute(_SQL["mark-unknown"], values)


async def renew(
    connection: Connection, submission: Submission, *, now: datetime, lease_owner: LeaseOwner
) -> Submission | None:
    """Return the submission with a new lease, before it is told; None: it is another's by now."""
    until = now + lease_owner.lease
    values = {"id": submission.id, "owner": lease_owner.owner, "lease_until": until}
    if await (await connection.execute(_SQL["renew"], values)).fetchone() is None:
        return None
    return replace(submission, lease_until=until)


async def renew_all(
    connection: Connection, numbers: Collection[int], *, now: datetime, lease_owner: LeaseOwner
) -> None:
    """Renew the leases of submissions, but for those that are another's by now."""
    values = {
        "ids": sorted(numbers),
        "owner": lease_owner.owner,
        "lease_until": now + lease_owner.lease,
    }
    await connection.execute(_SQL["renew-all"], values)


async def poll_later(
    connection: Connection,
    submission: Submission,
    *,
    next_poll_at: datetime,
    lease_owner: LeaseOwner,
) -> None:
    """Have the submission looked at again later, unless it is another's by now."""
    values = {"id": submission.id, "next_poll_at": next_poll_at, "owner": lease_owner.owner}
    await connection.execute(_SQL["poll-later"], values)


async def unanswered(
    connection: Connection, *, now: datetime, lease_owner: LeaseOwner, kinds: Sequence[str]
) -> Mapping[str, Any] | None:
    """Take up one submission of these kinds that was left without an answer; return its row, now
    held.
    """
    values = {
        "kinds": list(kinds),
        "now": now,
        "lock_class": LOCK_CLASS,
        "owner": lease_owner.owner,
        **lease_owner.who,
    }
    return await _held(connection, "claim-unanswered", values, now, lease_owner)


async def results_due(
    connection: Connection, *, now: datetime, lease_owner: LeaseOwner
) -> Mapping[str, Any] | None:
    """Take one batch whose result may be asked for; return its row, held by ``holder``."""
    return await _held(
        connection, "claim-results", {"now": now, **lease_owner.who}, now, lease_owner
    )


async def resend(
    connection: Connection, submission: Submission, *, now: datetime, lease_owner: LeaseOwner
) -> Submission:
    """Note that the very same body is about to be sent once more; return the submission as it
    then stands.
    """
    until = now + lease_owner.lease
    values = {"id": submission.id, "owner": lease_owner.owner, "lease_until": until}
    if await (await connection.execute(_SQL["resend"], values)).fetchone() is None:
        raise ConcurrentChangeError(f"submission {submission.id} was answered before")
    return replace(submission, sends=submission.sends + 1, lease_until=until)


async def release(connection: Connection, *, owner: str, now: datetime) -> None:
    """Let go of what ``owner`` holds."""
    await connection.execute(_SQL["release"], {"owner": owner, "now": now})


async def submitted_by_us(
    connection: Connection, told: Sequence[tuple[str, str, datetime | None]]
) -> frozenset[int]:
    """Return which of these (key, status, consent date) we told İYS, by their place from 0."""
    values = {
        "keys": [key for key, _, _ in told],
        "statuses": [status for _, status, _ in told],
        "consent_dates": [date for _, _, date in told],
    }
    found = await (await connection.execute(_SQL["submitted-by-us"], values)).fetchall()
    return frozenset(row["place"] - 1 for row in found)


async def with_items(connection: Connection, row: Mapping[str, Any], brand: Brand) -> Submission:
    """Return the submission that ``row`` names, with the items that are still open."""
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
        lease_until=row["lease_until"],
    )


async def _held(
    connection: Connection,
    query: str,
    values: Mapping[str, Any],
    now: datetime,
    lease_owner: LeaseOwner,
) -> Mapping[str, Any] | None:
    row = await (await connection.execute(_SQL[query], values)).fetchone()
    if row is None:
        return None
    lease = {"id": row["id"], "owner": lease_owner.owner, "lease_until": now + lease_owner.lease}
    await connection.execute(_SQL["lease"], lease)
    return {**row, "lease_until": lease["lease_until"]}
