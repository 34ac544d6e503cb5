"""Ask İYS what it holds: of many keys at once, and one by one where that is not what the row says.

The multiple query names only what is ONAY, a thousand keys a call, in whatever slots other calls
leave. The single query has dates and the writer, and a thousand an hour for an address, of which a
fifth is left to opt-outs; it is made only for keys that differ, up to a number.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from math import ceil
from typing import Any, TypeVar

from izin.consent import Channel, Observation, RecipientType, Registered
from izin.iys.client import MAX_ITEMS
from izin.iys.errors import CallError, RefusedError, ThrottledError
from izin.iys.rate_limit import STATUS, CallClass
from izin.ledger.db import Connection, statements
from izin.ledger.rate_limits import HOUR_LIMITS
from izin.ledger.sweep.sweeps import SweptKey
from izin.reconcile.comparing import IysSilentError, ReconcileScope
from izin.runtime.plan import OnProgress, silent
from izin.sinks.inbound.sweep import PageQuery
from izin.sinks.outbound.queries.status_answer import observation_of, observation_of_many

T = TypeVar("T")

SINGLE = HOUR_LIMITS[STATUS].room(CallClass.RESULTS)
"""Single queries that one hour has room for."""
_AT_ONCE = 4
"""Calls that wait for a slot or an answer at once."""
_ATTEMPTS = 5
_PAUSE = timedelta(seconds=2)
_LONGEST = timedelta(minutes=1)
"""A longer pause is not waited for."""
_SQL = statements("reconcile")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What asking takes at least."""

    keys: int
    requests: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Asks İYS about the keys of a scope."""

    pages: PageQuery
    single: int = SINGLE
    """Up to so many keys are asked about one by one."""
    on_estimate: Callable[[Estimate], None] = lambda _: None
    """Called before the first call."""
    on_single: Callable[[int, int], None] = lambda _asked, _differing: None
    """Called with how many keys are asked about one by one, of those that differ."""
    on_answer: OnProgress = silent

    async def __call__(
        self,
        connection: Connection,
        scope: ReconcileScope,
        began: datetime,  # noqa: ARG002  # of the protocol
    ) -> None:
        """Ask, and note what İYS says in the table of the session.

        Raises:
            IysSilentError: İYS does not answer.
        """
        groups = await (await connection.execute(_SQL["count-to-ask"])).fetchall()
        estimate = self._estimate(groups)
        self.on_estimate(estimate)
        done = 0
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
                self.on_answer(done, estimate.keys)
        await self._ask_singly(connection, scope)

    def _estimate(self, groups: Iterable[Mapping[str, Any]]) -> Estimate:
        counts = [group["keys"] for group in groups]
        requests = sum(ceil(one / MAX_ITEMS) for one in counts)
        seconds = requests / self.pages.budget.rate
        return Estimate(keys=sum(counts), requests=requests, seconds=seconds)

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
        return {one.key: found.is_approved(one) for one in keys if one.key not in found.refused}

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
