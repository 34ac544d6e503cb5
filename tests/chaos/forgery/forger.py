"""Forgeries of a history by whoever owns its database: after a change he computes links, digests
and heads again wherever he can, so that nothing but the anchors that others hold betrays him.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from izin.ledger.db import microseconds
from izin.ledger.history import SALT, Fact, HistoryEntry, append, digest_fact
from izin.ledger.record import Anchor
from izin.ledger.webhooks.deliveries import commitment_of_delivery
from tests.chaos.forgery.copies import DIGESTS, LATER, HistoryCopy, Row, emptied, places_of
from tests.support.evidence.archives import KEY

_TEXTS = ("kind", "customer_id", "key", "event_id", "status", "source")


class NothingToForgeError(Exception):
    """The history has nothing of the kind."""


Picked = tuple[int, list[Row], int, Row]
"""The shard of a row, the rows of its chain, its index among them, and itself."""


@dataclass(slots=True)
class LedgerForger:
    """Changes a copy of a history, of which others hold ``anchors`` (the last place by shard)."""

    random: Random
    history: HistoryCopy
    anchors: dict[int, int]
    aged: dict[int, int]
    """The last place of each chain that is known to be ten years old."""
    kind: str = ""
    touches_rows: bool = True
    """Whether an archive of the recipient would show it."""

    def pick(self, accepts: Callable[[Row], bool] = lambda _: True) -> Picked:
        """Return a row that is there, and covered by an anchor."""
        found = [
            (shard, rows, index, row)
            for shard, rows in self.history.rows.items()
            for index, row in enumerate(rows)
            if row["place"] <= self.anchors.get(shard, 0)
            and row["commitment"] is None
            and accepts(row)
        ]
        if not found:
            raise NothingToForgeError
        return self.random.choice(found)

    def hide(self, shard: int, *, always: bool = False) -> None:
        """Compute the links of a chain again, or be careless."""
        if always or self.random.random() < 0.8:
            self.history.relink(shard)

    def deleted(self) -> None:
        """Delete rows, and close the gap or leave it."""
        shard, rows, index, _ = self.pick()
        del rows[index : index + self.random.randrange(1, 4)]
        if self.random.random() < 0.7:
            self.history.renumber(shard)
        self.hide(shard)

    def ended_early(self) -> None:
        """Delete the end of a chain, its head too."""
        shard, rows, index, _ = self.pick()
        del rows[index:]
        self.hide(shard, always=True)

    def gone(self) -> None:
        """Delete a whole chain."""
        shard, *_ = self.pick()
        self.history.rows[shard] = []
        self.history.cuts.pop(shard, None)
        self.hide(shard, always=True)

    def inserted(self) -> None:
        """Insert a row like another one."""
        shard, rows, index, row = self.pick()
        status = "RET" if row["status"] == "ONAY" else row["status"]
        rows.insert(index, row | {"salt": self.random.randbytes(SALT), "status": status})
        self.history.renumber(shard)
        self.hide(shard)

    def reordered(self) -> None:
        """Exchange two rows."""
        shard, rows, index, _ = self.pick()
        other = self.random.randrange(len(rows))
        if other == index:
            raise NothingToForgeError
        one, two = rows[index], rows[other]
        one["place"], two["place"] = two["place"], one["place"]
        rows[index], rows[other] = two, one
        rows.sort(key=lambda row: row["place"])
        self.hide(shard)

    def salted(self) -> None:
        """Give a row another salt."""
        shard, *_, row = self.pick()
        row["salt"] = self.random.randbytes(SALT)
        self.hide(shard)

    def split(self) -> None:
        """Move bytes between the salt and the decision, or make a text of the decision."""
        shard, *_, row = self.pick(lambda row: row["decision"] is not None)
        match self.random.randrange(4):
            case 0:
                row["salt"] += row["decision"][:1]
            case 1:
                row["salt"] = row["salt"][:-1]
            case 2:
                row |= {"data": json.dumps(row["decision"].hex()), "decision": None}
            case _:
                row |= {"kind": "call", "data": "null"}
        self.hide(shard)

    def numbered(self) -> None:
        """Give a row another place, or another chain, at its end or among its rows."""
        shard, rows, index, _ = self.pick()
        if self.random.random() < 0.5:
            rows[index]["place"] += self.random.choice((-1, 1, 10, 2**40))
            rows.sort(key=lambda row: row["place"])
            self.hide(shard)
            return
        row = rows.pop(index)
        other = self.random.choice([one for one in range(16) if one != shard])
        row |= {"shard": other, "place": self.history.heads[other][0] + 1}
        self.history.rows.setdefault(other, []).append(row)
        self.history.renumber(shard)
        for one in (shard, other):
            self.hide(one, always=True)

    def exchanged(self) -> None:
        """Give two chains each other's rows."""
        shard, *_ = self.pick()
        other = self.random.choice([one for one in range(3) if one != shard])
        held = {one: self.history.rows.get(one, []) for one in (shard, other)}
        for one, rows in ((shard, held[other]), (other, held[shard])):
            self.history.rows[one] = [row | {"shard": one} for row in rows]
            self.history.cuts.pop(one, None)
            self.history.relink(one)

    def altered(self, name: str) -> None:
        """Change one column of a row."""
        shard, *_, row = self.pick(lambda row: row[name] is not None or name == "event_id")
        others = {one[name] for rows in self.history.rows.values() for one in rows}
        value = row[name]
        if name in _TEXTS:
            row[name] = self.random.choice([f"{value}x", *sorted(map(str, others))])
        elif name in {"occurred", "recorded"}:
            row[name] += self.random.choice((-1, 1, 1_000_000))
        elif name == "data":
            row[name] = self.random.choice((value[:-1] + " " + value[-1:], "{}", f" {value}"))
        elif name == "decision":
            at = self.random.randrange(len(value))
            row[name] = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        else:
            row[name] = bytes([value[0] ^ 1]) + value[1:]
        # Of a link that is not computed again nothing is hidden.
        if name != "link":
            self.hide(shard)

    def denied(self) -> None:
        """Change the columns of a decision, which readers filter by."""
        *_, row = self.pick(lambda row: row["decision"] is not None)
        row["status"] = self.random.choice(("ONAY", "RET"))
        if self.random.random() < 0.5:
            row["kind"] = "outcome"

    def empty_row(self) -> None:
        """Erase a row, alone, with an act of his own, or with another content before."""
        shard, *_, row = self.pick()
        way = self.random.randrange(3)
        if way == 0:
            row["occurred"] += 1
        emptied(row)
        if self.is_old(row) and way == 2:
            raise NothingToForgeError  # ten years later that is lawful
        self.touches_rows = False
        self.hide(shard, always=way == 0)
        if way != 1:
            self.act(append.ERASED, {"places": {str(shard): [row["place"]]}, "deliveries": {}})

    def cut(self) -> None:
        """Delete the beginning of a chain as if its months were dropped, with an act or without."""
        shard, rows, index, row = self.pick()
        is_named = self.random.random() < 0.7
        if is_named and self.is_old(row):
            rows[index]["occurred"] += 1
            self.history.relink(shard)
        self.history.cuts[shard] = row["place"], row["link"]
        del rows[: index + 1]
        self.touches_rows = False
        if not rows:
            self.history.heads[shard] = self.history.cuts[shard]
        if is_named:
            self.act(append.DROPPED, {"cuts": {str(shard): row["place"]}})

    def restored(self) -> None:
        """Rewrite a chain, and say that a restoration has lost what the anchors show."""
        shard, rows, index, _ = self.pick()
        rows[index]["occurred"] += 1
        if self.random.random() < 0.5:
            del rows[index + 1 :]
        self.history.relink(shard)
        ends = {} if self.random.random() < 0.5 else {str(shard): rows[index]["place"] - 1}
        anchor = self.random.choice((1000, 2**40))
        self.act(append.RESTORED, {"ends": ends, "anchor": anchor, "batch": 2**40})

    def altered_act(self) -> None:
        """Change what an act of the history says, or who did it."""
        shard, *_, row = self.pick(lambda row: row["kind"] == append.KIND)
        said = json.loads(row["data"])
        said |= self.random.choice(({"by": "nobody"}, {"after": {"x": 1}}, {"act": "other"}))
        row["data"] = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
        self.hide(shard, always=True)

    def delivered(self) -> None:
        """Change what a subscriber acknowledged, and the digest of the batch as far as he can."""
        row = self._delivery()
        name = self.random.choice(("key", "status", "delivered", "type", "offset", "subscriber_id"))
        row[name] = row[name] + 1 if isinstance(row[name], int) else f"{row[name]}x"
        row["commitment"] = commitment_of_delivery(row)
        # Of others an archive says nothing.
        self.touches_rows = row["key"] == KEY
        self._digest(row["batch"])

    def delivered_less(self) -> None:
        """Delete a delivery, or a batch, or give it a number of its own."""
        row = self._delivery()
        batch = row["batch"]
        match self.random.randrange(3):
            case 0:
                self.history.deliveries.remove(row)
                self.touches_rows = False
            case 1:
                self.history.deliveries = [
                    one for one in self.history.deliveries if one["batch"] != batch
                ]
                self.touches_rows = False
                self.act(append.RESTORED, {"ends": {}, "anchor": 0, "batch": batch})
                return
            case _:
                row |= {"batch": batch + 1000, "place": 0}
                row["commitment"] = commitment_of_delivery(row)
        self._digest(batch)

    def delivered_emptied(self) -> None:
        """Empty a delivery, with an act of his own or without."""
        row = self._delivery()
        *_, proof = self._proof(row["batch"])
        if self.is_old(proof):
            raise NothingToForgeError
        row |= dict.fromkeys(("key", "webhook_id", "salt"))
        self.touches_rows = False
        if self.random.random() < 0.8:
            self.act(
                append.ERASED, {"places": {}, "deliveries": {str(row["batch"]): [row["place"]]}}
            )

    def is_old(self, row: Row) -> bool:
        """Whether an anchor behind a row is known to be ten years old."""
        return bool(row["place"] <= self.aged.get(row["shard"], 0))

    def act(self, what: str, after: dict[str, Any]) -> None:
        """Append an act of his own, behind every anchor."""
        shard = self.random.choice([*self.anchors])
        done: HistoryEntry = append.act(
            what, "retention/2026-01", by="owner", now=LATER, before={}, after=after
        )
        data = json.dumps(done.data, separators=(",", ":")).encode()
        named = (done.kind, "", done.key, None, None, done.source)
        self.history.append(self.random, shard, Fact(*named, microseconds(LATER), data, None))

    def _delivery(self) -> Row:
        ours = [row for row in self.history.deliveries if row["key"] == KEY]
        if not ours:
            raise NothingToForgeError
        return self.random.choice(ours)

    def _proof(self, batch: int) -> Picked:
        """Return the row that proves a batch."""
        return self.pick(
            lambda row: row["key"] == DIGESTS and row["source"] == f"{DIGESTS}/{batch}"
        )

    def _digest(self, batch: int) -> None:
        """Write the digest of a batch anew, or another one behind every anchor, or leave it."""
        some = [row["commitment"] for row in self.history.deliveries if row["batch"] == batch]
        shard, *_, row = self._proof(batch)
        fact = digest_fact(batch, some, len(some), row["occurred"])
        match self.random.randrange(3):
            case 0:
                row["data"] = (fact.data or b"").decode()
                self.hide(shard, always=True)
            case 1:
                self.history.append(self.random, shard, fact, microseconds(LATER))
            case _:
                pass


