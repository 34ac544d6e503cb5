"""Histories in a real ledger: written as its writers do, read, and replaced as its owner can."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import LiteralString

from izin.ledger import retention
from izin.ledger.db import Connection, Ledger, copy, microseconds, statements
from izin.ledger.history import append, append_facts, commitment_of_row, digest_fact, verify
from izin.ledger.record import Anchor, TopicMessages
from izin.ledger.webhooks.deliveries import DeliveryReceipt, copied, sealed
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from tests.chaos.forgery.copies import LATER, OTHERS, FactSource, HistoryCopy, Row, source_of
from tests.support.builders import CUSTOMER
from tests.support.evidence.archives import KEY

BEGAN = datetime(2026, 1, 5, 9, tzinfo=UTC)
_SHARDS = 3
_MESSAGES = TopicMessages(Codec(), Topics())
_DELIVERIES, _HISTORY = statements("deliveries"), statements("history")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

OPENED: LiteralString = """
ALTER TABLE history DROP CONSTRAINT history_covered_check, DROP CONSTRAINT history_check,
    DROP CONSTRAINT history_kind_check;
"""
"""What keeps the owner of a database from nothing."""
_READ: LiteralString = """
SELECT shard, place, link, salt, commitment, kind, customer_id, key, event_id, status, source,
    (extract(epoch FROM occurred_at) * 1000000)::bigint AS occurred,
    (extract(epoch FROM recorded_at) * 1000000)::bigint AS recorded, data::text AS data, decision
FROM history ORDER BY shard, place
"""
_WRITE: LiteralString = """
INSERT INTO history (shard, place, link, salt, commitment, kind, customer_id, key, event_id,
    status, source, occurred_at, recorded_at, data, decision)
VALUES (%(shard)s, %(place)s, %(link)s, %(salt)s, %(commitment)s, %(kind)s, %(customer_id)s,
    %(key)s, %(event_id)s, %(status)s, %(source)s, %(occurred_at)s, %(recorded_at)s, %(data)s,
    %(decision)s)
"""
_DELIVER: LiteralString = """
INSERT INTO deliveries (batch, place, subscriber_id, customer_id, type, topic, partition, "offset",
    attempts, status, delivered_at, recorded_at, commitment, salt, webhook_id, key, resend_id)
VALUES (%(batch)s, %(place)s, %(subscriber_id)s, %(customer_id)s, %(type)s, %(topic)s,
    %(partition)s, %(offset)s, %(attempts)s, %(status)s, %(delivered_at)s, %(recorded_at)s,
    %(commitment)s, %(salt)s, %(webhook_id)s, %(key)s, %(resend_id)s)
