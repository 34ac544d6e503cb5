"""Compare İYS, the ledger and the topics for a brand, in a session of its own.

The sides are joined by PostgreSQL, which passes on what may differ in the order of keys; the rules
are in :mod:`izin.reconcile.judging`. Memory is bounded, whatever the number of keys. Nothing is
changed. A key that changes meanwhile is left out: the next comparison has it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from izin.consent.errors import OurError
from izin.consent.model import Channel
from izin.reconcile.judging import Finding, Standing, judge
from izin.reconcile.remedies import Remedy, remedy_of
from izin.reconcile.trails import IysPath, Ways, trails_of
from izin.replay.topic_tables import TopicTables
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ledger import reads, submissions
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.record.brand import Brand

_PAGE = 500
"""Keys that are looked up in the history at once."""
_BEHIND_FOR = timedelta(seconds=30)
"""How long the ledger may take for the decisions that there were."""
_LOOK_EVERY = 0.2
_SQL = statements("reconcile")


class LedgerBehindError(OurError):
    """The ledger has not taken all decisions, so that whatever is on its way would differ."""

    def __init__(self, decisions: int) -> None:
        super().__init__(
            f"the ledger is {decisions} decisions behind: see that a sink worker runs (izin "
            "doctor), and compare again"
        )


class IysSilentError(OurError):
    """İYS does not answer, or refuses to."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"İYS gives no answer ({error}); compare without --ask, or later")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is compared: a brand, and of it the keys of a channel and a period."""

    brand: Brand
    channel: Channel | None = None
    since: datetime | None = None
    """The latest act of a key, here or at İYS, was then or later."""
    until: datetime | None = None
    """It was before."""

    @property
    def values(self) -> dict[str, Any]:
        """The scope as parameters of statements."""
        return {
            "brand_code": self.brand.brand_code,
            "channel": None if self.channel is None else str(self.channel),
            "since": self.since,
            "until": self.until,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference of a key, which paths saw what İYS has, and what is done about it."""

    standing: Standing
    finding: Finding
    remedy: Remedy
    saw: tuple[IysPath, ...]
    missed: tuple[IysPath, ...]

    @property
    def key(self) -> str:
        """The canonical key."""
        return self.standing.key

    @property
    def is_explained(self) -> bool:
        """Whether it stays lawfully, until a person or a newer event changes it."""
        return self.finding.cause is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many keys were compared on each side."""

    rows: int
    desired: int
    permissions: int
    seen: int
    """Of which İYS showed a movement or answered about in the period, as the history has it."""
    changing: int
    """Rows that changed meanwhile, and were left out."""


Ask = Callable[[Connection, Scope, datetime], Awaitable[None]]
"""Asks İYS about the keys of a scope, and notes what it says in the session's table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparer:
    """Compares brands."""

    ledger: Ledger
    kafka: KafkaSettings
    codec: Codec
    clock: Callable[[], datetime]
    on_read: Callable[[int], None] = lambda _: None
    """Called with how many records of topics were read so far."""

    @asynccontextmanager
    async def comparing(self, scope: Scope, ask: Ask | None = None) -> AsyncIterator["Comparison"]:
        """Provide the comparison of ``scope``; with ``ask`` İYS is asked about every key.

        Raises:
            LedgerBehindError: the ledger does not take decisions.
            StreamUnavailableError: Kafka cannot be read.
            IysSilentError: İYS does not answer.
        """
        async with self.ledger.session() as connection:
            await connection.execute(_SQL["session"])
            began = self.clock()
            await connection.execute(_SQL["create-moving"])
            tables = TopicTables(
                kafka=self.kafka,
                codec=self.codec,
                connection=connection,
                prefix=f"{scope.brand.brand_code}/".encode(),
                on_read=self.on_read,
            )
            await tables.fill_permissions(await tables.fill_desired())
            await self._until_ingested()
            for name in ("create-seen", "create-asked", "create-to-ask"):
                await connection.execute(_SQL[name])
            brand = str(scope.brand.brand_code)
            await connection.execute(_SQL["add-seen"], {**scope.values, "brand": brand})
            await connection.execute(_SQL["analyze-seen"])
            if ask is not None:
                await connection.execute(_SQL["add-to-ask"], {**scope.values, "began": began})
                await ask(connection, scope, began)
            values = {**scope.values, "began": began}
            (sizes,) = await (await connection.execute(_SQL["sizes"], values)).fetchall()
            (ways,) = await (await connection.execute(_SQL["ways"], values)).fetchall()
            yield Comparison(
                ledger=self.ledger,
                connection=connection,
                scope=scope,
                began=began,
                sizes=Sizes(**sizes),
                ways=Ways(**ways),
            )

    async def _until_ingested(self) -> None:
        """Wait until the ledger has every decision on what the topic was read with."""
        topic = self.kafka.topics.decisions.name
        ends = await asyncio.to_thread(kafka.committed_ends, self.kafka, topic)
        left = _BEHIND_FOR.total_seconds()
        while behind := _behind(topic, ends, await reads.ingested(self.ledger)):
            if left <= 0:
                raise LedgerBehindError(behind)
            await asyncio.sleep(_LOOK_EVERY)
            left -= _LOOK_EVERY


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison whose sides are in the tables of a session."""

    ledger: Ledger
    connection: Connection
    scope: Scope
    began: datetime
    sizes: Sizes
    ways: Ways

    async def differences(self) -> AsyncIterator[Difference]:
        """Yield the differences in the order of keys."""
        async for page in self._pages():
            standings = await self._known_as_ours(page)
            until = self.ways.pulled_until
            found = [(one, judge(one, pulled_until=until)) for one in standings]
            keys = [one.key for one, findings in found if findings]
            trails = await trails_of(self.ledger, keys) if keys else {}
            for standing, findings in found:
                for finding in findings:
                    trail, record = trails[standing.key], finding.record
                    yield Difference(
                        standing=standing,
                        finding=finding,
                        remedy=remedy_of(finding, standing, trail, now=self.began),
                        saw=() if record is None else trail.saw(record),
                        missed=() if record is None else self.ways.missed(record, trail),
                    )

    async def _pages(self) -> AsyncIterator[Sequence[Standing]]:
        page: list[Standing] = []
        values = {**self.scope.values, "began": self.began}
        async with self.connection.cursor() as cursor:
            async for row in cursor.stream(_SQL["candidates"], values):
                page.append(Standing.from_row(row))
                if len(page) == _PAGE:
                    yield page
                    page = []
        if page:
            yield page

    async def _known_as_ours(self, page: Sequence[Standing]) -> Sequence[Standing]:
        """Return ``page``, with the records of İYS marked that submissions of ours have made."""
        written = [one for standing in page for one in standing.of_another()]
        if not written:
            return page
        async with self.ledger.transaction() as connection:
            numbers = await submissions.submitted_by_us(connection, written)
        ours = {written[number] for number in numbers}
        return [one.known_as_ours(ours) for one in page]


def _behind(topic: str, ends: Mapping[int, int], taken: Mapping[tuple[str, int], int]) -> int:
    return sum(max(0, end - taken.get((topic, number), 0)) for number, end in ends.items())
