"""Erase a key: its state in the streams first, then its rows, at last its history.

An erasure is an event of the express lane, so that it has its place among the events of the key.
The order stage answers with a decision, and whatever was decided before is in the ledger when that
is read. Then the rows are removed, once nothing is owed to İYS. The history stays for as long as
the law retains it, row by row: ten years after its month (6563 m.11/3), three years after the
consent ended (Yönetmelik m.13), and while a legal hold concerns it. Of an erased row its place, its
link and its commitment stay, so that the chain is verified as before; an act names the places. The
deliveries to subscribers are retained and erased in the same way, and the lines in İYS's daily
files with the rows that were made of them.

What the ledger has of a person is exported for the person (6698 m.11).
"""

import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import orjson

from izin.consent import ConsentEvent, ConsentKey
from izin.ledger import reads
from izin.ledger.automatic_suspension import counting
from izin.ledger.daily import lines
from izin.ledger.db import Connection, Ledger, fetch, statements
from izin.ledger.history import ERASED, act, append, commitment_of_row, erasure_key
from izin.ledger.reads import RecordedFact
from izin.ledger.record import Message, TopicMessages
from izin.ledger.registry import complaints
from izin.ledger.retention import YEARS_AFTER_THE_END
from izin.ledger.unit_of_work import append_messages
from izin.runtime.logs import get_logger
from izin.schemas.erasure import ERASURE, ORIGIN

