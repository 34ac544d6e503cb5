"""The sequence numbers of each origin in the ledger, and which are missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from izin.ledger.db import Connection, Ledger, fetch, statements
from izin.ledger.history import record_act
from izin.ledger.record import Gap, Numbers, Run, with_runs
from izin.schemas.topics import Topics

GRACE = timedelta(minutes=5)
"""How long a number may be on its way: an origin publishes from several processes, and each may
have to retry."""

_SQL = statements("sequences")

Origin = tuple[str, str]
"""A customer, and the origin that numbers its events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What is missing of an origin."""

    customer_id: str
    origin: str
    gaps: int
    numbers: int
    first_number: int
    """The first that is missing."""
    since: datetime
    """When a number beyond it first came."""
    given_up: int
    """How many more are no longer looked for: the origin's numbers are not consecutive."""


async def save(connection: Connection, came: Mapping[Origin, Sequence[Run]]) -> None:
    """Add the runs that ``came``, in the order of their numbers, to the ledger."""
    if not came:
        return
    origins = sorted(came)
    named = {"customers": [one for one, _ in origins], "origins": [other for _, other in origins]}
    await connection.execute(
        _SQL["begin"], named | {"numbers": [came[origin][0].first for origin in origins]}
    )
    before = await _locked(connection, named)
    after = {origin: with_runs(before[origin], came[origin]) for origin in origins}
    changed = [origin for origin in origins if after[origin] != before[origin]]
    if not changed:
        return
    await connection.execute(
        _SQL["save"],
        {
            "customers": [one for one, _ in changed],
            "origins": [other for _, other in changed],
            "firsts": [after[origin].first for origin in changed],
            "lasts": [after[origin].last for origin in changed],
            "given_up": [after[origin].given_up for origin in changed],
        },
    )
    for statement, ones, others in (("drop-gaps", before, after), ("add-gaps", after, before)):
        gaps = [
            (origin, gap)
            for origin in changed
            for gap in set(ones[origin].gaps) - set(others[origin].gaps)
        ]
        if gaps:
            await connection.execute(_SQL[statement], _columns(gaps))


def _columns(gaps: Sequence[tuple[Origin, Gap]]) -> Mapping[str, list[object]]:
    return {
        "customers": [customer for (customer, _), _ in gaps],
        "origins": [origin for (_, origin), _ in gaps],
        "firsts": [gap.first for _, gap in gaps],
        "lasts": [gap.last for _, gap in gaps],
        "since": [gap.since for _, gap in gaps],
    }


async def _locked(
    connection: Connection, named: Mapping[str, list[str]]
) -> Mapping[Origin, Numbers]:
    """Return the numbers of the origins ``named``, locked until the transaction ends."""
    rows = await fetch(connection, _SQL["lock"], named)
    gaps: dict[Origin, list[Gap]] = {}
    for row in await fetch(connection, _SQL["gaps-of"], named):
        gap = Gap(row["first_number"], row["last_number"], row["since"])
        gaps.setdefault((row["customer_id"], row["origin"]), []).append(gap)
    return {
        (row["customer_id"], row["origin"]): Numbers(
            first=row["first_number"],
            last=row["last_number"],
            gaps=tuple(gaps.get((row["customer_id"], row["origin"]), ())),
            given_up=int(row["given_up"]),
        )
        for row in rows
    }


async def read_until(connection: Connection, topic: str, instants: Mapping[int, datetime]) -> None:
    """Record until which instant each partition of ``topic`` has been read."""
    await connection.execute(
        _SQL["read-until"],
        {
            "topic": topic,
            "partitions": list(instants),
            "instants": list(instants.values()),
        },
    )


async def missing(
    ledger: Ledger, topics: Topics, *, grace: timedelta = GRACE
) -> tuple[Missing, ...]:
    """Return what is missing of each origin, except what is missing for less than ``grace``."""
    return tuple(
        Missing(**row | {name: int(row[name]) for name in ("numbers", "given_up")})
        for row in await ledger.fetch(
            _SQL["missing"], {"topics": [topics.events.name, topics.express.name], "grace": grace}
        )
    )


async def close(  # noqa: PLR0913 - whose numbers, up to which, and by whose order
    ledger: Ledger,
    customer_id: str,
    origin: str,
    *,
    until: int,
    by: str,
    now: datetime,
    dry: bool,
) -> int:
    """Close an origin's gaps up to the number ``until``, as numbers that were never given; return
    how many numbers. A ``dry`` call changes nothing. The history has who ordered it, ``by``.
    """
    named = {"customers": [customer_id], "origins": [origin]}
    async with ledger.transaction() as connection:
        found = (await _locked(connection, named)).get((customer_id, origin))
        gaps = [gap for gap in found.gaps if gap.first <= until] if found is not None else []
        if gaps and not dry:
            owner = customer_id, origin
            await connection.execute(_SQL["drop-gaps"], _columns([(owner, one) for one in gaps]))
            left = [(owner, gap._replace(first=until + 1)) for gap in gaps if gap.last > until]
            if left:
                await connection.execute(_SQL["add-gaps"], _columns(left))
            await record_act(
                connection,
                "close sequence numbers",
                f"sequence/{customer_id}/{origin}",
                by=by,
                now=now,
                before={"missing": [_interval(one) for one in gaps]},
                after={"missing": [_interval(one) for _, one in left]},
                customer_id=customer_id,
            )
    return sum(min(gap.last, until) - gap.first + 1 for gap in gaps)


def _interval(gap: Gap) -> str:
    return str(gap.first) if gap.first == gap.last else f"{gap.first}-{gap.last}"
