"""The load under which faults fall: a backlog of opt-ins, and opt-outs among them."""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg

from tests.chaos.sink.decision_source import DecisionSource

_TICK = 0.5
_CHUNK = 10_000
_LIMIT = 2.0
_AGAIN = 60.0
_IN_FLIGHT: LiteralString = """
SELECT i.key FROM (
    SELECT id FROM submissions WHERE state IN ('intent', 'unknown', 'awaiting_result')
    ORDER BY random() LIMIT 5
) AS s JOIN submission_items AS i ON i.submission_id = s.id
WHERE i.status = 'ONAY' AND i.state = 'open' ORDER BY random() LIMIT %(count)s
"""
_PENDING: LiteralString = """
SELECT
    (SELECT count(*) FROM consents
    WHERE desired_status = 'ONAY'
        AND state IN ('pending', 'in_flight', 'awaiting_result', 'unknown', 'retryable')),
    (SELECT coalesce(sum(next_offset), 0)::bigint FROM kafka_offsets WHERE topic = %(topic)s)
"""


@dataclass(kw_only=True)
class Traffic:
    """Publishes decisions until it is cancelled.

    There are always ``keys`` opt-ins outstanding, or so many recipients at all where
    ``is_refilled`` is False. Of the opt-outs half concern keys that are in flight at that moment,
    where there are any. Some recipients opt in again after a while, or at once where there are few.
    """

    source: DecisionSource
    database_url: str
    keys: int
    opt_outs: float
    """A second."""
    is_refilled: bool
    random: random.Random
    recipients: int = 0
    """How many there are so far."""
    outstanding: int = 0
    """The opt-ins that İYS had not judged yet when they were last counted."""
    unread: int = 1
    """The decisions of which the ledger did not know then."""

    _opted_out: list[tuple[float, str]] = field(default_factory=list)

    async def begin(self) -> None:
        """Publish the first ``keys`` opt-ins."""
        await self._refill(self.keys)

    async def load(self) -> None:
        """Return when all opt-ins are in the ledger, from where nothing is submitted yet."""
        while self.unread or self.outstanding < self.keys:
            await self._count()
            await asyncio.sleep(_TICK)

    async def run(self) -> None:
        """Publish opt-outs, opt-ins after them, and refill the backlog, until cancelled."""
        began, published, counted_at = time.monotonic(), 0, time.monotonic()
        while True:
            due = int((time.monotonic() - began) * self.opt_outs) - published
            published += due
            in_flight = await self._ask(_IN_FLIGHT, count=due // 2 + due % 2)
            events = self._opt_outs(due, [key for (key,) in in_flight]) + self._opt_ins(due)
            await asyncio.to_thread(self.source.publish, *events)
            if time.monotonic() - counted_at > _LIMIT:
                counted_at = time.monotonic()
                await self._count()
            await asyncio.sleep(_TICK)

    async def _count(self) -> None:
        """Count what is outstanding, and refill it."""
        for pending, ingested in await self._ask(_PENDING, topic=self.source.topic):
            self.unread = self.source.published - ingested
            self.outstanding = pending + self.unread
            if self.is_refilled and self.outstanding < self.keys:
                await self._refill(self.keys - self.outstanding + _CHUNK)

    def _opt_outs(self, count: int, in_flight: list[str]) -> list[tuple[str, str]]:
        others = count - len(in_flight)
        anyone = [self.source.key(self.random.randrange(self.recipients)) for _ in range(others)]
        keys = {key for key in (*in_flight, *anyone) if self.source.states[key].status == "ONAY"}
        now = time.monotonic()
        self._opted_out += [(now, key) for key in keys]
        return [(key, "RET") for key in sorted(keys)]

    def _opt_ins(self, count: int) -> list[tuple[str, str]]:
        """Return opt-ins of a tenth as many recipients who have opted out."""
        again = _AGAIN if self.is_refilled else _TICK
        chosen: list[tuple[str, str]] = []
        while (
            self._opted_out
            and time.monotonic() - self._opted_out[0][0] > again
            and len(chosen) < (count + 9) // 10
        ):
            _, key = self._opted_out.pop(0)
            chosen.append((key, "ONAY"))
        return chosen

    async def _refill(self, count: int) -> None:
        until = self.recipients + count
        await asyncio.to_thread(self.source.opt_in, range(self.recipients, until))
        self.recipients = until

    async def _ask(self, query: LiteralString, **values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query; none while PostgreSQL is away."""
        try:
            async with asyncio.timeout(_LIMIT):
                return await self._fetch(query, values)
        except (psycopg.Error, TimeoutError):
            return []

    async def _fetch(
        self, query: LiteralString, values: Mapping[str, object]
    ) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(
            self.database_url, autocommit=True, connect_timeout=2
        ) as connection:
            return await (await connection.execute(query, values)).fetchall()
