"""The register of one brand: the current record of each key, and every movement in order.

It saves what it is given: the rules are applied before. The caller sets creation dates, and they
never go back.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from iys_simulator.rules.consent import Consent, ConsentKey, RecordSummary
from iys_simulator.store.accounts import Brand
from iys_simulator.store.database import Database, Row
from iys_simulator.store.movements import Movement, Origin, WritePath, sub_request_id
from iys_simulator.store.retailer_access import RetailerAccess

_PAGE_SIZE = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class SaveContext:
    """When movements are saved, and by whom.

    `second` is the creation date in epoch seconds, `occurred_at` the machine's epoch milliseconds.
    """

    second: int
    occurred_at: int
    origin: Origin


KnownRecords = dict[tuple[str, str], RecordSummary]
"""The records of one recipient, by type and recipientType."""

_NO_RECORDS: KnownRecords = {}


class Register:
    """Records and movements of one brand, in the simulator's database."""

    def __init__(self, database: Database, brand_code: int) -> None:
        self._database = database
        self.brand_code = brand_code
        self.access = RetailerAccess(database, brand_code)
        counts = database.row("counts", brand_code) or (0, 0, 0, 0)
        self._movements: int = counts[0]
        self.size: int = counts[1]
        self.approvals: int = counts[2]
        self.used_limit: int = counts[3]

    def is_full(self, brand: Brand) -> bool:
        """Return whether no further recipient may be registered (H525)."""
        return brand.consent_limit is not None and self.used_limit >= brand.consent_limit

    def has_recipient(self, recipient: str) -> bool:
        """Return whether the recipient has a record of any type."""
        return bool(self.records_of(recipient))

    def records_of(self, recipient: str) -> KnownRecords:
        """Return the records of one recipient."""
        rows = self._database.rows("records_of_recipient", self.brand_code, recipient)
        return {(row[0], row[1]): RecordSummary(*row[2:]) for row in rows}

    def records_of_all(self, recipients: Sequence[str]) -> dict[str, KnownRecords]:
        """Return the records of each recipient; a recipient without records is absent."""
        known: dict[str, KnownRecords] = {}
        queried = orjson.dumps(recipients).decode()
        for row in self._database.run("records_of_recipients", queried, self.brand_code):
            known.setdefault(row[0], {})[row[1], row[2]] = RecordSummary(*row[3:])
        return known

    def summary_of(self, key: ConsentKey) -> RecordSummary | None:
        """Return what the rules need of the key's record."""
        channel, recipient_type, recipient = key
        return self.records_of(recipient).get((channel, recipient_type))

    def find(self, key: ConsentKey) -> Movement | None:
        """Return the movement that is the key's record."""
        row = self._database.row("record", *self._columns(key))
        return _movement(row) if row else None

    def movement(self, row: int) -> Movement:
        """Return a movement by its row.

        Raises:
            LookupError: there is no such movement.
        """
        found = self._database.row("movement", row)
        if found is None:
            raise LookupError(f"no movement {row}")
        return _movement(found)

    def saved_items(self, first: int, count: int) -> list[Row]:
        """Return type and recipient of `count` movements from the row `first` on."""
        return self._database.rows("saved_items", first, first + count - 1) if count else []

    def history_of(self, key: ConsentKey) -> list[Movement]:
        """Return all movements of the key, the latest first."""
        return [_movement(row) for row in self._database.rows("history", *self._columns(key))]

    def saved_before(self, consent: Consent) -> Movement | None:
        """Return the movement by which a batch saved exactly this consent, if there is one."""
        for movement in self.history_of(consent.key):
            if movement.origin.path is WritePath.BATCH and movement.consent == consent:
                return movement
        return None

    def stream(
        self,
        *,
        is_citizens: bool,
        after: tuple[int, int],
        until: int,
        page_size: int = _PAGE_SIZE,
    ) -> Iterator[Movement]:
        """Yield one pull stream after a second and a row, up to but excluding `until`."""
        while True:
            values = (self.brand_code, is_citizens, *after, until, page_size)
            rows = self._database.rows("stream", *values)
            yield from map(_movement, rows)
            if len(rows) < page_size:
                return
            after = (rows[-1][2], rows[-1][0])

    def between(self, start: int, end: int) -> Iterator[Movement]:
        """Yield the movements created from `start` to before `end` (epoch seconds), in order."""
        streams = (
            self.stream(is_citizens=is_citizens, after=(start, 0), until=end)
            for is_citizens in (False, True)
        )
        return heapq.merge(*streams, key=lambda movement: (movement.second, movement.row))

    def rows_at(self, second: int, *, is_citizens: bool) -> list[Row]:
        """Return row, type and recipient of each movement of a stream in one second."""
        return self._database.rows("at_second", self.brand_code, is_citizens, second)

    def movements(self) -> Iterator[Movement]:
        """Yield all movements in order, including those saved meanwhile."""
        after = 0
        while rows := self._database.rows("movements_after", self.brand_code, after, _PAGE_SIZE):
            yield from map(_movement, rows)
            after = rows[-1][0]

    def records(self) -> Iterator[tuple[Movement, int]]:
        """Yield the current record of each key with its number of movements, in order of keys."""
        after = ("", "", "")
        while rows := self._database.rows("records_after", self.brand_code, *after, _PAGE_SIZE):
            for row in rows:
                yield _movement(row[:-1]), row[-1]
            after = (rows[-1][5], rows[-1][3], rows[-1][4])

    def response_to(self, digest: bytes, since: float) -> Movement | None:
        """Return the movement that answered a V2 single add of this digest after `since`."""
        row = self._database.row("v2_response", self.brand_code, digest, since)
        return self.movement(row[0]) if row else None

    def remember_response(self, digest: bytes, movement: Movement, now: float) -> None:
        """Remember which movement answered a V2 single add."""
        self._database.run("put_v2_response", self.brand_code, digest, movement.row, now)

    def save(self, consent: Consent, context: SaveContext, citizen_name: str = "") -> Movement:
        """Save `consent` as it is: the movement becomes the record of its key."""
        known = {consent.recipient: self.records_of(consent.recipient)}
        return self.movement(self.save_all([(None, consent)], known, context, citizen_name))

    def save_all(
        self,
        items: Sequence[tuple[int | None, Consent]],
        known: dict[str, KnownRecords],
        context: SaveContext,
        citizen_name: str = "",
    ) -> int:
        """Save consents of different keys, each with its place in a batch; return the first row.

        `known` has the records of their recipients. The movements take consecutive rows.
        """
        database, brand, origin = self._database, self.brand_code, context.origin
        head = (brand, origin.path is WritePath.CITIZEN, context.second)
        name, occurred_at = citizen_name or None, context.occurred_at
        movements, records = [], []
        new_recipients: set[str] = set()
        size, approvals = self.size, self.approvals
        with database.transaction():
            last = database.row("last_movement") or (0, 0)
            columns = (origin.path.value, origin.client, origin.request_id)
            origin_row = database.run("insert_origin", *columns).lastrowid
            for number, (place, consent) in enumerate(items, 1):
                channel, recipient_type, recipient, status, _, consent_date, retailer, listed = (
                    consent
                )
                row, times = last[0] + number, 1
                before = known.get(recipient, _NO_RECORDS).get((channel, recipient_type))
                change: tuple[int | None, bool] = (None, True)
                has_access = retailer is not None or bool(listed)
                if not known.get(recipient):
                    new_recipients.add(recipient)
                if before is None:
                    size += 1
                else:
                    times = before.times + 1
                    change = (before.movement, before.status != status)
                    approvals -= before.status == "ONAY"
                approvals += status == "ONAY"
                if has_access or (before is not None and before.has_access):
                    self.access.put(consent)
                access = orjson.dumps(listed) if listed else None
                facts = (access, name, occurred_at, self._movements + number, *change)
                movements.append((row, *head, *consent[:-1], *facts, origin_row, place))
                key = (brand, recipient, channel, recipient_type)
                records.append((*key, status, consent_date, row, times, has_access))
            database.run_many("insert_movement", movements)
            database.run_many("put_record", records)
            used_limit = self.used_limit + len(new_recipients)
            totals = (self._movements + len(items), size, approvals, used_limit)
            database.run("put_counts", brand, *totals)
        self._movements, self.size, self.approvals, self.used_limit = totals
        return int(last[0]) + 1

    def _columns(self, key: ConsentKey) -> tuple[int, str, str, str]:
        channel, recipient_type, recipient = key
        return (self.brand_code, recipient, channel, recipient_type)


def _movement(row: Row) -> Movement:
    path, client, request_id = row[16:19]
    place = row[15]
    origin = Origin(
        path=WritePath(path),
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
