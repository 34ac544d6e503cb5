"""From which instant an event counts that counts from its receipt: the same at every endpoint.

Counted from its own receipt, a retry would override an opt-out (RET) that was given in between, and
a RET an opt-in (ONAY). The greatest instant wins, so what has won cannot be lowered afterwards: the
instant must be right before the event is published. The topic ``first-receipts`` decides it. An
endpoint

1. appends (event id, its receipt) to the partition of the id,
2. reads that partition up to its own record,
3. takes the first record of the id, whoever wrote it, and publishes the event with that instant.

All endpoints read the same records in the same order, so all take the same one. Whatever fails
between the steps, a retry repeats them and finds the earlier record; a record whose endpoint died
before it published is the first receipt all the same. A receipt counts no later than the broker's
append of its record: no endpoint's clock can put it ahead.

A date that lay ahead at the first receipt may lie in the past at the retry. So a recent date is
looked up without a record of its own: the partition is read up to where it ends now.

An Idempotency-Key is bound to the body of its first request in the same way: by a record whose id
is half of the key's hash, and half of the body's. Of ids that begin alike the first one counts.

The fold of the records is pure and here; :mod:`izin.producers.intake.receipt_log` does the I/O.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

from izin.consent import SKEW
from izin.runtime.errors import BrokerError
from izin.schemas.fast.writer import EPOCH, MILLISECOND

KEPT = timedelta(days=1)
"""How long a first receipt is decisive. After it a repetition is a new act."""

HALF = 8
"""Bytes of an id that name a request by its Idempotency-Key; the others are of its body."""
_BUCKETS = 4096
_ID = 16
_SLOT = 24
_KEPT = KEPT // MILLISECOND
_SWEPT_EVERY = timedelta(minutes=1)
T = TypeVar("T")


class ReceiptTable:
    """The first receipt of each event id in 24 bytes: sixteen of the id, eight of the instant.

    A dict would take six times as much. The ids are UUIDv5, so their first bits spread them over
    the buckets evenly, and a bucket is searched by ``bytearray.find``: about a microsecond for a
    million. What a bucket has reserved to grow adds up to a third.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, bytearray] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size // _SLOT

    def add(self, event_id: bytes, received_at: datetime) -> None:
        """Add a receipt, unless the id has one that is still decisive."""
        bucket, instant = self._bucket(event_id), _milliseconds(received_at)
        at = _find(bucket, event_id)
        if at is not None:
            if instant - _instant(bucket, at) <= _KEPT:
                return
            self._size -= _SLOT
            del bucket[at : at + _SLOT]
        self._size += _SLOT
        bucket += event_id + instant.to_bytes(_SLOT - _ID, "big")

    def find(self, event_id: bytes) -> datetime | None:
        """Return the first receipt of ``event_id``, if it is known."""
        bucket = self._bucket(event_id)
        at = _find(bucket, event_id)
        return None if at is None else EPOCH + _instant(bucket, at) * MILLISECOND

    def first(self, half: bytes, now: datetime) -> bytes | None:
        """Return the first id that begins with ``half`` of one, and is decisive at ``now``."""
        bucket, oldest = self._bucket(half), _milliseconds(now) - _KEPT
        at = _find(bucket, half)
        while at is not None and _instant(bucket, at) < oldest:
            at = _find(bucket, half, at + _SLOT)
        return None if at is None else bytes(bucket[at : at + _ID])

    def expire(self, now: datetime) -> None:
        """Remove what is no longer decisive at ``now``."""
        oldest = _milliseconds(now) - _KEPT
        for bucket in self._buckets.values():
            # In the order of the log, which is that of the instants but for the clocks' skew.
            slots = range(0, len(bucket), _SLOT)
            end = bisect_left(slots, oldest, key=partial(_instant, bucket)) * _SLOT
            self._size -= end
            del bucket[:end]

    def _bucket(self, event_id: bytes) -> bytearray:
        return self._buckets.setdefault(int.from_bytes(event_id[:2], "big") % _BUCKETS, bytearray())


def _find(bucket: bytearray, event_id: bytes, start: int = 0) -> int | None:
    at = bucket.find(event_id, start)
    while at > 0 and at % _SLOT:
        at = bucket.find(event_id, at + 1)
    return None if at < 0 else at


