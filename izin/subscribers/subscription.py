"""``subscribe``: opt-outs, permissions and outcomes as typed changes, each at least once.

No permission is delivered after an opt-out that is newer than its consent. The two topics have no
order between them, and the ledger may have published a permission before it knew of the opt-out.
The consumer groups do not help: another instance may have the opt-outs of the key, and what was
confirmed is not read again after a restart. So the topic of opt-outs is followed a second time,
without a group, and each permission is compared with it when it is delivered.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from functools import partial

from izin.consent import Channel, aware
from izin.consent.may_send import PermissionReason
from izin.kafka.access import KafkaAccess
from izin.kafka.follower import TopicFollower
from izin.kafka.tables.packed_permissions import PackedPermissions, whole_seconds
from izin.kafka.tables.permission_reader import consent_second
from izin.schemas.codec import Codec
from izin.subscribers.changes import (
    Change,
    ChangeKind,
    ChangeReader,
    CheckpointStore,
    KeyFilter,
    OptedOut,
    PermissionChanged,
    UnreadableRecord,
    topic_of,
)
from izin.subscribers.lane import Lane
from izin.subscribers.permission_list import OptOutTable, Reporter

_FRESH = 5.0
"""Seconds for which the opt-outs may not have been seen complete where a permission is let out."""


_HELD = 0.05
"""Seconds after which a change that must wait is looked at again."""


class OptOutGuard:
    """The opt-outs that the topic holds, of the keys that are wanted, in about 30 bytes each."""

    def __init__(self, access: KafkaAccess, codec: Codec, wanted: KeyFilter) -> None:
        self._known = PackedPermissions()
        self._table = OptOutTable(Reporter(self._known, None, wanted))
        self._follower = TopicFollower(access, codec, access.topics.opt_outs, self._table)
        self._running = ExitStack()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="opt-outs")

    async def open(self) -> None:
        """Begin to read the opt-outs.

        Raises:
            BrokerError: Kafka cannot be reached, or the topic does not exist.
        """
        following = self._follower.follow(complete=False)
        await self._in_thread(partial(self._running.enter_context, following))

    async def close(self) -> None:
        """End reading."""
        try:
            await self._in_thread(self._running.close)
        finally:
            self._thread.shutdown(wait=False)

    def review(self, change: Change) -> Change | None:
        """Return ``change`` as it is delivered; None: not before the opt-outs are known.

        A permission by a consent that is not newer than an opt-out of its key denies. Nothing but
        permissions that are to be compared waits.
        """
        match change:
            case OptedOut():
                self._table.close(change.key, whole_seconds(change.opted_out_at))
            case UnreadableRecord(kind=ChangeKind.OPT_OUTS, key=key) if key is not None:
                self._table.close(key, int(time.time()))
            case PermissionChanged(may_send=True):
                if not self._is_fresh():
                    return None
                given_at = consent_second(change.registered_at, change.consent_date)
                if self._known.is_closed(change.key.encode(), given_at):
                    return replace(change, may_send=False, reason=PermissionReason.OPTED_OUT)
            case _:
                pass
        return change

    def _in_thread(self, work: Callable[[], None]) -> Awaitable[None]:
        """Do one thing after the other: what is being opened is closed afterwards."""
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _is_fresh(self) -> bool:
        age = self._follower.age()
        return age is not None and age < _FRESH


def subscribe(  # noqa: PLR0913  # each but the first has a default
    subscriber: str,
    kinds: Collection[ChangeKind] = (ChangeKind.OPT_OUTS, ChangeKind.PERMISSIONS),
    *,
    since: datetime | None = None,
    brands: Collection[int] = (),
    channels: Collection[Channel] = (),
    checkpoints: CheckpointStore | None = None,
    access: KafkaAccess | None = None,
) -> AsyncGenerator[Change]:
    """Return the changes of ``kinds`` from now on, without an end, and opt-outs before others.

    Each change comes at least once, those of a key in their order within a topic; ``await
    change.done()`` confirms it. A change that is not confirmed comes again after a restart. A
    permission that is not newer than an opt-out of its key denies, with the reason ``opted-out``:
    for that the opt-outs are read from their beginning at each start, and permissions wait.
    ``subscriber`` names who it is: all instances of that name share the changes, and those of one
    that ends or is killed come to the others. It is the beginning of the names of the consumer
    groups, ``<subscriber>-<topic>``.

    Where there is no checkpoint yet, it begins with the first record not before the instant
    ``since``, or with the first that the topic has. ``brands`` and ``channels`` leave out the
    changes of all others. ``checkpoints`` are kept in Kafka, or in the store that is given.
    ``access`` says how Kafka is reached; by default the variables of izin do.

    The subscription ends when the generator is closed: with its task, at the end of
    ``contextlib.aclosing(subscribe(…))``, or soon after a ``break``.

    Raises, when the first change is asked for or later:
        BrokerError: Kafka cannot be reached at the start, or refuses to serve this subscriber.
        CheckpointLostError: what follows a checkpoint is no longer in the topic.
        UnconfirmedChangesError: too many changes were delivered and not confirmed.

    Raises:
        NaiveInstantError: ``since`` has no time zone.
        SettingError, RegistryError, UnusableSchemaError: the variables, or ``access``, are wrong.
        ValueError: no subscriber or no kind is named.
    """
    if not subscriber or not kinds:
        raise ValueError("name the subscriber, and at least one kind of changes")
    if since is not None:
        aware("since", since)
    access = KafkaAccess.from_environment() if access is None else access
    codec = access.codec(writes=())
    wanted = KeyFilter(brands=frozenset(brands), channels=frozenset(channels))
    guard = OptOutGuard(access, codec, wanted) if ChangeKind.PERMISSIONS in kinds else None
    make = partial(Lane, access, subscriber=subscriber, since=since, store=checkpoints)
    if guard is not None:
        make = partial(make, review=guard.review)
    makers = [
        partial(
            make,
            topic=topic_of(kind, access.topics).name,
            make_reader=partial(ChangeReader, kind, access.topics, codec, wanted),
        )
        for kind in ChangeKind  # opt-outs come first
        if kind in kinds
    ]
    return _changes(makers, guard)


async def _changes(
    makers: Collection[partial[Lane]], guard: OptOutGuard | None
) -> AsyncGenerator[Change]:
    lanes = [make() for make in makers]
    opened: list[Lane | OptOutGuard] = [*lanes, *([] if guard is None else [guard])]
    fetches: dict[Lane, asyncio.Task[None]] = {}
    try:
        await asyncio.gather(*(one.open() for one in opened))
        while True:
            yield await _next(lanes, fetches)
    finally:
        # The thread of a lane ends its fetch before it closes.
        await asyncio.gather(*(one.close() for one in opened))
        await asyncio.gather(*fetches.values(), return_exceptions=True)


async def _next(lanes: Collection[Lane], fetches: dict[Lane, asyncio.Task[None]]) -> Change:
    """Return the next change, of the first lane that has one."""
    while True:
        for lane in lanes:
            fetch = fetches.get(lane)
            if fetch is not None and fetch.done():
                del fetches[lane]
                fetch.result()
            if lane.is_empty and lane not in fetches:
                fetches[lane] = asyncio.create_task(lane.fetch())
        for lane in lanes:
            change = lane.next()
            if change is not None:
                return change
        is_held = any(not lane.is_empty for lane in lanes)
        if fetches:
            limit = _HELD if is_held else None
            await asyncio.wait(fetches.values(), timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(_HELD)
