"""Which process delivers to which subscriber, and what subscribers have acknowledged.

Each subscriber has a lease, and processes share them evenly. The lease of a killed process is taken
over as soon as its session is gone. One process more takes its share: the others give back what
they have beyond theirs.

Acknowledgements are written in groups, one transaction for many. A transaction has the
acknowledgements of all subscribers of a process, the digest of them in the history, how far each
partition is, and the attempts that failed. It checks the lease of each subscriber first: of one
that another process has taken over nothing is written.

Each acknowledgement is a row with a salted commitment: ``commitment = sha256(salt || content)``,
where content is the row as a JSON array; that of a first delivery has no resend in it. The digest
of a batch of commitments is an entry of the history, which is chained (``history.hash_chain``);
so a row that was changed, added or removed is found. An erased row keeps its commitment.

Verified, each batch has the rows whose digest the history has, and no others. The history itself is
verified by its chains (``history.verify``).
"""

import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson

from izin.ledger.db import Connection, Ledger, copy, copy_format, fetch, statements
from izin.ledger.history import (
    SALT,
    BatchDigest,
    append_facts,
    commitment_of,
    digest_fact,
    digest_of,
)
from izin.ledger.webhooks.registry import DeliveryCursor

_SQL = statements("deliveries")
_COLUMNS = (17).to_bytes(2, "big")
_PAGE = 5000
_MEANWHILE = timedelta(days=1)
"""How long a verification takes at most."""


def lease_name(subscriber_id: int) -> str:
    """Return the name of the lease of a subscriber."""
    return f"webhooks {subscriber_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedSubscriber:
    """A subscriber that is not paused, and who owns its lease."""

    id: int
    version: int
    owner: str
    epoch: int
    is_owned: bool
    """Whether the owner lives."""