def _instant(bucket: bytearray, at: int) -> int:
    return int.from_bytes(bucket[at + _ID : at + _SLOT], "big")


def _milliseconds(at: datetime) -> int:
    return max((at - EPOCH) // MILLISECOND, 0)


class Lookup(StrEnum):
    """What has to be asked about the first receipt of an identified event."""

    CLAIM = "claim"
    """It counts from its first receipt."""
    RECALL = "recall"
    """It counts from its date, unless an earlier attempt was received ahead of the date."""
    NONE = "none"
    """It counts from its date."""


def lookup_of(date: datetime | None, *, now: datetime, skew: timedelta) -> Lookup:
    """Return what to ask about an event of ``date`` that is received ``now``, by a clock that may
    be ahead of the broker's by ``skew``.
    """
    if date is None or date > now - skew:
        return Lookup.CLAIM
    # No attempt was accepted further ahead of the date, and none is repeated after a day.
    return Lookup.RECALL if date > now - KEPT - SKEW else Lookup.NONE


class ReceiptsFullError(BrokerError):
    """More events than the setting allows await the end of their day, in all or of one key."""

    def __init__(self, limit: int, of_key: int) -> None:
        super().__init__(
            f"{of_key} first receipts of one key in a day are its share of the limit of {limit}; "
            "set IZIN_INTAKE_FIRST_RECEIPTS higher at every intake"
        )


class FirstReceipts:
    """The records of the topic, read up to a position in each partition. Thread-safe.

    Up to ``limit`` event ids are claimed; beyond it, only those that are known already. Of a day's
    claims one key may have as many as are still free: alone it has half, and no key takes what
    others need (as requests in progress are shared, ``http_server.shedding``).
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._table = ReceiptTable()
        self._positions: dict[int, int] = {}
        self._waiting: dict[int, list[tuple[int, int, Callable[[], Any], Future[Any]]]] = {}
        self._sequence = count()
        self._swept_at: datetime | None = None
        self._claimed: dict[str, tuple[datetime, int]] = {}
        """By key: since when its claims are counted, and how many there were."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._table)

    def take_room(self, now: datetime, by: str) -> None:
        """Count a claim of the key ``by``; raises ReceiptsFullError where it may have no more."""
        with self._lock:
            begun, claimed = self._claimed.get(by, (now, 0))
            if now - begun > KEPT:
                begun, claimed = now, 0
            if not self._has_room(claimed):
                if self._swept_at is None or now - self._swept_at >= _SWEPT_EVERY:
                    self._swept_at = now
                    self._table.expire(now)
                if not self._has_room(claimed):
                    raise ReceiptsFullError(self._limit, claimed)
            self._claimed[by] = (begun, claimed + 1)

    def _has_room(self, claimed: int) -> bool:
        return claimed < self._limit - len(self._table)

    def read(
        self,
        partition: int,
        offset: int,
        event_id: bytes,
        received_at: datetime,
        *,
        appended_at: datetime,
    ) -> None:
        """Take the record at ``offset``."""
        with self._lock:
            self._table.add(event_id, min(received_at, appended_at))
        self.read_to(partition, offset + 1)

    def read_to(self, partition: int, position: int) -> None:
        """Note that everything below ``position`` was read, and answer who waited for it."""
        ready = []
        with self._lock:
            self._positions[partition] = position
            waiting = self._waiting.get(partition, [])
            while waiting and waiting[0][0] <= position:
                _, _, find, future = heappop(waiting)
                ready.append((future, find()))
        for future, found in ready:
            future.set_result(found)

    def after(self, partition: int, position: int, event_id: bytes) -> Future[datetime | None]:
        """Return the first receipt of ``event_id`` once everything below ``position`` was read;
        None if there is none.
        """
        return self._once_read(partition, position, partial(self._table.find, event_id))

    def request_after(
        self, partition: int, position: int, half: bytes, now: datetime
    ) -> Future[bytes | None]:
        """Return the first id that begins with ``half`` once everything below ``position`` was
        read.
        """
        return self._once_read(partition, position, partial(self._table.first, half, now))

    def _once_read(self, partition: int, position: int, find: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._positions.get(partition, 0) < position:
                waiter = position, next(self._sequence), find, future
                heappush(self._waiting.setdefault(partition, []), waiter)
                return future
            found = find()
        future.set_result(found)
        return future