KINDS: dict[str, Callable[[LedgerForger], None]] = {
    "deleted": LedgerForger.deleted,
    "ended early": LedgerForger.ended_early,
    "chain gone": LedgerForger.gone,
    "inserted": LedgerForger.inserted,
    "re-ordered": LedgerForger.reordered,
    "re-salted": LedgerForger.salted,
    "re-split": LedgerForger.split,
    "re-numbered": LedgerForger.numbered,
    "chains exchanged": LedgerForger.exchanged,
    "columns of a decision": LedgerForger.denied,
    "row emptied": LedgerForger.empty_row,
    "cut": LedgerForger.cut,
    "restoration": LedgerForger.restored,
    "act altered": LedgerForger.altered_act,
    "delivery changed": LedgerForger.delivered,
    "delivery gone": LedgerForger.delivered_less,
    "delivery emptied": LedgerForger.delivered_emptied,
    **{
        f"column {name}": lambda forger, name=name: forger.altered(name)
        for name in (*_TEXTS, "occurred", "recorded", "data", "decision", "salt", "link")
    },
}


def forged(
    random: Random, history: HistoryCopy, anchors: Sequence[Anchor], kind: str
) -> LedgerForger:
    """Return a forger who has made a forgery of a kind.

    Raises:
        NothingToForgeError: the history has nothing of the kind.
    """
    aged = [one for one in anchors if one.timestamped_at is not None]
    forger = LedgerForger(random, history.copied(), places_of(anchors), places_of(aged), kind)
    KINDS[kind](forger)
    if forger.history == history:
        raise NothingToForgeError
    return forger
