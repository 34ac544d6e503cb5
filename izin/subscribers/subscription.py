"""``subscribe``: opt-outs, permissions and outcomes as typed changes, each at least once."""

import asyncio
from collections.abc import AsyncGenerator, Collection
from datetime import datetime
from functools import partial

from izin.consent.model import Channel, aware
from izin.runtime.kafka_environment import KafkaAccess
from izin.subscribers.changes import Change, ChangeKind
from izin.subscribers.checkpoints import CheckpointStore
from izin.subscribers.lane import Lane
from izin.subscribers.opt_out_guard import OptOutGuard
from izin.subscribers.reading import ChangeReader, KeyFilter, topic_of

_HELD = 0.05
"""Seconds after which a change that must wait is looked at again."""


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
