"""A permission list that keeps itself: read to its end, followed from then on, asked in memory.

It says yes only where the topic ``permissions`` says so, no later opt-out is in
``consent-opt-outs``, and both topics were seen complete a short time ago. A key that it does not
know is a no. An opt-out is read by a thread of its own, so it closes a key without waiting for the
ledger, nor behind a million permissions that changed at once.
"""

import asyncio
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from time import monotonic, time
from typing import Self

from izin.consent import Channel, ConsentKey, SourceError, Status, normalised
from izin.consent.may_send import PermissionReason
from izin.kafka.access import KafkaAccess
from izin.kafka.follower import TopicFollower
from izin.kafka.tables.packed_permissions import Known, PackedPermissions, whole_seconds
from izin.kafka.tables.permission_reader import facts_of
from izin.runtime.plain_log import PlainLogger
from izin.schemas.codec import UndecodableError
from izin.schemas.partitioning import partition_of
from izin.schemas.records import UNREADABLE, AvroRecord, consent_from_avro, key_from_avro
from izin.subscribers.changes import KeyFilter, known_or_text

_log = PlainLogger(__name__)
STALE_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Whether a commercial message may be sent, and why."""

    may_send: bool
    reason: PermissionReason | str
    """A text only where a later release has a new reason."""


UNKNOWN = Answer(may_send=False, reason=PermissionReason.NOT_REGISTERED)

OnChange = Callable[[ConsentKey, Answer], None]
"""Called with a key and its new answer."""


def answer_of(known: Known | None) -> Answer:
    """Return the answer for a key of which so much is ``known``; None: nothing."""
    if known is None:
        return UNKNOWN
    return Answer(may_send=known.may_send, reason=known_or_text(PermissionReason, known.reason))


class Reporter:
    """Calls ``on_change`` once the list is complete, and counts what could not be read."""

    def __init__(
        self, known: PackedPermissions, on_change: OnChange | None, wanted: KeyFilter
    ) -> None:
        self.known = known
        self.wanted = wanted
        self.unreadable = 0
        self._on_change = on_change
        self._has_begun = threading.Event()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Report changes from now on."""
        self._has_begun.set()

    def changed(self, key: ConsentKey) -> None:
        """Report that the answer for ``key`` changed."""
        if self._on_change is None or not self._has_begun.is_set():
            return
        try:
            self._on_change(key, answer_of(self.known.find(key.encode())))
        except Exception as error:  # noqa: BLE001  # the caller's code must not end the list
            _log.error("on_change failed", error=type(error).__name__)

    def unreadable_key(self, data: bytes) -> ConsentKey | None:
        """Count a record that cannot be read; return its key if that can be, and is wanted."""
        with self._lock:
            self.unreadable += 1
        try:
            key = ConsentKey.parse(data.decode())
        except (SourceError, ValueError):
            return None
        return key if self.wanted.has(key) else None


class PermissionTable:
    """What is known, as the topic of permissions fills it."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._known = reporter.known

    def put(self, record: AvroRecord) -> None:
        """Take the ledger's answer."""
        key = key_from_avro(record)
        if not self._reporter.wanted.has(key):
            return
        if self._known.put(key.encode(), facts_of(record)):
            self._reporter.changed(key)

    def remove(self, key: bytes) -> None:
        """Forget a key that was erased."""
        if self._known.remove(key):
            self._reporter.changed(ConsentKey.parse(key.decode()))

    def unreadable(self, key: bytes) -> None:
        """Close the key, for its latest answer may be a no."""
        found = self._reporter.unreadable_key(key)
        if found is not None and self._known.deny(key, UNREADABLE):
            self._reporter.changed(found)


class OptOutTable:
    """What is known, as the topic of opt-outs closes it."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._known = reporter.known

    def put(self, record: AvroRecord) -> None:
        """Close a key."""
        consent = consent_from_avro(record)
        if consent.status is not Status.RET:
            raise UndecodableError(f"not an opt-out: its status is {consent.status}")
        if self._reporter.wanted.has(consent.key):
            self.close(consent.key, whole_seconds(consent.effective_at))

    def remove(self, key: bytes) -> None:
        """Close the key: a record of this topic has a value, whatever was meant."""
        self.unreadable(key)

    def unreadable(self, key: bytes) -> None:
        """Close the key until a consent that is given after now: the opt-out's instant is lost."""
        found = self._reporter.unreadable_key(key)
        if found is not None:
            self.close(found, int(time()))

    def close(self, key: ConsentKey, opted_out_at: int) -> None:
        """Close a key by an opt-out at ``opted_out_at``, in whole seconds."""
        if self._known.opt_out(key.encode(), opted_out_at):
            self._reporter.changed(key)


