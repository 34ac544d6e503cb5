"""Compare İYS, the ledger and the topics for a brand, in a session of its own.

The sides are joined by PostgreSQL, which passes on what may differ in the order of keys; the rules
are in :mod:`izin.reconcile.judging`. Memory is bounded, whatever the number of keys. Nothing is
changed. A key that changes meanwhile is left out: the next comparison has it.

Where İYS is asked, the multiple query names only what is ONAY, a thousand keys a call, in whatever
slots other calls leave. The single query has dates and the writer, and a thousand an hour for an
address, of which a fifth is left to opt-outs; it is made only for keys that differ, up to a number.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from izin.consent import Channel, Observation, OurError, RecipientType, Registered
from izin.iys.client import MAX_ITEMS
from izin.iys.errors import CallError, RefusedError, ThrottledError
from izin.iys.rate_limit import STATUS, CallClass
from izin.kafka import clients
from izin.ledger import reads, submissions
from izin.ledger.db import Connection, Ledger, statements
from izin.ledger.history import history_codec
from izin.ledger.rate_limits import HOUR_LIMITS
from izin.ledger.record import Brand
from izin.ledger.sweep.sweeps import SweptKey
from izin.reconcile.judging import ComparedKey, Finding, judge
from izin.reconcile.remedies import DecidedEvent, KeyDecisions, Remedy, remedy_of
from izin.replay.topic_tables import TopicTables
from izin.runtime.plan import OnProgress, silent
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import event_from_avro
from izin.sinks.inbound.sweep import PageQuery
from izin.sinks.outbound.status_query import observation_of, observation_of_many

_PAGE = 500
"""Keys that are looked up in the history at once."""
_BEHIND_FOR = timedelta(seconds=30)
"""How long the ledger may take for the decisions that there were."""
_LOOK_EVERY = 0.2
_HIDDEN = timedelta(hours=1)
"""How recent entries are that a pull does not show."""
_SQL = statements("reconcile")
T = TypeVar("T")

SINGLE = HOUR_LIMITS[STATUS].room(CallClass.RESULTS)
"""Single queries that one hour has room for."""
_AT_ONCE = 4
"""Calls that wait for a slot or an answer at once."""
_ATTEMPTS = 5
_PAUSE = timedelta(seconds=2)
_LONGEST = timedelta(minutes=1)
"""A longer pause is not waited for."""


class IysSilentError(OurError):
    """İYS does not answer, or refuses to."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"İYS gives no answer ({error}); compare without --ask, or later")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileScope:
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
    """One difference of a key, and what is done about it."""

    compared: ComparedKey
    finding: Finding
    remedy: Remedy

    @property
    def key(self) -> str:
        """The canonical key."""
        return self.compared.key

    @property
    def is_explained(self) -> bool:
        """Whether it stays lawfully, until a person or a newer event changes it."""
        return self.finding.cause is not None


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
    async def comparing(
        self, scope: ReconcileScope, ask: "Asker | None" = None
    ) -> AsyncIterator["Comparison"]:
        """Provide the comparison of ``scope``; with ``ask`` İYS is asked about every key.

        Raises:
            OurError: the ledger does not take decisions.
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
            await tables.fill()
            await self._until_ingested()
            for name in ("create-seen", "create-asked", "create-to-ask"):
                await connection.execute(_SQL[name])
            await connection.execute(
                _SQL["add-seen"], {**scope.values, "brand": str(scope.brand.brand_code)}
            )
            await connection.execute(_SQL["analyze-seen"])
            if ask is not None:
                await connection.execute(_SQL["add-to-ask"], {**scope.values, "began": began})
                await ask(connection, scope)
            values = {**scope.values, "began": began}
            (sizes,) = await (await connection.execute(_SQL["sizes"], values)).fetchall()
            (pulled,) = await (await connection.execute(_SQL["pulled"], values)).fetchall()
            at = pulled["pulled_at"]
            yield Comparison(
                ledger=self.ledger,
                connection=connection,
                scope=scope,
                began=began,
                sizes=sizes,
                pulled_until=None if at is None else at - _HIDDEN,
            )

    async def _until_ingested(self) -> None:
        """Wait until the ledger has every decision on what the topic was read with."""
        topic = self.kafka.topics.decisions.name
        found = await asyncio.to_thread(clients.committed_ends, self.kafka, topic)
        ends = {(topic, number): end for number, end in found.items()}
        left = _BEHIND_FOR.total_seconds()
        while behind := reads.short_of(await reads.ingested(self.ledger), ends):
            if left <= 0:
                # Whatever is on its way would differ.
                raise OurError(
                    f"the ledger is {behind} decisions behind: see that a sink worker runs (izin "
                    "doctor), and compare again"
                )
            await asyncio.sleep(_LOOK_EVERY)
            left -= _LOOK_EVERY


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A comparison whose sides are in the tables of a session."""

    ledger: Ledger
    connection: Connection
    scope: ReconcileScope
    began: datetime
    sizes: Mapping[str, int]
    """How many keys were compared: ``rows``, ``desired`` and ``permissions``; ``seen``, of which
    İYS showed an entry or answered about in the period, as the history has it; and ``changing``,
    rows that changed meanwhile, and were left out.
    """
    pulled_until: datetime | None
    """Up to when both streams of İYS have been pulled; None: never."""

    async def differences(self) -> AsyncIterator[Difference]:
        """Yield the differences in the order of keys."""
        async for page in self._pages():
            compared_keys = await self._known_as_ours(page)
            found = [
                (compared_key, judge(compared_key, pulled_until=self.pulled_until))
                for compared_key in compared_keys
            ]
            keys = [one.key for one, findings in found if findings]
            decided = await decisions_of(self.ledger, keys) if keys else {}
            for compared, findings in found:
                for finding in findings:
                    known = decided[compared.key]
                    yield Difference(
                        compared=compared,
                        finding=finding,
                        remedy=remedy_of(finding, compared, known, now=self.began),
                    )

    async def _pages(self) -> AsyncIterator[Sequence[ComparedKey]]:
        page: list[ComparedKey] = []
        values = {**self.scope.values, "began": self.began}
        async with self.connection.cursor() as cursor:
            async for row in cursor.stream(_SQL["candidates"], values):
                page.append(ComparedKey.from_row(row))
                if len(page) == _PAGE:
                    yield page
                    page = []
        if page:
            yield page

    async def _known_as_ours(self, page: Sequence[ComparedKey]) -> Sequence[ComparedKey]:
        """Return ``page``, with the records of İYS marked that submissions of ours have made."""
        written = [one for compared in page for one in compared.of_another()]
        if not written:
            return page
        async with self.ledger.transaction() as connection:
            numbers = await submissions.submitted_by_us(connection, written)
        ours = {written[number] for number in numbers}
        return [key.known_as_ours(ours) for key in page]


