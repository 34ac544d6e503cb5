"""Store opt-outs (RET) of the express lane ahead of the decisions that stand before them.

Decisions of both lanes come in one topic. A first load or an outage leaves millions of them unread,
and an opt-out must not wait until all are stored. The ledger knows no order of arrival, so while
its reader is behind, the topic is searched for opt-outs up to its end, and they are stored with
their positions unchanged: each is read again in its turn, and changes nothing then. A search that
is started again passes those that the history has already.

A new reader gives the search a head start: its first batches, all of a backlog, would have the
database and the event loop to themselves while the search opens.

Only the express lane is searched for: an opt-out that was published with the bulk is bulk. Stored
ahead it would have every decision before it on its lane looked up in the history, one by one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from confluent_kafka import Message

from izin.runtime.observe import get_logger
from izin.runtime.task_cancellation import with_pauses
from izin.schemas.fast.writer import long_bytes
from izin.sinks.ingest.batch import FEW, recorded_offsets
from izin.sinks.ingest.decision_reader import DecisionReader, IncomingDecision
from izin.sinks.ingest.isolation import is_poison, store_apart
from izin.sinks.ingest.topic_reader import IngestContext, Moves, TopicReader, open_reader

_SEARCHED_AT_ONCE = 4000
_MOST_FOUND = 10_000
"""With more found than this, the search waits until some are stored: memory is bounded."""
_WAIT = 0.2
_LOOK_EVERY = 0.2
HEAD_START = 5.0
"""The most seconds that a new reader waits for its first search."""

_log = get_logger(__name__)


Store = Callable[[str, str, Sequence[IncomingDecision], Moves], Awaitable[int]]
"""Stores decisions of a topic and its id, and offsets, in one transaction."""


class OptOutsAhead:
    """Searches the topic while a reader ``is_behind``, and has ``store`` what it finds."""

    def __init__(
        self,
        context: IngestContext,
        decisions: DecisionReader,
        *,
        is_behind: Callable[[], bool],
        store: Store,
    ) -> None:
        self._context = context
        self._decisions = decisions
        self._is_behind = is_behind
        self._write = store
        self._is_released = asyncio.Event()
        self._express = context.settings.topics.express.name
        name = self._express.encode()
        self._mark = long_bytes(len(name)) + name
        """What every decision has whose event came by the express lane, and hardly another."""

    async def run(self) -> None:
        """Search once, and whenever the reader is behind, until cancelled.

        Raises: StreamUnavailableError, RecreatedTopicError, ConcurrentChangeError.
        """
        while True:
            if self._is_behind() or not self._is_released.is_set():
                await self._search()
                self._is_released.set()
            await asyncio.sleep(_LOOK_EVERY)

    async def head_start(self, seconds: float) -> None:
        """Wait until the first search has stored what it found, at most ``seconds``."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_released.wait(), seconds)
        self._is_released.set()

    async def _search(self) -> None:
        """Search up to the end of the topic, or while the reader is behind, and store meanwhile
        what was found so far: a batch that is stored ahead waits for one of the reader.
        """
        context = self._context
        recorded = await recorded_offsets(context.ledger, self._express)
        topic = await open_reader(context, context.settings.topics.decisions.name, lost="earliest")
        found: list[IncomingDecision] = []
        count = 0
        storing = asyncio.create_task(self._store(topic, []))
        try:
            unread = set(topic.positions)
            while self._is_behind() or (unread and not self._is_released.is_set()):
                messages = await topic.poll(_SEARCHED_AT_ONCE, _WAIT)
                new = await self._opt_outs(messages, recorded)
                topic.moved(topic.moves(messages))
                unread -= topic.at_end
                found, count = found + new, count + len(new)
                if storing.done() or len(found) > _MOST_FOUND:
                    await storing
                    batch, found = found[:FEW], found[FEW:]
                    storing = asyncio.create_task(self._store(topic, batch))
            await storing
            await self._store(topic, found)
        finally:
            storing.cancel()
            await asyncio.gather(storing, return_exceptions=True)
            await topic.close()
        if count:
            _log.info("opt-outs stored ahead", opt_outs=count)

    async def _opt_outs(
        self, messages: Sequence[Message], recorded: Mapping[int, int]
    ) -> list[IncomingDecision]:
        found, mark = [], self._mark
        values = [one.value() for one in messages if one.error() is None]
        marked = [value for value in values if value is not None and mark in value]
        async for value in with_pauses(marked):
            read = self._read(value)
            found += [one for one in read if one.offset >= recorded.get(one.partition, 0)]
        return found

    def _read(self, value: bytes) -> list[IncomingDecision]:
        try:
            decision = self._decisions.read(value)
        except Exception as error:
            if is_poison(error):  # the reader puts it aside in its turn
                return []
            raise
        return [decision] if decision.is_ret and decision.topic == self._express else []

    async def _store(self, topic: TopicReader, opt_outs: Sequence[IncomingDecision]) -> None:
        async def store(some: Sequence[IncomingDecision]) -> None:
            await self._write(topic.topic, topic.topic_id, some, {})

        for start in range(0, len(opt_outs), FEW):
            await store_apart(opt_outs[start : start + FEW], store, _leave)


async def _leave(_: IncomingDecision, __: Exception) -> None:
    """Do nothing: the reader puts it aside in its turn."""
