"""The suspensions of a brand: its records are not submitted until the cause is gone.

A suspension is stored beside a brand, not in its records: a million opt-outs behind a closed
subscription are one row, and resume by themselves when İYS accepts one of them again. A lost right
suspends one channel, a spent quota only new ONAYs. A right that an operator declared missing is a
suspension too, one that is never tried: only an operator ends it. So is one that İYS lists as not
granted: the list ends it.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from operator import itemgetter

from psycopg.rows import DictRow

from izin.consent import Channel
from izin.ledger import access_tokens, stream_progress
from izin.ledger.db import Connection, Ledger, fetch, fetch_one, notifications, statements
from izin.ledger.history import act, append, brand_key, record_act
from izin.ledger.record import EVERY, NO_RIGHT, NOT_GRANTED, Brand, Suspension

_SQL = statements("suspensions")
_BRANDS = statements("brands")
_CURSORS = statements("stream_progress")
_GRANTED = statements("granted")


async def every(ledger: Ledger) -> tuple[Suspension, ...]:
    """Return every suspension."""
    return tuple(Suspension(**row) for row in await ledger.fetch(_SQL["all"]))


async def suspend(  # noqa: PLR0913 - what is suspended, why, and until when
    connection: Connection,
    brand: Brand,
    *,
    account: str,
    channel: str,
    status: str,
    code: str,
    reason: str,
    now: datetime,
    scope: str = "brand",
) -> None:
    """Suspend records of this channel and status: of the brand, or of every brand in ``scope`` (of
    the provider, or of those that ``account`` serves).

    The first try is allowed after a minute, later ones ever less often. Where it concerns a brand
    alone, İYS's list of rights is read soon.
    """
    if scope == "brand":
        await connection.execute(_GRANTED["ask"], {"account": account, "now": now})
    await connection.execute(
        _SQL["suspend"],
        {
            "brand_code": brand.brand_code,
            "iys_code": brand.iys_code,
            "account": account,
            "channel": channel,
            "status": status,
            "code": code,
            "reason": reason,
            "scope": scope,
            "now": now,
        },
    )


async def recheck_now(ledger: Ledger, brand_code: int, *, by: str, now: datetime) -> int:
    """Allow one record of each of the brand's suspensions to be tried at once, and a token to be
    requested for its account if none was given; return how many waited.

    Suspensions that an operator declared are not tried. The history has who ordered it, ``by``.
    """
    async with ledger.transaction() as connection:
        values = {"brand_code": brand_code, "now": now}
        found = await fetch_one(connection, _BRANDS["lock"], values)
        brand = None if found is None else Brand.from_row(found)
        if brand is None:
            return 0
        refused = await access_tokens.forget_failures(connection, brand.account)
        if refused:
            await record_act(
                connection,
                "retry token",
                brand_key(brand_code),
                by=by,
                now=now,
                before={"refused": True},
                after={"account": brand.account},
                customer_id=brand.customer_id,
            )
        rows = await fetch(connection, _SQL["recheck-now"], values)
        tried = [
            act(
                f"retry suspension {row['channel']}/{row['status']}",
                brand_key(brand_code),
                by=by,
                now=now,
                before={"code": row["code"], "recheck_at": row["before"]},
                after={"code": row["code"], "recheck_at": now},
                customer_id=row["customer_id"],
            )
            for row in rows
        ]
        await append.append(connection, tried, now=now)
        await stream_progress.wake(connection, brand_code=brand_code)
        await _wake(connection)
    return len(tried) + refused


async def recheck_all(connection: Connection) -> None:
    """Allow one record of each suspension to be tried at once: what it was refused for may be over.
    Suspensions that an operator declared are not tried.
    """
    await connection.execute(_SQL["recheck-all"])


async def may_submit(  # noqa: PLR0913 - what is tried, and when again
    connection: Connection,
    brand_code: int,
    channel: str,
    status: str,
    *,
    account: str,
    now: datetime,
    recheck_at: datetime,
) -> bool | None:
    """Return whether records may be submitted: True: all; None: one, as a try; False: none."""
    scope = {"brand_code": brand_code, "channel": channel, "status": status}
    found = await fetch_one(connection, _SQL["is-suspended"], scope)
    if found is None or not found["exists"]:
        return True
    values = {**scope, "account": account, "now": now, "recheck_at": recheck_at}
    return None if await fetch_one(connection, _SQL["recheck"], values) is not None else False


async def resume(  # noqa: PLR0913 - of whom, what, and how it is known
    connection: Connection,
    brand_code: int,
    channel: str,
    status: str,
    *,
    account: str | None,
    accepted: bool = True,
) -> list[DictRow]:
    """Resume the brand's records, and those suspended for the same fault of the ``account``, after
    İYS has looked at one. A record that it did not accept for its content shows as much, but not
    that there is room for new ONAYs. Return the suspensions that ended.
    """
    resumed = await fetch(
        connection,
        _SQL["resume"],
        {
            "brand_code": brand_code,
            "channel": channel,
            "status": status,
            "account": account,
            "accepted": accepted,
        },
    )
    await _restart_pull(connection, [row for row in resumed if row["channel"] != EVERY])
    for code in {row["brand_code"] for row in resumed}:
        await stream_progress.wake(connection, brand_code=code)
    return resumed


async def _restart_pull(connection: Connection, restored: Iterable[DictRow]) -> None:
    # Of several of a brand the one that was lost first counts: it comes last.
    latest_first = sorted(restored, key=itemgetter("since"), reverse=True)
    await pull_again(connection, {row["brand_code"]: row["since"] for row in latest_first})


async def pull_again(connection: Connection, since: Mapping[int, datetime]) -> None:
    """Have the streams of brands pulled from the start of İYS's window: since the right to one of
    their channels was lost, pages left out the entries of that channel. If that is longer ago
    than the window, the pull finds the gap.
    """
    for code, unread_since in since.items():
        await connection.execute(
            _CURSORS["restart"], {"brand_code": code, "unread_since": unread_since}
        )


async def is_suspended_by_operator(
    connection: Connection, brand_code: int, channel: str, status: str
) -> bool:
    """Return whether an operator has declared that there is no right to submit such records."""
    row = await fetch_one(
        connection,
        _SQL["is-suspended-by-operator"],
        {"brand_code": brand_code, "channel": channel, "status": status},
    )
    return row is not None and bool(row["exists"])


def rights(found: Iterable[Suspension]) -> tuple[Channel, ...]:
    """Return the channels that a brand with these suspensions may write."""
    lost = {suspension.channel for suspension in found if suspension.status == EVERY}
    return tuple(channel for channel in Channel if channel not in lost)


async def rights_of(connection: Connection, brand_code: int) -> tuple[Channel, ...]:
    """Return the channels that the brand has a right to: those that no suspension closes."""
    return rights(
        Suspension(**row)
        for row in await fetch(connection, _SQL["all"])
        if row["brand_code"] == brand_code
    )


async def follow_list(  # noqa: PLR0913 - what İYS lists, of which brand, and who read it
    connection: Connection,
    brand: Brand,
    *,
    lost: Collection[Channel],
    regained: Collection[Channel],
    tried: Collection[Channel],
    by: str,
    now: datetime,
) -> None:
    """Suspend the channels that İYS's list says are ``lost``, and resume those ``regained`` that it
    suspended; those that İYS refused and now lists are ``tried`` at once. What an operator declared
    stays. The history has the change, and who had the list read.
    """
    scope = {"brand_code": brand.brand_code, "code": NOT_GRANTED, "now": now}
    reason = "İYS lists no right to write it"
    await connection.execute(_BRANDS["lock"], scope)
    before = await rights_of(connection, brand.brand_code)
    withdrawn = {**scope, "channels": [*map(str, lost)], "reason": reason}
    await connection.execute(_SQL["revoke-right"], withdrawn)
    await connection.execute(_SQL["regrant"], {**scope, "channels": [*map(str, regained)]})
    await connection.execute(_SQL["try-listed"], {**scope, "channels": [*map(str, tried)]})
    after = await rights_of(connection, brand.brand_code)
    await stream_progress.wake(connection, brand_code=brand.brand_code)
    if after != before:
        await _record_rights(connection, brand, before, after, by, now)
    if regained or tried:
        await _wake(connection)


async def set_rights(
    ledger: Ledger, brand_code: int, channels: Collection[Channel], *, by: str, now: datetime
) -> None:
    """Store that the brand may write ``channels`` at İYS and no others; rights that are given back
    resume at once. The history has the change and who ordered it, ``by``.
    """
    revoked = [str(channel) for channel in Channel if channel not in channels]
    scope = {"brand_code": brand_code}
    reason = f"the brand registry says there is no right to write it (by {by})"
    async with ledger.transaction() as connection:
        row = await fetch_one(connection, _BRANDS["lock"], scope)
        if row is None:
            return
        brand = Brand.from_row(row)
        before = await rights_of(connection, brand_code)
        values = {**scope, "channels": revoked, "code": NO_RIGHT, "reason": reason, "now": now}
        await connection.execute(_SQL["revoke-right"], values)
        await _restart_pull(
            connection,
            await fetch(
                connection,
                _SQL["restore-right"],
                {**scope, "channels": [str(one) for one in channels]},
            ),
        )
        await connection.execute(
            _SQL["try-listed"], {**scope, "channels": [str(one) for one in channels], "now": now}
        )
        await stream_progress.wake(connection, brand_code=brand_code)
        await _record_rights(
            connection, brand, before, await rights_of(connection, brand_code), by, now
        )
        await _wake(connection)


async def _record_rights(  # noqa: PLR0913, PLR0917  # whose rights, as they were and are, and who said so
    connection: Connection,
    brand: Brand,
    before: Iterable[Channel],
    after: Iterable[Channel],
    by: str,
    now: datetime,
) -> None:
    await record_act(
        connection,
        "change rights",
        brand_key(brand.brand_code),
        by=by,
        now=now,
        before={"rights": [*map(str, before)]},
        after={"rights": [*map(str, after)]},
        customer_id=brand.customer_id,
    )


async def _wake(connection: Connection) -> None:
    await connection.execute(f"NOTIFY {notifications.OPT_OUTS}")
    await connection.execute(f"NOTIFY {notifications.BULK}")
