"""The register of one brand: the current record of each key, and every movement in order.

It saves what it is told to save: rules are judged before. Creation dates are stamped by the caller
and never go back.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from iys_simulator.rules.fields import Consent
from iys_simulator.store.accounts import Brand
from iys_simulator.store.database import Database, Row
from iys_simulator.store.movements import Key, Movement, Origin, Path, Standing, sub_request_id
from iys_simulator.store.retailer_access import Access

_AT_ONCE = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Stamp:
    """When movements are saved, and by whom.

    `second` is the creation date in epoch seconds, `occurred_at` the machine's epoch milliseconds.
    """

    second: int
    occurred_at: int
    origin: Origin


Known = dict[tuple[str, str], Standing]
"""What is registered of one address, by type and recipientType."""


class Register:
    """Records and movements of one brand, in the twin's database."""

    def __init__(self, database: Database, brand_code: int) -> None:
        self._database = database
        self.brand_code = brand_code
        self.access = Access(database, brand_code)
        counts = database.row("counts", brand_code) or (0, 0, 0, 0)
        self._movements: int = counts[0]
        self.size: int = counts[1]
        self.approvals: int = counts[2]
        self.used_limit: int = counts[3]

    def is_full(self, brand: Brand) -> bool:
        """Whether no further address may be registered (H525)."""
        return brand.consent_limit is not None and self.used_limit >= brand.consent_limit

    def knows_address(self, recipient: str) -> bool:
        """Whether the address has a record of any type."""
        return bool(self.known_of(recipient))

    def known_of(self, recipient: str) -> Known:
        """Give what is registered of the address."""
        rows = self._database.rows("standing", self.brand_code, recipient)
        return {(row[0], row[1]): Standing(*row[2:]) for row in rows}

    def known_of_all(self, recipients: Sequence[str]) -> dict[str, Known]:
        """Give what is registered of each address; an address without records is absent."""
        known: dict[str, Known] = {}
        asked = orjson.dumps(recipients).decode()
        for row in self._database.run("standings", asked, self.brand_code):
            known.setdefault(row[0], {})[row[1], row[2]] = Standing(*row[3:])
        return known

    def standing(self, key: Key) -> Standing | None:
        """Give what rules ask of the key's record."""
        channel, kind, recipient = key
        return self.known_of(recipient).get((channel, kind))

    def find(self, key: Key) -> Movement | None:
        """Give the movement that is the key's record."""
        row = self._database.row("record", *self._names(key))
        return _movement(row) if row else None

    def movement(self, row: int) -> Movement:
        """Give a movement by its row; `LookupError` where there is none."""
        found = self._database.row("movement", row)
        if found is None:
            raise LookupError(f"no movement {row}")
        return _movement(found)

    def saved_items(self, first: int, count: int) -> list[Row]:
        """Give type and address of `count` movements from the row `first` on."""
        return self._database.rows("saved_items", first, first + count - 1) if count else []

    def count_of(self, key: Key) -> int:
        """How many movements of the key were accepted."""
        standing = self.standing(key)
        return standing.times if standing else 0

    def history_of(self, key: Key) -> list[Movement]:
        """Give all movements of the key, the latest first."""
        return [_movement(row) for row in self._database.rows("history", *self._names(key))]

    def saved_before(self, consent: Consent) -> Movement | None:
        """Give the movement by which a batch saved exactly this consent, if one did."""
        for movement in self.history_of(consent.key):
            if movement.origin.path is Path.BATCH and movement.consent == consent:
                return movement
        return None

    def stream(
        self, *, is_citizens: bool, behind: tuple[int, int], until: int, at_once: int = _AT_ONCE
    ) -> Iterator[Movement]:
        """Give one pull stream behind a second and a row, to before the second `until`."""
        while True:
            names = (self.brand_code, is_citizens, *behind, until, at_once)
            rows = self._database.rows("stream", *names)
            yield from map(_movement, rows)
            if len(rows) < at_once:
                return
            behind = (rows[-1][2], rows[-1][0])

    def between(self, start: int, end: int) -> Iterator[Movement]:
        """Give the movements created from `start` to before `end` (epoch seconds), in order."""
        streams = (
            self.stream(is_citizens=is_citizens, behind=(start, 0), until=end)
            for is_citizens in (False, True)
        )
        return heapq.merge(*streams, key=lambda movement: (movement.second, movement.row))

    def rows_at(self, second: int, *, is_citizens: bool) -> list[Row]:
        """Give row, type and address of each movement of a stream in one second."""
        return self._database.rows("at_second", self.brand_code, is_citizens, second)

    def movements(self) -> Iterator[Movement]:
        """Give all movements in order, those saved meanwhile too."""
        behind = 0
        while rows := self._database.rows("movements_behind", self.brand_code, behind, _AT_ONCE):
            yield from map(_movement, rows)
            behind = rows[-1][0]

    def records(self) -> Iterator[tuple[Movement, int]]:
        """Give the current record of each key with its number of movements, by key."""
        behind = ("", "", "")
        while rows := self._database.rows("records_behind", self.brand_code, *behind, _AT_ONCE):
            for row in rows:
                yield _movement(row[:-1]), row[-1]
            behind = (rows[-1][5], rows[-1][3], rows[-1][4])

    def answered(self, digest: bytes, since: float) -> Movement | None:
        """Give what a V2 single add of this digest was answered with after `since`."""
        row = self._database.row("answer", self.brand_code, digest, since)
        return self.movement(row[0]) if row else None

    def note_answer(self, digest: bytes, movement: Movement, now: float) -> None:
        """Remember what a V2 single add was answered with."""
        self._database.run("put_answer", self.brand_code, digest, movement.row, now)

    def save(self, consent: Consent, stamp: Stamp, citizen_name: str = "") -> Movement:
        """Accept `consent` as it is: the movement becomes the record of its key."""
        known = {consent.recipient: self.known_of(consent.recipient)}
        return self.movement(self.save_all([(None, consent)], known, stamp, citizen_name))

    def save_all(
        self,
        items: Sequence[tuple[int | None, Consent]],
        known: dict[str, Known],
        stamp: Stamp,
        citizen_name: str = "",
    ) -> int:
        """Accept consents of different keys, each with its place in a batch; the first one's row.

        `known` is what is registered of their addresses. They take rows one after another.
        """
        database, brand = self._database, self.brand_code
        origin, path = stamp.origin, stamp.origin.path
        movements, records, approvals = [], [], 0
        fresh: set[str] = set()
        size = self.size
        with database.transaction():
            last = database.row("last_movement") or (0, 0)
            names = (path.value, origin.client, origin.request_id)
            origin_row = database.run("insert_origin", *names).lastrowid
            for number, (place, consent) in enumerate(items, 1):
                row = last[0] + number
                address = known.get(consent.recipient)
                before = address.get((consent.type, consent.recipient_type)) if address else None
                has_access = consent.retailer_code is not None or bool(consent.retailer_access)
                if not address:
                    fresh.add(consent.recipient)
                if before is None:
                    size += 1
                approvals += (consent.status == "ONAY") - (
                    before is not None and before.status == "ONAY"
                )
                if has_access or (before is not None and before.has_access):
                    self.access.put(consent)
                access = orjson.dumps(consent.retailer_access) if consent.retailer_access else None
                movements.append(
                    (
                        row,
                        brand,
                        path is Path.CITIZEN,
                        stamp.second,
                        consent.type,
                        consent.recipient_type,
                        consent.recipient,
                        consent.status,
                        consent.source,
                        consent.consent_date,
                        consent.retailer_code,
                        access,
                        citizen_name or None,
                        stamp.occurred_at,
                        self._movements + number,
                        before.movement if before else None,
                        before is None or before.status != consent.status,
                        origin_row,
                        place,
                    )
                )
                records.append(
                    (
                        brand,
                        consent.recipient,
                        consent.type,
                        consent.recipient_type,
                        consent.status,
                        consent.consent_date,
                        row,
                        before.times + 1 if before else 1,
                        has_access,
                    )
                )
            database.run_many("insert_movement", movements)
            database.run_many("put_record", records)
            totals = (
                self._movements + len(items),
                size,
                self.approvals + approvals,
                self.used_limit + len(fresh),
            )
            database.run("put_counts", brand, *totals)
        self._movements, self.size, self.approvals, self.used_limit = totals
        return int(last[0]) + 1

    def _names(self, key: Key) -> tuple[int, str, str, str]:
        channel, kind, recipient = key
        return (self.brand_code, recipient, channel, kind)


def _movement(row: Row) -> Movement:
    path, client, request_id = row[16:19]
    place = row[15]
    origin = Origin(
        path=Path(path),
        client=client,
        request_id=request_id,
        sub_request_id="" if place is None else sub_request_id(request_id, place),
    )
    return Movement(
        row=row[0],
        brand_code=row[1],
        second=row[2],
        type=row[3],
        recipient_type=row[4],
        recipient=row[5],
        status=row[6],
        source=row[7],
        consent_date=row[8],
        retailer_code=row[9],
        retailer_access=tuple(orjson.loads(row[10])) if row[10] else (),
        citizen_name=row[11] or "",
        occurred_at=row[12],
        sequence=row[13],
        is_change=bool(row[14]),
        origin=origin,
    )