def shares(
    subscribers: Sequence[AssignedSubscriber], processes: Sequence[str], owner: str
) -> tuple[list[int], list[int]]:
    """Return the subscribers whose leases ``owner`` takes, and those whose it gives back.

    Each process may have its equal part, rounded up; what it has beyond is for one that has less.
    """
    alive = max(len(processes), 1)
    most = -(-len(subscribers) // alive)
    counts = dict.fromkeys(processes, 0)
    for subscriber in subscribers:
        if subscriber.is_owned and subscriber.owner in counts:
            counts[subscriber.owner] += 1
    mine = [one.id for one in subscribers if one.is_owned and one.owner == owner]
    free = [one.id for one in subscribers if not one.is_owned]
    others_lack = any(
        count < len(subscribers) // alive for who, count in counts.items() if who != owner
    )
    spare = mine[most:] if others_lack and not free else []
    if not spare and others_lack and not free and len(mine) == most > len(subscribers) // alive:
        spare = mine[-1:]
    return free[: max(most - len(mine), 0)], spare


async def enter(ledger: Ledger) -> None:
    """Show that this process delivers webhooks."""
    await ledger.execute(_SQL["enter"], {"owner": ledger.owner})


async def leave(ledger: Ledger) -> None:
    """Show that this process delivers no more."""
    await ledger.execute(_SQL["leave"], {"owner": ledger.owner})


async def read(ledger: Ledger) -> tuple[tuple[AssignedSubscriber, ...], tuple[str, ...]]:
    """Return the subscribers that are not paused, and the processes that deliver."""
    rows = await ledger.fetch(_SQL["assignments"])
    processes = await ledger.fetch(_SQL["processes"])
    subscribers = tuple(AssignedSubscriber(**row) for row in rows)
    return subscribers, tuple(row["owner"] for row in processes)


async def give_back(ledger: Ledger, subscriber_id: int, epoch: int) -> None:
    """Give back a lease, so that another process takes it at once."""
    await ledger.execute(
        _SQL["give-back"],
        {"name": lease_name(subscriber_id), "epoch": epoch, "owner": ledger.owner},
    )


class DeliveryReceipt(NamedTuple):
    """A record that a subscriber has taken."""

    subscriber_id: int
    customer_id: str
    type: str
    topic: str
    partition: int
    offset: int
    webhook_id: str
    key: str
    attempts: int
    status: int
    """Of its reply."""
    delivered: int
    """When, in microseconds since 1970."""
    resend_id: int | None = None
    """Of a repetition, the resend that brought it; None: it is a first delivery."""


class SealedRow(NamedTuple):
    """An acknowledgement with its place in a batch, its salt and its commitment."""

    place: int
    one: DeliveryReceipt
    salt: bytes
    commitment: bytes


def sealed(batch: int, acknowledgements: Sequence[DeliveryReceipt]) -> list[SealedRow]:
    """Return the rows of a batch."""
    salts = os.urandom(SALT * len(acknowledgements))
    rows = []
    for place, one in enumerate(acknowledgements):
        salt = salts[place * SALT : (place + 1) * SALT]
        rows.append(SealedRow(place, one, salt, commitment_of(salt, _content(batch, place, one))))
    return rows


def copied(batch: int, rows: Sequence[SealedRow], recorded_at: datetime) -> bytes:
    """Return the rows in the format of COPY."""
    number, recorded = copy_format.long(batch), copy_format.moment(recorded_at)
    return b"".join(
        b"".join(
            (
                _COLUMNS,
                number,
                copy_format.integer(place),
                copy_format.long(one.subscriber_id),
                copy_format.word(one.customer_id),
                copy_format.word(one.type),
                copy_format.word(one.topic),
                copy_format.integer(one.partition),
                copy_format.long(one.offset),
                copy_format.integer(one.attempts),
                copy_format.small(one.status),
                copy_format.instant(one.delivered),
                recorded,
                copy_format.text(commitment),
                copy_format.text(salt),
                copy_format.word(one.webhook_id),
                copy_format.word(one.key),
                copy_format.NULL if one.resend_id is None else copy_format.long(one.resend_id),
            )
        )
        for place, one, salt, commitment in rows
    )


def commitment_of_delivery(row: Mapping[str, Any]) -> bytes:
    """Return the commitment of a row that was read and is not erased, from what it says."""
    return commitment_of(row["salt"], content_of_delivery(row))


def content_of_delivery(row: Mapping[str, Any]) -> bytes:
    """Return what the commitment of a row covers beside its salt, a JSON array."""
    one = DeliveryReceipt(**{name: row[name] for name in DeliveryReceipt._fields})
    return _content(row["batch"], row["place"], one)


def _content(batch: int, place: int, one: DeliveryReceipt) -> bytes:
    fields = one if one.resend_id is not None else one[:-1]
    return orjson.dumps([batch, place, *fields])


class FailedAttempt(NamedTuple):
    """A request that a subscriber did not take."""

    subscriber_id: int
    failed_at: datetime
    topic: str
    partition: int
    offset: int
    attempt: int
    status: int | None
    failure: str


class HealthChange(NamedTuple):
    """Since when a subscriber fails, and how many alerts were raised."""

    subscriber_id: int
    failing_since: datetime | None
    alerts: int
    failure: str | None
    failed_at: datetime | None


@dataclass(slots=True, kw_only=True)
class DeliveryGroup:
    """What is to be written of one subscriber."""

    subscriber_id: int
    epoch: int
    """Of the lease by which the process delivers to it."""
    acknowledgements: Sequence[DeliveryReceipt] = ()
    moves: Sequence[DeliveryCursor] = ()
    attempts: Sequence[FailedAttempt] = ()
    health: HealthChange | None = None
    caught_up_at: datetime | None = None
    """When it had everything; None: it lacks something, or that is not written now."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        some = self.acknowledgements or self.moves or self.attempts
        return not some and self.health is None and self.caught_up_at is None


async def write(
    ledger: Ledger, groups: Sequence[DeliveryGroup], *, now: datetime
) -> frozenset[int]:
    """Write ``groups``, but for subscribers whose lease was lost; return these."""
    async with ledger.transaction() as connection:
        owned = await _owned(connection, groups)
        kept = [group for group in groups if group.subscriber_id in owned]
        if receipts := [row for group in kept for row in group.acknowledgements]:
            await _write_batch(connection, receipts, now)
        if moves := [asdict(move) for group in kept for move in group.moves]:
            await connection.execute(_SQL["move-cursors"], {"cursors": _json(moves)})
        if attempts := [attempt._asdict() for group in kept for attempt in group.attempts]:
            await connection.execute(_SQL["add-attempts"], {"attempts": _json(attempts)})
        for group in kept:
            if group.health is not None:
                await connection.execute(_SQL["save-health"], group.health._asdict())
        complete = {one.subscriber_id: one.caught_up_at for one in kept if one.caught_up_at}
        if complete:
            await connection.execute(
                _SQL["caught-up"], {"ids": list(complete), "instants": list(complete.values())}
            )
    return frozenset(group.subscriber_id for group in groups) - owned


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps(rows).decode()


async def _owned(connection: Connection, groups: Sequence[DeliveryGroup]) -> frozenset[int]:
    names = {lease_name(group.subscriber_id): group.subscriber_id for group in groups}
    values = {"names": list(names), "epochs": [group.epoch for group in groups]}
    return frozenset(
        names[row["name"]] for row in await fetch(connection, _SQL["check-leases"], values)
    )


async def _write_batch(
    connection: Connection, acknowledgements: Sequence[DeliveryReceipt], now: datetime
) -> None:
    (row,) = await fetch(connection, _SQL["next-batch"])
    batch = int(row["batch"])
    rows = sealed(batch, acknowledgements)
    fact = digest_fact(
        batch, [one.commitment for one in rows], len(rows), copy_format.microseconds(now)
    )
    recorded_at = await append_facts(connection, [fact], now=now)
    await copy(connection, _SQL["copy"], [copied(batch, rows, recorded_at)])


async def of_keys(ledger: Ledger, keys: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """Return the deliveries of keys, in their order: subscriber, type, coordinates, when, and the
    resend of a repetition.
    """
    return await ledger.fetch(_SQL["of-keys"], {"keys": list(keys)})


class DeliveryFault(NamedTuple):
    """A fault of a batch of deliveries."""

    batch: int
    place: int | None
    """None: of the batch as a whole."""
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDeliveries:
    """The result of a verification."""

    rows: int
    faults: tuple[DeliveryFault, ...]
    lost: int = 0
    """The deliveries that a restoration of the ledger has lost, as its act says."""


async def verify(
    ledger: Ledger,
    digests: Mapping[int, BatchDigest],
    erased: Collection[tuple[int, int]],
    *,
    read_at: datetime,
    lost_until: int = 0,
) -> VerifiedDeliveries:
    """Compare every row with what the history says: ``digests`` by batch, and batch and place of
    the rows that acts have ``erased``. The history was read from ``read_at`` on: what was recorded
    later may not be among them. Whole batches up to ``lost_until`` may be missing.
    """
    unseen, faults, count = dict(digests), list[DeliveryFault](), 0
    async for batch, rows in _batches(ledger):
        if batch not in unseen and read_at < rows[0]["recorded_at"] < read_at + _MEANWHILE:
            continue
        count += len(rows)
        faults += _faults(batch, rows, unseen.pop(batch, None), erased)
    faults += [
        DeliveryFault(batch, None, f"all {one.rows} rows are missing")
        for batch, one in unseen.items()
        if batch > lost_until
    ]
    return VerifiedDeliveries(
        rows=count,
        faults=tuple(faults),
        lost=sum(one.rows for batch, one in unseen.items() if batch <= lost_until),
    )


def _faults(
    batch: int,
    rows: Sequence[Mapping[str, Any]],
    known: BatchDigest | None,
    erased: Collection[tuple[int, int]],
) -> list[DeliveryFault]:
    if known is None:
        return [
            DeliveryFault(
                batch, None, f"{len(rows)} rows were added: the history has no such batch"
            )
        ]
    faults = []
    for row in rows:
        if row["key"] is None:
            if (batch, row["place"]) not in erased:
                faults.append(
                    DeliveryFault(batch, row["place"], "the row was erased, and no act names it")
                )
        elif commitment_of_delivery(row) != row["commitment"]:
            faults.append(DeliveryFault(batch, row["place"], "the row was changed"))
    if len(rows) != known.rows:
        more = "added" if len(rows) > known.rows else "missing"
        faults.append(DeliveryFault(batch, None, f"{abs(known.rows - len(rows))} rows are {more}"))
    elif digest_of(row["commitment"] for row in rows) != known.digest:
        faults.append(
            DeliveryFault(batch, None, "the rows are not those whose digest the history has")
        )
    return faults


async def _batches(ledger: Ledger) -> AsyncIterator[tuple[int, Sequence[Mapping[str, Any]]]]:
    """Yield each batch with its rows, in the order of their places."""
    rows: list[Mapping[str, Any]] = []
    async for page in ledger.pages(_SQL["batches"], size=_PAGE):
        for row in page:
            if rows and row["batch"] != rows[0]["batch"]:
                yield int(rows[0]["batch"]), rows
                rows = []
            rows.append(row)
    if rows:
        yield int(rows[0]["batch"]), rows