"""


async def written(ledger: Ledger, random: Random) -> list[Anchor]:
    """Write a genuine history of some months into an empty ledger; return its anchors."""
    source, anchors = source_of(random, BEGAN), list[Anchor]()
    for month in (1, 2, 3):
        source.now = max(source.now, datetime(2026, month, 5, tzinfo=UTC))
        for _ in range(random.randrange(1, 4)):
            await _some(ledger, random, source)
        if random.random() < 0.7:
            await _delivered(ledger, random, source)
        anchors += await _anchored(ledger, source.now)
    source.now = LATER
    if random.random() < 0.6:
        anchors = [replace(one, timestamped_at=one.anchored_at) for one in anchors]
        await _aged(ledger, random)
    if random.random() < 0.3:
        await _restored(ledger, max(one.id for one in anchors))
    await _some(ledger, random, source)
    anchors += await _anchored(ledger, source.now)
    if random.random() < 0.5:
        await _some(ledger, random, source)
    return anchors


async def _some(ledger: Ledger, random: Random, source: FactSource) -> None:
    """Append facts, to several chains at a time: of these writers none creates the month."""
    async with ledger.transaction() as connection:
        await append_facts(connection, source.some(1), now=source.now)
    async with AsyncExitStack() as stack:
        for _ in range(random.randrange(1, _SHARDS + 1)):
            connection = await stack.enter_async_context(ledger.transaction())
            facts = source.some(random.randrange(1, 7))
            await append_facts(connection, facts, now=source.now)


async def _delivered(ledger: Ledger, random: Random, source: FactSource) -> None:
    """Record a batch of acknowledgements, with its digest in the history."""
    keys = [KEY, *random.choices((KEY, *OTHERS), k=random.randrange(4))]
    random.shuffle(keys)
    receipts = [
        DeliveryReceipt(
            *(1, CUSTOMER, "consent.opted-out", "consent-opt-outs", 0, source.number, "msg", key),
            *(1, 200, microseconds(source.now), random.choice((None, 5))),
        )
        for key in keys
    ]
    async with ledger.transaction() as connection:
        row = await (await connection.execute(_DELIVERIES["next-batch"])).fetchone()
        assert row is not None
        rows = sealed(row["batch"], receipts)
        digests = [one.commitment for one in rows]
        fact = digest_fact(row["batch"], digests, len(rows), microseconds(source.now))
        at = await append_facts(connection, [fact], now=source.now)
        await copy(connection, _DELIVERIES["copy"], [copied(row["batch"], rows, at)])


async def _anchored(ledger: Ledger, now: datetime) -> Sequence[Anchor]:
    async with ledger.transaction() as connection:
        return await verify.anchor(connection, now=now)


async def _aged(ledger: Ledger, random: Random) -> None:
    """Do what the ledger may do ten years later: drop a month, erase a row."""
    if random.random() < 0.6:
        await retention.drop(ledger, _MESSAGES, by="ada", now=BEGAN + timedelta(days=3720))
    if random.random() < 0.6:
        await _erased(ledger, random)


async def _restored(ledger: Ledger, anchor: int) -> None:
    """Record that the ledger was restored, and lost nothing."""
    ends = {str(row["shard"]): row["place"] for row in await ledger.fetch(_HISTORY["chains"])}
    async with ledger.transaction() as connection:
        await append.record_act(
            connection,
            append.RESTORED,
            append.rebuild_key("ledger"),
            by="ada",
            now=LATER,
            before={},
            after={"ends": ends, "anchor": anchor, "batch": 0},
        )


async def _erased(ledger: Ledger, random: Random) -> None:
    """Erase a row, as the ledger does after ten years, with the act that names it."""
    row = random.choice(await ledger.fetch(_READ))
    if row["commitment"] is not None or row["key"] not in {KEY, *OTHERS}:
        return
    values = {
        "keys": [row["key"]],
        "shards": [row["shard"]],
        "places": [row["place"]],
        "commitments": [commitment_of_row(row)],
        "now": LATER + timedelta(days=365),
    }
    after = {"places": {str(row["shard"]): [row["place"]]}, "deliveries": {}}
    act = append.act(
        append.ERASED, append.erasure_key(1), by="izin", now=LATER, before={}, after=after
    )
    async with ledger.transaction() as connection:
        await connection.execute(statements("privacy")["erase-history"], values)
        await append.append(connection, [act], now=LATER)


async def read(ledger: Ledger) -> HistoryCopy:
    """Return what a ledger has."""
    history = HistoryCopy()
    for row in await ledger.fetch(_READ):
        history.rows.setdefault(row["shard"], []).append(dict(row))
    for row in await ledger.fetch(_HISTORY["chains"]):
        history.heads[row["shard"]] = row["place"], row["link"]
    for row in await ledger.fetch(_HISTORY["cuts"]):
        history.cuts[row["shard"]] = row["place"], row["link"]
    history.deliveries = [dict(row) for row in await ledger.fetch(_DELIVERIES["batches"])]
    return history


async def replaced(connection: Connection, history: HistoryCopy) -> None:
    """Replace what a ledger has, as its owner can: no trigger fires."""
    rows = [row for some in history.rows.values() for row in some]
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        for month in sorted({f"{_instant(row['recorded']):%Y-%m-01}" for row in rows}):
            await connection.execute("SELECT create_month(%s)", [month])
        await connection.execute("DELETE FROM history")
        await connection.execute("DELETE FROM deliveries")
        await connection.execute("DELETE FROM chain_cuts")
        cursor = connection.cursor()
        await cursor.executemany(
            _WRITE,
            [_with_instants(row, occurred_at="occurred", recorded_at="recorded") for row in rows],
        )
        await cursor.executemany(
            _DELIVER,
            [_with_instants(row, delivered_at="delivered") for row in history.deliveries],
        )
        heads = [(*head, shard) for shard, head in history.heads.items()]
        await cursor.executemany("UPDATE chains SET place = %s, link = %s WHERE shard = %s", heads)
        await cursor.executemany(
            "INSERT INTO chain_cuts VALUES (%s, %s, %s, now())",
            [(shard, *cut) for shard, cut in history.cuts.items()],
        )


def _with_instants(row: Row, **named: str) -> Row:
    """Return a row with columns that are instants, each of the microseconds of another."""
    return row | {name: _instant(row[column]) for name, column in named.items()}


def _instant(microseconds_: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds_)
