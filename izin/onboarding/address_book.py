"""What the files of a first loading say of each key, and what is known of them.

The rows are kept on disk, so that any number fits: in a temporary file of SQLite, which the system
removes with the process; it has recipients in full. The latest row of a key counts, as in the order
stage. What is known comes from the ledger, and from İYS where it is asked.

İYS's multiple query names the recipients at ONAY and nothing else: of the others it does not say
whether they opted out or were never registered (reference 2.5). The ledger knows opt-outs.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Any, NamedTuple

from izin.consent import AdmittedEvent, ConsentKey, Registered, Status
from izin.consent.forecast import DueGroup
from izin.iys.client import MAX_ITEMS
from izin.ledger.db import Ledger, statements
from izin.ledger.record import Brand
from izin.reconcile.comparing import swept
from izin.runtime.plan import OnProgress, silent
from izin.sinks.inbound.sweep import PageQuery

_SQL = statements("address_book", "izin.onboarding")
_CHUNK = 5000
_LEDGER = statements("onboarding")
_PAGE = 5000


class BookKey(NamedTuple):
    """A key of the book."""

    number: int
    brand_code: int
    channel: str
    recipient_type: str
    recipient: str

    @property
    def key(self) -> str:
        """The canonical key."""
        return f"{self.brand_code}/{self.channel}/{self.recipient_type}/{self.recipient}"


class StoredKey(NamedTuple):
    """What the ledger has of a key of the book."""

    registered: str
    """What İYS holds, as far as known: a value of ``Registered``."""
    desired: str | None
    desired_at: datetime | None
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressCount:
    """The distinct addresses of a brand."""

    phones: int
    emails: int

    @property
    def total(self) -> int:
        """Both."""
        return self.phones + self.emails


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneCount:
    """What the files have for one brand and channel; all but ``rows`` are keys."""

    brand_code: int
    channel: str
    rows: int
    keys: int
    opt_outs: int
    consents: int
    """Opt-ins; those that follow are among them."""
    taken: int
    """İYS would take them."""
    lawful: int
    void: int
    """Not lawful: never published."""
    held: int
    """İYS is known to hold ONAY."""
    refused: int
    """Their recipient is known to have opted out, at İYS or here."""
    to_send: int
    """Lawful, and neither held, nor refused, nor stored."""
    stored: int
    """Keys of which the ledger has this already, or something newer."""
    opt_outs_held: int
    """Opt-outs of which İYS is known to hold an ONAY."""
    in_ledger: int
    """Keys that the ledger has, and İYS was not asked about."""
    asked: int
    """Keys that İYS was asked about."""

    @property
    def duplicates(self) -> int:
        """Rows that another row of the same key replaces."""
        return self.rows - self.keys


class AddressBook(ExitStack):
    """What files say of each key. A context manager; ``add`` all rows, then ``finish``."""

    def __init__(self) -> None:
        super().__init__()
        self._db = self.enter_context(closing(sqlite3.connect("", isolation_level=None)))
        self._waiting: list[tuple[Any, ...]] = []
        for name in ("open", "bound", "spill", "create-rows"):
            self._db.execute(_SQL[name])

    def add(
        self, one: AdmittedEvent, *, due_at: datetime | None, expires_at: datetime | None
    ) -> None:
        """Add what a row says; İYS wants it by ``due_at`` and takes it until ``expires_at``."""
        key, at = one.key, int(one.effective_at.timestamp())
        is_opt_out = one.status is Status.RET
        self._waiting.append(
            (
                key.brand_code,
                str(key.channel),
                str(key.recipient_type),
                key.recipient,
                str(one.status),
                at,
                _seconds(due_at),
                _seconds(expires_at),
                f"{at:012}{is_opt_out:d}{one.event.event_id}",
            )
        )
        if len(self._waiting) >= _CHUNK:
            self._flush("add", self._waiting)
            self._waiting.clear()

    def finish(self) -> None:
        """Keep the latest row of each key; nothing is added afterwards."""
        self._flush("add", self._waiting)
        self._waiting.clear()
        for name in ("create-keys", "drop-rows", "index-keys"):
            self._db.execute(_SQL[name])

    def pages(self, size: int) -> Iterator[list[BookKey]]:
        """Yield every key, so many at a time."""
        yield from self._pages("page", size, {})

    def groups_to_ask(self) -> list[Mapping[str, Any]]:
        """Return brand, channel and recipient type of opt-ins that nobody is known to have
        registered, with how many ``keys`` each has.
        """
        return self._rows("groups-to-ask")

    def consents_of(self, group: Mapping[str, Any], size: int) -> Iterator[list[BookKey]]:
        """Yield the keys of one of those groups, so many at a time."""
        yield from self._pages("consents-of", size, group)

    def note_ledger(self, found: Iterable[StoredKey]) -> None:
        """Note what the ledger has of keys."""
        rows = (
            (key.registered, key.desired, _seconds(key.desired_at), key.number) for key in found
        )
        self._flush("note-ledger", rows)

    def note_iys(self, found: Iterable[tuple[Registered, int]]) -> None:
        """Note what İYS says of keys, which are named by their numbers."""
        self._flush("note-iys", ((str(value), number) for value, number in found))

    def holds_onay(self, key: ConsentKey) -> bool:
        """Whether İYS is known to hold ONAY of a key."""
        row = self._db.execute(
            _SQL["registered"],
            (key.brand_code, str(key.channel), str(key.recipient_type), key.recipient),
        ).fetchone()
        return row is not None and row[0] == Registered.ONAY

    def brands(self) -> list[int]:
        """Return the codes of the brands of all rows."""
        return [row["brand_code"] for row in self._rows("brands")]

    def addresses(self) -> dict[int, AddressCount]:
        """Return how many addresses have an opt-in, by brand."""
        return {
            row["brand_code"]: AddressCount(phones=row["phones"], emails=row["emails"])
            for row in self._rows("addresses")
        }

    def judge(self, lawful_until: Callable[[int, int], int]) -> None:
        """Set by what ``lanes`` and ``groups`` judge an opt-in: by the instant at which it was
        given, in seconds, and its brand.
        """
        self._db.create_function("lawful_until", 2, lawful_until, deterministic=True)

    def lanes(self, now: datetime) -> list[LaneCount]:
        """Return what there is for each brand and channel."""
        return [LaneCount(**row) for row in self._rows("lanes", now=_seconds(now))]

    def groups(self, now: datetime) -> list[DueGroup]:
        """Return what is to be submitted, by status and deadlines."""
        return [
            DueGroup(
                status=Status(row["status"]),
                due_at=_instant(row["due_at"]),
                expires_at=_instant(row["expires_at"]),
                count=row["count"],
            )
            for row in self._rows("groups", now=_seconds(now))
        ]

    def _flush(self, name: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self._db.execute("BEGIN")
        self._db.executemany(_SQL[name], rows)
        self._db.execute("COMMIT")

    def _pages(self, name: str, size: int, values: Mapping[str, Any]) -> Iterator[list[BookKey]]:
        after = 0
        while True:
            rows = self._db.execute(_SQL[name], {**values, "after": after, "size": size}).fetchall()
            if not rows:
                return
            found = [BookKey(*row) for row in rows]
            after = found[-1].number
            yield found

    def _rows(self, name: str, **values: object) -> list[Mapping[str, Any]]:
        cursor = self._db.execute(_SQL[name], values)
        titles = [one[0] for one in cursor.description]
        return [dict(zip(titles, row, strict=True)) for row in cursor.fetchall()]


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())


def _instant(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


async def note_ledger(ledger: Ledger, book: AddressBook) -> None:
    """Note what the ledger knows of the keys of ``book``."""
    for page in book.pages(_PAGE):
        numbers = {key.key: key.number for key in page}
        rows = await ledger.fetch(_LEDGER["held-of"], {"keys": list(numbers)})
        book.note_ledger(
            StoredKey(
                row["registered"], row["desired_status"], row["desired_at"], numbers[row["key"]]
            )
            for row in rows
        )


def requests_to_ask(book: AddressBook) -> int:
    """Return how many requests :class:`IysQuery` makes at least."""
    return sum(ceil(group["keys"] / MAX_ITEMS) for group in book.groups_to_ask())


@dataclass(frozen=True, slots=True, kw_only=True)
class IysQuery:
    """Asks İYS which opt-ins of a book it holds, as a sweep does and within its share."""

    query: PageQuery
    on_progress: OnProgress = silent

    async def __call__(self, book: AddressBook, brands: Mapping[int, Brand]) -> int:
        """Note what İYS says; return how many recipients it refuses to look up.

        Raises:
            CallError: İYS does not answer, or does not let us ask.
        """
        groups = book.groups_to_ask()
        total, done, refused = sum(one["keys"] for one in groups), 0, 0
        for group in groups:
            names = {name: group[name] for name in ("brand_code", "channel", "recipient_type")}
            for page in book.consents_of(names, MAX_ITEMS):
                numbers = {key.key: key.number for key in page}
                found = await self.query.query(
                    brands[group["brand_code"]], tuple(swept(one.key) for one in page)
                )
                book.note_iys(
                    (
                        Registered.ONAY if found.is_approved(one) else Registered.NOT_ONAY,
                        numbers[one.key],
                    )
                    for one in found.keys
                    if one.key not in found.refused
                )
                refused += len(found.refused)
                done += len(page)
                self.on_progress(done, total)
        return refused