_STALE = Answer(may_send=False, reason=PermissionReason.STALE)


class PermissionList:
    """Answers whether messages may be sent. An async context manager, and safe among threads.

    ``brands`` and ``channels`` leave out all other keys: the answer for those is no.
    ``stale_after`` is for how long a partition may not have been seen complete: beyond it every
    answer for its keys is no. One that cannot be read keeps the list neither from the others nor
    from a start. From the moment when it is complete ``on_change`` is called for each answer that
    changes, in a thread of the list: one call at a time for each topic, and the next record waits
    for it. ``access`` says how Kafka is reached; by default the variables of izin do.

    It takes about 30 bytes of memory for a key. Entering the context reads both topics to their
    ends.

    Raises, where the context is entered:
        BrokerError: Kafka cannot be reached, or a topic does not exist.
        SettingError, RegistryError, UnusableSchemaError: the variables, or ``access``, are wrong.
    """

    def __init__(
        self,
        *,
        brands: Collection[int] = (),
        channels: Collection[Channel] = (),
        stale_after: timedelta = STALE_AFTER,
        on_change: OnChange | None = None,
        access: KafkaAccess | None = None,
    ) -> None:
        self._access = access
        self._stale_after = stale_after.total_seconds()
        self._known = PackedPermissions()
        wanted = KeyFilter(brands=frozenset(brands), channels=frozenset(channels))
        self._reporter = Reporter(self._known, on_change, wanted)
        self._followers: tuple[TopicFollower, ...] = ()
        self._running = ExitStack()

    async def __aenter__(self) -> Self:
        access = KafkaAccess.from_environment() if self._access is None else self._access
        codec, topics = access.codec(writes=()), access.topics
        # The opt-outs first, so that the reasons are those of the ledger, which come later.
        tables = (
            (topics.opt_outs, OptOutTable(self._reporter)),
            (topics.permissions, PermissionTable(self._reporter)),
        )
        self._followers = tuple(TopicFollower(access, codec, *table) for table in tables)
        reading = asyncio.ensure_future(asyncio.to_thread(self._start))
        try:
            await asyncio.shield(reading)
        except BaseException:
            for follower in self._followers:
                follower.stop()
            await asyncio.wait([reading])
            reading.exception()  # what is raised here may be the cancellation instead
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    def may_send(self, key: ConsentKey) -> bool:
        """Return whether a commercial message may be sent to ``key`` now."""
        return self.answer(key).may_send

    def answer(self, key: ConsentKey) -> Answer:
        """Return whether a commercial message may be sent to ``key`` now, and why.

        Its recipient may be written in any usual notation.
        """
        given, canonical = key.encode(), normalised(key).encode()
        since = monotonic() - self._stale_after
        seen_at = [
            follower.complete_at(partition_of(canonical, len(follower.positions) or 1))
            for follower in self._followers
        ]
        if min(seen_at, default=-inf) < since:
            return _STALE
        return answer_of(self._known.find(given) or self._known.find(canonical))

    @property
    def age(self) -> timedelta | None:
        """For how long the list was not seen complete; None: it never was, or it is closed."""
        ages = [follower.age() for follower in self._followers]
        if not ages or None in ages:
            return None
        return timedelta(seconds=max(one for one in ages if one is not None))

    @property
    def is_stale(self) -> bool:
        """Whether the list was not seen complete for too long: the answer for the keys of each
        partition of which that is true is no.
        """
        ages = [follower.age() for follower in self._followers]
        return not ages or any(age is None or age > self._stale_after for age in ages)

    @property
    def unreadable(self) -> int:
        """How many records could not be read. Their keys are closed; the log has their places."""
        return self._reporter.unreadable

    def __len__(self) -> int:
        """Return how many keys are known, whatever the answer."""
        return len(self._known)

    def __sizeof__(self) -> int:
        """Return how many bytes the known keys take."""
        return sys.getsizeof(self._known)

    async def _close(self) -> None:
        for follower in self._followers:
            follower.stop()
        self._followers = ()
        await asyncio.to_thread(self._running.close)

    def _start(self) -> None:
        for follower in self._followers:
            self._running.enter_context(follower.follow(partly=True))
        self._reporter.begin()