_SLICE = 500
_LOOK_AGAIN = timedelta(seconds=30)
_SQL = statements("privacy")
_log = get_logger(__name__)
_HISTORY_SLICE = 200
_HELD = timedelta(days=1)
"""How long until a history under a legal hold is looked at again."""
_BY = "izin"
_REQUESTED = "request erasure"
_Rows = Mapping[int, Sequence[Mapping[str, Any]]]
"""Rows by the number of their erasure."""
_ROWS = statements("reads")["rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureFinding:
    """What stands against the erasure of a key, and what of it must stay."""

    key: str
    customer_id: str
    has_row: bool
    """Whether it has more than a history."""
    stands: bool
    """Whether there is a consent: an opt-out must come first, so that İYS has it."""
    is_owed: bool
    """Whether anything is due to İYS, or on its way there."""
    holds: Sequence[int]
    """The legal holds on the key."""
    is_going_on: bool
    """Whether it is being erased: the order stage has answered, and its rows are still there."""
    is_retained: bool
    """Whether it was erased but for its history, which goes as its retention ends."""
    entries: int
    """The rows of its history."""
    retain_until: date | None
    """Until when the last of them is retained: ten years after the act (6563 m.11/3)."""
    evidence_until: date | None
    """Until when the end of the consent retains them (Yönetmelik m.13)."""

    @property
    def obstacles(self) -> tuple[str, ...]:
        """Why it cannot be erased now, and what to do; empty: it can."""
        return self.obstacles_in(lambda message, **values: message % values)

    def obstacles_in(self, text: Callable[..., str]) -> tuple[str, ...]:
        """Return the obstacles as ``text`` says what is English here."""
        numbers = ", ".join(map(str, self.holds))
        reasons = (
            (self.stands, text("the consent stands: publish the opt-out first")),
            (self.is_owed, text("something is owed to İYS: wait until it is settled")),
            (self.holds, text("legal hold %(no)s: see izin retention holds", no=numbers)),
        )
        return tuple(what for holds, what in reasons if holds)

    @property
    def may_be_erased(self) -> bool:
        """Whether nothing stands against it, and it is not being erased already; a key with a
        history alone (the gate was asked about it) has no row.
        """
        is_known = self.has_row or (self.entries > 0 and not self.is_retained)
        return is_known and not self.obstacles and not self.is_going_on


class ErasedKey(NamedTuple):
    """A key that the order stage has erased."""

    key: str
    customer_id: str
    event_id: str
    requested_at: datetime
    is_last: bool
    """Whether no later event of the key is stored in the same transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureState:
    """How many erasures are how far."""

    requested: int
    """Not yet answered by the order stage."""
    waiting: int
    """Whose rows are still here: something is owed to İYS, or is just being removed."""
    retained: int
    """Of which only the history is left."""
    erased: int


def _keys(keys: Collection[str]) -> dict[str, Any]:
    return {"keys": sorted(keys), "years": YEARS_AFTER_THE_END}


async def findings(ledger: Ledger, keys: Collection[str]) -> tuple[ErasureFinding, ...]:
    """Return what stands against the erasure of each of ``keys`` that the ledger has."""
    return tuple(ErasureFinding(**row) for row in await ledger.fetch(_SQL["findings"], _keys(keys)))


async def request(
    ledger: Ledger, topic_messages: TopicMessages, keys: Sequence[str], *, by: str, now: datetime
) -> Sequence[int]:
    """Request the erasure of those of ``keys`` that may be erased; return the numbers of these
    erasures.

    A request that the order stage has not answered is made again.
    """
    numbers = list[int]()
    for start in range(0, len(keys), _SLICE):
        async with ledger.transaction() as connection:
            values = _keys(keys[start : start + _SLICE])
            await connection.execute(_SQL["rows"], values)
            found = [
                ErasureFinding(**row) for row in await fetch(connection, _SQL["findings"], values)
            ]
            wanted = [finding for finding in found if finding.may_be_erased]
            numbers += await _request(connection, topic_messages, wanted, by=by, now=now)
    return numbers


async def orders(ledger: Ledger, keys: Collection[str]) -> list[RecordedFact]:
    """Return who ordered the erasures of ``keys``, each as an act about the key: the history has it
    under the number of the erasure.
    """
    rows = await ledger.fetch(_SQL["of-keys"], {"keys": sorted(keys)})
    of = {erasure_key(row["id"]): row["key"] for row in rows}
    return [
        replace(fact, key=of[fact.key])
        for fact in await reads.facts(ledger, list(of))
        if fact.data["act"] == _REQUESTED
    ]


async def _request(
    connection: Connection,
    topic_messages: TopicMessages,
    wanted: Sequence[ErasureFinding],
    *,
    by: str,
    now: datetime,
) -> Sequence[int]:
    customers = {finding.key: finding.customer_id for finding in wanted}
    values = {
        "customers": list(customers.values()),
        "keys": list(customers),
        "event_ids": [str(uuid.uuid4()) for _ in customers],
        "now": now,
    }
    await connection.execute(_SQL["take-back"], values)
    made = await fetch(connection, _SQL["request"], values)
    requested = [
        act(
            _REQUESTED,
            erasure_key(row["id"]),
            by=by,
            now=now,
            before={},
            after={"erasure": row["id"]},
            customer_id=customers[row["key"]],
        )
        for row in made
    ]
    await append.append(connection, requested, now=now)
    await append_messages(
        connection,
        [_message(topic_messages, row, customers[row["key"]], by, now) for row in made],
        now,
    )
    return [row["id"] for row in made]


def _message(
    topic_messages: TopicMessages, row: Mapping[str, Any], customer_id: str, by: str, now: datetime
) -> Message:
    """Return the message of the event that erases a key, on the express lane."""
    key = ConsentKey.parse(row["key"])
    event = ConsentEvent(
        event_id=row["event_id"],
        customer_id=customer_id,
        brand_code=key.brand_code,
        type=key.channel,
        recipient_type=key.recipient_type,
        recipient=key.recipient,
        status=ERASURE,
        consent_date=now,
        received_at=now,
        origin=ORIGIN,
        actor=by,
    )
    return topic_messages.event(event, key, now)


async def acknowledge(
    connection: Connection, erasures: Sequence[ErasedKey], *, now: datetime
) -> None:
    """Note that everything that was decided before these erasures is in the ledger."""
    values = {
        "customers": [erasure.customer_id for erasure in erasures],
        "keys": [one.key for one in erasures],
        "event_ids": [one.event_id for one in erasures],
        "requested": [one.requested_at for one in erasures],
        "are_last": [one.is_last for one in erasures],
        "now": now,
    }
    await connection.execute(_SQL["acknowledge"], values)


async def acknowledge_tombstones(
    connection: Connection, keys: Collection[str], *, now: datetime
) -> None:
    """Note that the state of ``keys`` is a tombstone: their rows, if they were restored before it
    was read, are to be removed.
    """
    restored = [
        ErasedKey(row["key"], row["customer_id"], str(uuid.uuid4()), now, is_last=True)
        for row in await fetch(connection, _SQL["rows"], {"keys": sorted(keys)})
    ]
    if restored:
        await acknowledge(connection, restored, now=now)


async def erase(ledger: Ledger, topic_messages: TopicMessages, *, now: datetime) -> None:
    """Erase what can be erased now: rows of keys, and rows of the history."""
    keys = await remove(ledger, topic_messages, now=now)
    rows = await erase_history(ledger, now=now)
    if keys or rows:
        _log.info("erased", count=keys, history=rows)


async def remove(ledger: Ledger, topic_messages: TopicMessages, *, now: datetime) -> int:
    """Remove the rows of keys whose erasure was acknowledged; return how many keys.

    A key for which something is owed to İYS waits, and one whose row is about a later event keeps
    it.
    """
    return await _in_slices(
        ledger, "to-remove", {"now": now, "size": _SLICE}, partial(_remove, topic_messages, now)
    )


async def _in_slices(
    ledger: Ledger,
    query: str,
    values: Mapping[str, Any],
    work: Callable[[Connection, Sequence[Mapping[str, Any]]], Awaitable[int]],
) -> int:
    """Do ``work`` on what ``query`` finds, each slice in a transaction, until nothing is left;
    return how many there were.
    """
    count = 0
    while True:
        async with ledger.transaction() as connection:
            found = await fetch(connection, _SQL[query], values)
            if not found:
                return count
            count += await work(connection, found)


async def _remove(
    topic_messages: TopicMessages,
    now: datetime,
    connection: Connection,
    erasures: Sequence[Mapping[str, Any]],
) -> int:
    keys = {"keys": sorted(erasure["key"] for erasure in erasures)}
    by_key = {row["key"]: row for row in await fetch(connection, _SQL["rows"], keys)}
    waiting, over = [], []
    gone: dict[str, Mapping[str, Any]] = {}
    for one in erasures:
        row = by_key.get(one["key"])
        if row is None or row["desired_event_id"] != one["last_event_id"]:
            over.append((one["id"], None))
        elif row["must_wait"]:
            waiting.append(one["id"])
        else:
            over.append((one["id"], row["latest_ret_at"]))
            gone[row["key"]] = row
    removed = {"keys": list(gone)}
    for statement in (
        *("remove-items", "remove-retailers", "remove-resends", "remove-sweeps"),
        "remove-consents",
    ):
        await connection.execute(_SQL[statement], removed)
    # Somebody may have been asked for a consent that they never gave: then there is no row.
    asked = [one["key"] for one in erasures if one["id"] not in waiting]
    await connection.execute(_SQL["remove-via"], {"keys": asked})
    await counting.forget_keys(connection, gone)
    await append_messages(
        connection,
        [topic_messages.no_permission(key, row["customer_id"], now) for key, row in gone.items()],
        now,
    )
    await connection.execute(_SQL["wait"], {"ids": waiting, "at": now + _LOOK_AGAIN})
    ended = {"ids": [one for one, _ in over], "ended": [at for _, at in over], "now": now}
    await connection.execute(_SQL["removed"], ended)
    return len(gone)


async def progress(ledger: Ledger, customer_id: str | None = None) -> ErasureState:
    """Return how many erasures are how far, of a customer or of all."""
    (row,) = await ledger.fetch(_SQL["progress"], {"customer_id": customer_id})
    return ErasureState(**row)


async def unfinished(ledger: Ledger) -> Sequence[Mapping[str, Any]]:
    """Return the erasures that have not ended; none of the columns names a person."""
    return await ledger.fetch(_SQL["list"])


async def erase_history(ledger: Ledger, *, now: datetime) -> int:
    """Erase the rows of the history that nothing retains any more; return how many."""
    return await _in_slices(
        ledger, "retained", {"now": now, "size": _HISTORY_SLICE}, partial(_erase, now)
    )


async def _erase(
    now: datetime, connection: Connection, erasures: Sequence[Mapping[str, Any]]
) -> int:
    values = {"ids": [erasure["id"] for erasure in erasures], "years": YEARS_AFTER_THE_END}
    rows = await fetch(connection, _SQL["history"], values)
    sent = await fetch(connection, _SQL["deliveries"], values)
    later: dict[int, datetime] = {}
    free, free_sent = _of_free(rows, now, later), _of_free(sent, now, later)
    of_history = list(chain.from_iterable(free.values()))
    erased = {
        **_columns(of_history, keys="key", shards="shard", places="place"),
        "commitments": list(map(commitment_of_row, of_history)),
        "now": now,
    }
    await connection.execute(_SQL["erase-history"], erased)
    await connection.execute(
        _SQL["erase-deliveries"],
        _columns(list(chain.from_iterable(free_sent.values())), batches="batch", places="place"),
    )
    facts = (
        (row["kind"], row["key"], orjson.loads(row["data"]))
        for row in of_history
        if row["kind"] in lines.SHOWING
    )
    await lines.erase(connection, lines.shown_by(facts))
    await _append_acts(connection, erasures, free, free_sent, now)
    for number, at in later.items():
        await connection.execute(_SQL["wait"], {"ids": [number], "at": at})
    over = {"ids": [one["id"] for one in erasures if one["id"] not in later], "now": now}
    await connection.execute(_SQL["erased"], over)
    return sum(map(len, (*free.values(), *free_sent.values())))


def _of_free(rows: Sequence[Mapping[str, Any]], now: datetime, later: dict[int, datetime]) -> _Rows:
    """Return the rows that nothing retains, by the number of their erasure; note in ``later`` when
    others may be looked at again.
    """
    free = defaultdict[int, list[Mapping[str, Any]]](list)
    for row in rows:
        at = datetime.combine(row["retain_until"] + timedelta(days=1), time(), UTC)
        if row["is_held"]:
            at = max(at, now + _HELD)
        number = row["erasure"]
        if at <= now:
            free[number].append(row)
        else:
            later[number] = min(at, later.get(number, at))
    return free


def _columns(rows: Sequence[Mapping[str, Any]], **names: str) -> dict[str, list[Any]]:
    """Return columns of ``rows`` as parameters; ``names`` has the column of each."""
    return {name: [row[column] for row in rows] for name, column in names.items()}


async def _append_acts(
    connection: Connection,
    erasures: Sequence[Mapping[str, Any]],
    free: _Rows,
    deliveries: _Rows,
    now: datetime,
) -> None:
    """Append the acts that name what was erased."""
    acts = [
        act(
            ERASED,
            erasure_key(erasure["id"]),
            by=_BY,
            now=now,
            before={},
            after={
                "places": _places(free.get(erasure["id"], ()), "shard"),
                "deliveries": _places(deliveries.get(erasure["id"], ()), "batch"),
            },
            customer_id=erasure["customer_id"],
        )
        for erasure in erasures
        if erasure["id"] in free or erasure["id"] in deliveries
    ]
    await append.append(connection, acts, now=now)


def _places(rows: Sequence[Mapping[str, Any]], within: str) -> dict[str, list[int]]:
    """Return the places of ``rows`` by their shard or batch, the column ``within``."""
    places = defaultdict[str, list[int]](list)
    for row in sorted(rows, key=lambda one: (one[within], one["place"])):
        places[str(row[within])].append(row["place"])
    return dict(places)


async def export(ledger: Ledger, recipient: str, *, customer: str | None) -> Mapping[str, Any]:
    """Return what the ledger has of a ``recipient`` (normalised) as JSON, key by key: its row, its
    history, its calls to İYS, its lines in İYS's daily files, and until when the history is
    retained; and the complaints. ``customer``: only of that one; None: of all.
    """
    found = await reads.keys_of(ledger, [recipient])
    kept = [
        finding
        for finding in await findings(ledger, found[recipient])
        if customer in {None, finding.customer_id}
    ]
    keys = [one.key for one in kept]
    rows = {row["key"]: row for row in await ledger.fetch(_ROWS, {"keys": keys})}
    facts = await reads.facts(ledger, keys)
    calls = await ledger.fetch(_SQL["submissions"], {"keys": keys})
    complained = await complaints.of_recipient(ledger, recipient, customer=customer)
    return {
        "recipient": recipient,
        "complaints": [asdict(complaint) for complaint in complained],
        "keys": [
            {
                "key": one.key,
                "customer": one.customer_id,
                "state": rows.get(one.key),
                "history": [asdict(fact) for fact in facts if fact.key == one.key],
                "calls": [call for call in calls if call["key"] == one.key],
                "daily_files": await lines.find(
                    ledger,
                    lines.shown_by(
                        (fact.kind, fact.key, fact.data) for fact in facts if fact.key == one.key
                    ),
                ),
                "kept_until": max(
                    filter(None, (one.retain_until, one.evidence_until)), default=None
                ),
            }
            for one in kept
        ],
    }
