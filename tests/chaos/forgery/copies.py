"""A history in memory, as whoever owns the database has it: rows, links, heads, cuts, deliveries.

All that can be computed again is computed again with the ledger's own functions.

The facts in it are generated, with texts, numbers and shapes of every kind in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import orjson

from izin.consent import AdmittedEvent, Consent, Status, admit, decide
from izin.evidence.chain import Segment
from izin.evidence.rows import Batches, DeliveryAcknowledgement, EvidenceRow
from izin.evidence.verification import Evidence
from izin.ledger.db import microseconds
from izin.ledger.history import (
    SALT,
    Fact,
    commitment_of_row,
    content,
    decided,
    first_link,
    next_link,
)
from izin.ledger.record import Anchor
from izin.ledger.webhooks.deliveries import content_of_delivery
from izin.schemas.codec import Codec
from tests.support.builders import (
    BRAND,
    CUSTOMER,
    NOON,
    PHONE,
    a_decision_record,
    an_event,
    an_iys_origin,
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
        choice = self.random.randrange(7 if depth else 5)
        match choice:
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
        admitted = admit(an_event(**given), appended_at=self.now + timedelta(seconds=3))
        assert isinstance(admitted, AdmittedEvent), admitted
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