async def decisions_of(ledger: Ledger, keys: Sequence[str]) -> Mapping[str, KeyDecisions]:
    """Return what the history has of each of ``keys``."""
    found = {key: KeyDecisions() for key in keys}
    for row in await ledger.fetch(_SQL["decided"], {"keys": list(keys)}):
        known = found[row["key"]]
        known.is_known = True
        if row["decision"] is not None:
            decision = history_codec().decode("Decision", row["decision"])
            known.events.append(
                DecidedEvent(event_from_avro(decision["event"]), decision["effective_at"])
            )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Asks İYS about the keys of a scope."""

    pages: PageQuery
    single: int = SINGLE
    """Up to so many keys are asked about one by one."""
    on_single: Callable[[int, int], None] = lambda _asked, _differing: None
    """Called with how many keys are asked about one by one, of those that differ."""
    on_answer: OnProgress = silent

    async def __call__(self, connection: Connection, scope: ReconcileScope) -> None:
        """Ask, and note what İYS says in the table of the session.

        Raises:
            IysSilentError: İYS does not answer.
        """
        groups = await (await connection.execute(_SQL["count-to-ask"])).fetchall()
        done, total = 0, sum(group["keys"] for group in groups)
        for group in groups:
            values = {**group, "after": "", "size": MAX_ITEMS * _AT_ONCE}
            while rows := await (await connection.execute(_SQL["page-to-ask"], values)).fetchall():
                pages = [
                    rows[start : start + MAX_ITEMS] for start in range(0, len(rows), MAX_ITEMS)
                ]
                answers = await asyncio.gather(*(self._many(scope, one) for one in pages))
                for page, approved in zip(pages, answers, strict=True):
                    await _note(connection, list(_differing(page, approved, self.pages.clock())))
                    done += len(page)
                values["after"] = rows[-1]["key"]
                self.on_answer(done, total)
        await self._ask_singly(connection, scope)

    async def _many(
        self, scope: ReconcileScope, page: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, bool]:
        """Return whether each key of ``page`` is ONAY; those that İYS refuses to answer about are
        missing.
        """
        keys = tuple(swept(one["key"]) for one in page)
        try:
            found = await self.pages.query(scope.brand, keys)
        except RefusedError:
            return {}
        except CallError as error:
            raise IysSilentError(error) from error
        return {key.key: found.is_approved(key) for key in keys if key.key not in found.refused}

    async def _ask_singly(self, connection: Connection, scope: ReconcileScope) -> None:
        """Ask about the keys that differ one by one, as far as the hour has room."""
        values: dict[str, Any] = {"after": "", "size": MAX_ITEMS}
        found: list[str] = []
        differing = 0
        while rows := await (await connection.execute(_SQL["asked-of-many"], values)).fetchall():
            differing += len(rows)
            found += [row["key"] for row in rows[: self.single - len(found)]]
            values["after"] = rows[-1]["key"]
        self.on_single(len(found), differing)
        for key in found:
            try:
                observation = await self._one(scope, key)
            except ThrottledError:
                return  # the hour is spent: what is left is known without dates
            except RefusedError:
                continue
            await _note(connection, [(key, observation)])

    async def _one(self, scope: ReconcileScope, key: str) -> Observation:
        _, channel, recipient_type, recipient = key.split("/", 3)
        asked_at = self.pages.clock().replace(microsecond=0)
        ask = partial(
            self.pages.client.status,
            scope.brand.path,
            Channel(channel),
            RecipientType(recipient_type),
            recipient,
            call_class=CallClass.RESULTS,
        )
        return observation_of(await _patiently(ask), asked_at)


def swept(key: str) -> SweptKey:
    """Return a canonical key as a page of many names it, of which nothing else is known."""
    _, channel, recipient_type, recipient = key.split("/", 3)
    return SweptKey(
        key=key,
        recipient=recipient,
        channel=channel,
        recipient_type=recipient_type,
        registered=Registered.UNKNOWN,
        registered_at=None,
        last_exchange_at=None,
    )


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Return what ``ask`` returns, again after a pause where that may help.

    Raises:
        IysSilentError: it does not.
        RefusedError: İYS refuses the recipients.
        ThrottledError: the hour's calls are spent.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return await ask()
        except RefusedError:
            raise
        except CallError as error:
            pause = error.pause(_PAUSE)
            if isinstance(error, ThrottledError) and pause > _LONGEST:
                raise
            if not error.is_transient or pause > _LONGEST or attempt + 1 == _ATTEMPTS:
                raise IysSilentError(error) from error
            await asyncio.sleep(pause.total_seconds())
    raise AssertionError("the last attempt returns or raises")


def _differing(
    page: Sequence[Mapping[str, Any]], approved: Mapping[str, bool], now: datetime
) -> Iterable[tuple[str, Observation]]:
    """Yield what İYS says of those keys of which the row says something else."""
    for row in page:
        is_onay = approved.get(row["key"])
        if is_onay is None:
            continue
        held = row["registered"]
        if held is None and not is_onay:
            continue
        if held == Registered.UNKNOWN or is_onay != (held == Registered.ONAY):
            yield row["key"], observation_of_many(approved=is_onay, queried_at=now)


async def _note(connection: Connection, found: Sequence[tuple[str, Observation]]) -> None:
    if not found:
        return
    values = {
        "keys": [key for key, _ in found],
        "values": [str(one.value) for _, one in found],
        "creations": [one.creation_date for _, one in found],
        "consents": [one.consent_date for _, one in found],
        "sources": [one.source for _, one in found],
        "transactions": [one.transaction_id for _, one in found],
        "paths": [one.verified_by for _, one in found],
    }
    await connection.execute(_SQL["add-asked"], values)
