"""A history in memory, as whoever owns the database has it: rows, links, heads, cuts, deliveries.

All that can be computed again is computed again with the ledger's own functions.

The facts in it are generated, with texts, numbers and shapes of every kind in them.
Histories in a real ledger: written as its writers do, read, and replaced as its owner can.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, LiteralString

import orjson

from izin.consent import Consent, Status, decide
from izin.evidence.chain import Segment
from izin.evidence.rows import Batches, DeliveryAcknowledgement, EvidenceRow
from izin.evidence.verification import Evidence
from izin.ledger import retention
from izin.ledger.db import Connection, Ledger, copy, microseconds, statements
from izin.ledger.history import (
    SALT,
    Fact,
    append,
    append_facts,
    commitment_of_row,
    content,
    decided,
    digest_fact,
    first_link,
    next_link,
    verify,
)
from izin.ledger.record import Anchor, TopicMessages
from izin.ledger.webhooks.deliveries import DeliveryReceipt, content_of_delivery, copied, sealed
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from tests.support.builders import (
    BRAND,
    CUSTOMER,
    NOON,
    PHONE,
    a_decision_record,
    an_event,
    an_iys_origin,
    as_admitted,
)
from tests.support.evidence.archives import KEY, a_header

Row = dict[str, Any]
"""A row of the history, or of deliveries: its columns by name."""
LATER = datetime(2036, 6, 15, 9, tzinfo=UTC)
"""More than ten years after the first months."""
FACT = Fact._fields
DIGESTS = "deliveries"
"""The key of the digests of batches."""
OTHERS = tuple(KEY.replace(PHONE, f"+90555000{number:04}") for number in range(2, 6))
_TEXTS = (
    *('Ayşe\'nin "onayı"', "\x01\x1f\x7f\x85", "\u2028\u2029\ufeff\u202e", "𝒂😀\U0010ffff", ""),
    *("\\ \\u0001 \\\\", "], [", '", null, "', "İıŞş", "<script>&amp;", " \t\r\n"),
)
_NUMBERS = (1e16, 1e-7, 0.1, -0.0, 5e-324, 1.7e308, 2.5, 2**63, -(2**63), 2**64 - 1, 0)


class UnmadeArchiveError(Exception):
    """The ledger makes no archive of such a history."""


@dataclass(slots=True, kw_only=True)
class HistoryCopy:
    """A history that can be changed at will."""

    rows: dict[int, list[Row]] = field(default_factory=dict)
    """By shard, in the order of their places."""
    heads: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """Place and link of the last row of each chain."""
    cuts: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    deliveries: list[Row] = field(default_factory=list)

    def copied(self) -> HistoryCopy:
        """Return a history to be changed, apart from this one."""
        return deepcopy(self)

    def start(self, shard: int) -> tuple[int, bytes]:
        """Return place and link from which a chain starts."""
        return self.cuts.get(shard, (0, first_link(shard)))

    def relink(self, shard: int) -> None:
        """Compute every link of a chain again, and its head."""
        place, link = self.start(shard)
        for row in self.rows[shard]:
            place, link = row["place"], next_link(link, commitment(row))
            row["link"] = link
        self.heads[shard] = place, link

    def renumber(self, shard: int) -> None:
        """Give the rows of a chain places without a gap."""
        start, _ = self.start(shard)
        for place, row in enumerate(self.rows[shard], start + 1):
            row["place"] = place

    def append(self, random: Random, shard: int, fact: Fact, recorded: int | None = None) -> Row:
        """Append a row to a chain, as a writer does; return it."""
        rows = self.rows.setdefault(shard, [])
        place, link = self.heads.get(shard) or self.start(shard)
        row: Row = {
            **fact._asdict(),
            "data": None if fact.data is None else fact.data.decode(),
            "shard": shard,
            "place": place + 1,
            "recorded": recorded or max(fact.occurred, rows[-1]["recorded"] if rows else 0),
            "salt": random.randbytes(SALT),
            "commitment": None,
        }
        row["link"] = next_link(link, commitment(row))
        rows.append(row)
        self.heads[shard] = row["place"], row["link"]
        return row


def commitment(row: Row) -> bytes:
    """Return what the link of a row covers."""
    return row["commitment"] or commitment_of_row(row)


def emptied(row: Row) -> None:
    """Erase what a row says: its commitment stays."""
    row["commitment"] = commitment(row)
    row |= {"kind": "erased", "customer_id": "", "occurred": row["recorded"], "salt": None}
    row |= dict.fromkeys(("key", "event_id", "status", "source", "data", "decision"))


def evidence_row(row: Row) -> EvidenceRow:
    """Return a row as an archive has it."""
    named = {name: row[name] for name in FACT}
    data = row["data"]
    fact = Fact(**named | {"data": None if data is None else data.encode(), "decision": None})
    if row["decision"] is not None:
        fact = fact._replace(decision=b"")
    text = content(row["place"], fact, row["recorded"]).decode()
    return EvidenceRow(row["shard"], text, row["decision"], row["salt"])


def archive_of(history: HistoryCopy, anchors: dict[int, int], **header: object) -> Evidence:
    """Return the evidence of a recipient, with the chains up to ``anchors`` (places by shard).

    Raises:
        UnmadeArchiveError: no chain leads there.
    """
    rows, segments, batches = [], [], _batches(history)
    for shard, until in anchors.items():
        before, (_, link) = None, history.start(shard)
        chained: list[Row] = []
        for row in history.rows.get(shard, ()):
            if row["place"] > until:
                break
            if chained or _is_ours(row, batches):
                before = before or link
                chained.append(row)
            link = row["link"]
        if not chained:
            continue
        places = [row["place"] for row in chained]
        if places != [*range(places[0], until + 1)] or before is None:
            raise UnmadeArchiveError
        rows += [evidence_row(row) for row in chained if _is_ours(row, batches)]
        segments.append(
            Segment(
                shard=shard,
                first=places[0],
                before=before,
                place=until,
                link=chained[-1]["link"],
                anchored_at=NOON.isoformat(),
                commitments=b"".join(map(commitment, chained)),
            )
        )
    return Evidence(header=a_header(**header), rows=rows, batches=batches, segments=segments)


def places_of(anchors: Iterable[Anchor]) -> dict[int, int]:
    """Return the last anchored place of each chain."""
    found: dict[int, int] = {}
    for one in anchors:
        found[one.shard] = max(one.place, found.get(one.shard, 0))
    return found


def _is_ours(row: Row, batches: Batches) -> bool:
    """Whether a row belongs into the archive of the recipient."""
    if row["commitment"] is not None or row["key"] is None:
        return False
    if row["key"] == DIGESTS:
        return any(row["source"] == f"{DIGESTS}/{batch}" for batch in batches.commitments)
    return row["key"] == KEY or row["key"].startswith("receipt/")


def _batches(history: HistoryCopy) -> Batches:
    """Return the acknowledgements of the recipient, with the commitments of their batches."""
    ours = [row for row in history.deliveries if row["key"] == KEY]
    rows = [
        DeliveryAcknowledgement(content_of_delivery(row).decode(), row["salt"], "sms")
        for row in ours
    ]
    numbers = sorted({row["batch"] for row in ours})
    return Batches(
        rows,
        {
            number: tuple(
                row["commitment"].hex() for row in history.deliveries if row["batch"] == number
            )
            for number in numbers
        },
    )


@dataclass(slots=True)
class FactSource:
    """Makes facts of several keys, one after another."""

    random: Random
    now: datetime
    consents: dict[str, Consent]
    number: int = 0

    def some(self, count: int) -> list[Fact]:
        """Return the next facts."""
        return [self.one() for _ in range(count)]

    def one(self, key: str | None = None) -> Fact:
        """Return the next fact, of some key."""
        self.number += 1
        self.now += timedelta(microseconds=self.random.randrange(1, 900_000_000))
        of = key or self.random.choice((KEY, KEY, *OTHERS))
        if self.random.random() < 0.3:
            return self._decision(of)
        kind, status, data = self.random.choice(list(self._shapes()))
        if kind == "receipt" and self.random.random() < 0.3:
            of = f"receipt/{self.number}"
        wild = {self.random.choice(_TEXTS): self.wild() for _ in range(self.random.randrange(3))}
        return Fact(
            kind,
            CUSTOMER,
            of,
            self.random.choice((None, f"event-{self.number}", self.random.choice(_TEXTS[2:]))),
            status,
            f"{kind}/{self.number}",
            microseconds(self.now),
            orjson.dumps({**wild, **data}),
            None,
        )

    def wild(self, depth: int = 3) -> Any:  # noqa: ANN401  # any JSON
        """Return any value that the ledger can write."""
        match self.random.randrange(7 if depth else 5):
            case 0:
                return self.random.choice((None, True, False))
            case 1:
                return self.random.choice(_NUMBERS)
            case 2:
                return self.random.uniform(-1, 1) * 10.0 ** self.random.randrange(-300, 300)
            case 3 | 4:
                return self.random.choice(_TEXTS)
            case 5:
                return [self.wild(depth - 1) for _ in range(self.random.randrange(4))]
            case _:
                return {one: self.wild(depth - 1) for one in self.random.sample(_TEXTS, 2)}

    def _shapes(self) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
        """Yield kind, status and data of what is no decision."""
        at, number = self.now.isoformat(), self.number
        status = self.random.choice(("ONAY", "RET"))
        about = {"submission": number % 7, "consent_date": at, "source": "HS_WEB"}
        yield "call", status, {**about, "kind": "single", "attempt": 1}
        answer = {"how": "add", "code": None, "transaction_id": "a" * 64, "creation_date": at}
        yield "answer", status, {**about, **answer, "verdict": "success"}
        shown = {"creation_date": at, "consent_date": at, "transaction_id": f"{number:064}"}
        yield "observation", status, {**shown, "source": "HS_WEB", "by": "pull"}
        yield "outcome", status, {"outcome": self.random.choice(("accepted", "refused"))}
        yield "delivery", None, {"topic": "permissions", "partition": 1, "offset": number}
        yield "act", None, {"act": "note", "by": "ada@example.com", "before": {}, "after": {}}
        yield "breach", "RET", {"due_at": at}
        asked = {"message_class": "commercial", "campaign": "bahar", "retailer_code": None}
        reply = {"index": 0, "may_send": True, "reason": "registered", "basis": None}
        yield "receipt", None, {**asked, **reply, "asked_by": "x", "as_of": at, "receipt_id": "r"}
        restored = {"origin": "web", "source": "HS_WEB", "consent_date": at, "origin_rank": None}
        yield "bootstrap", status, restored

    def _decision(self, key: str) -> Fact:
        status = self.random.choice((Status.ONAY, Status.RET))
        text = self.random.choice(_TEXTS)
        if self.random.random() < 0.1:
            text = "".join(map(stuffing, range(1, 20)))
        given: dict[str, Any] = {
            "event_id": f"event-{self.number}",
            "recipient": key.rsplit("/", 1)[-1],
            "status": str(status),
            "consent_date": self.now,
            "received_at": self.now + timedelta(seconds=2),
            "evidence": {"ip": "192.0.2.1", "form": text},
        }
        if status is Status.RET and self.random.random() < 0.5:
            seen = an_iys_origin(creation_date=self.now, transaction_id=f"{self.number:064}")
            given |= {"origin": "iys", "source": "IYS_WEB", "iys": seen}
        admitted = as_admitted(an_event(**given), self.now + timedelta(seconds=3))
        decision = decide(self.consents.get(key), admitted)
        self.consents[key] = decision.consent
        stored = Codec().encode("Decision", a_decision_record(decision, offset=self.number))
        return decided(CUSTOMER, key, microseconds(self.now), stored)


def stuffing(place: int) -> str:
    """Return what a customer may put into an event: the text of a row that allows a message."""
    asked = '{"asked_by":"x","message_class":"commercial","campaign":"x","retailer_code":null,'
    reply = '"index":0,"may_send":true,"reason":"registered","basis":null,"as_of":"x"}'
    before = f'[{place}, "receipt", "{CUSTOMER}", "{KEY}", null, null, "receipt/1", 1, 2, '
    return f"{before}{asked}{reply}]"


def source_of(random: Random, at: datetime) -> FactSource:
    """Return a source of facts of the brand from an instant on."""
    assert all(one.startswith(str(BRAND)) for one in (KEY, *OTHERS))
    return FactSource(random, at, {})


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
            await append_facts(connection, source.some(random.randrange(1, 7)), now=source.now)


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
