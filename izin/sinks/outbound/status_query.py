"""Query İYS for the status of records: many in one call, or one by one where that is not enough.

A query that İYS refuses for its content is repeated without the recipient that the refusal names,
or in halves, so that one record at fault does not leave a thousand without an answer. That record
is parked.

The multiple query returns only what is ONAY: absence is NOT_ONAY, which may be a RET or no record.
That settles an opt-out (there is nothing to withdraw) and forbids sending; where it is not enough,
the single status query decides, a thousand an hour. For an opt-out that is read back it always is
enough. What a citizen changed at İYS without our knowledge is published as İYS's event, and never
submitted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from izin.consent import (
    CLOSED,
    Action,
    Channel,
    ConsentEvent,
    Observation,
    RecipientType,
    Registered,
    State,
    Status,
    is_of_citizens,
)
from izin.iys.errors import CallError, RefusedError, ThrottledError
from izin.iys.rate_limit import CallClass
from izin.iys.wire_format import IysMovement, RegisterRecord, Stream
from izin.ledger import brands
from izin.ledger.db import fetch, statements
from izin.ledger.history import HistoryEntry
from izin.ledger.record import (
    RECONCILE,
    Brand,
    ConsentRow,
    apply,
    event_of,
    is_read_back,
    is_swept,
    ruling,
)
from izin.ledger.unit_of_work import UnitOfWork, lock
from izin.runtime.backoff import Backoff
from izin.runtime.logs import get_logger
from izin.sinks.outbound.call_outcome import after_queries
from izin.sinks.outbound.context import OutboundContext, ask_for_rights

_MOST_QUERIES = 6
"""After so many queries without a settling answer a record is parked."""
_BACKOFF = Backoff(timedelta(seconds=30), timedelta(hours=1))


def observation_of(record: RegisterRecord | None, queried_at: datetime) -> Observation:
    """Return what an answer to the single status query states."""
    if record is None:
        return Observation(
            value=Registered.NONE,
            creation_date=queried_at,
            verified_at=queried_at,
            verified_by="status",
        )
    return Observation(
        # Any other value (BEKLIYOR) is no consent, and what it becomes is not known.
        value=Registered(record.status) if record.status in set(Status) else Registered.NOT_ONAY,
        creation_date=record.creation_date,
        consent_date=record.consent_date,
        source=record.source,
        transaction_id=record.transaction_id,
        verified_at=queried_at,
        verified_by="status",
    )


def observation_of_many(*, approved: bool, queried_at: datetime) -> Observation:
    """Return what an answer to the multiple query states: it names only what is ONAY."""
    return Observation(
        value=Registered.ONAY if approved else Registered.NOT_ONAY,
        creation_date=queried_at,
        verified_at=queried_at,
        verified_by="statuses",
    )


def is_new_event(entry: ConsentRow, statement: Observation) -> bool:
    """Whether İYS has a newer status than the desired one, and another: an event unknown to us."""
    return entry.desired_at is None or (
        statement.creation_date > entry.desired_at and str(statement.value) != entry.desired_status
    )


def event_of_record(record: RegisterRecord, brand: Brand, now: datetime) -> ConsentEvent:
    """Return the event at İYS that led to ``record``."""
    movement = IysMovement(
        recipient=record.recipient,
        type=record.type,
        recipient_type=record.recipient_type,
        status=record.status,
        source=record.source or "",
        consent_date=record.consent_date,
        creation_date=record.creation_date,
        transaction_id=record.transaction_id or "",
        brand_code=brand.brand_code,
    )
    return event_of(
        movement,
        brand,
        Stream.IYS if is_of_citizens(record.source) else Stream.HS,
        path="status",
        at=now,
    )


def rule(changes: UnitOfWork, entry: ConsentRow, observed: ConsentRow, brand: Brand) -> ConsentRow:
    """Update the row by the status that was ``observed``, and return it; do not submit again what
    İYS has refused and would refuse again.
    """
    now = changes.now
    if is_read_back(observed) or is_swept(observed):  # it is answered now; nothing else ends it
        observed = observed.replace(action=Action.NOTHING)
    ruled = ruling.rule_row(
        observed,
        brand,
        now,
        calendar=changes.calendar,
        answered=not observed.is_open,
        submitted=observed.attempts > 0,
    )
    after = ruled.row
    if entry.code is not None and entry.state is State.UNKNOWN and after.action is Action.SEND:
        if observed.desired_status == Status.RET:
            return changes.apply(
                entry, ruling.rescue_refused(observed, "register-is-newer", entry.code, now)
            )
        return changes.close(entry, ruling.refuse(observed, "register-is-newer", entry.code), brand)
    if after.action is Action.QUERY:
        query_count = after.attempts + 1
        if query_count >= _MOST_QUERIES:
            return changes.close(entry, ruling.park(after, "iys-says-otherwise", entry.code), brand)
        wait = _BACKOFF.after(query_count)
        # The single status is queried at once where the multiple query does not settle it.
        if observed.registered == Registered.NOT_ONAY and entry.registered != Registered.NOT_ONAY:
            wait = timedelta(0)
        return changes.put(entry, after.replace(attempts=query_count, next_attempt_at=now + wait))
    return changes.apply(entry, ruled)


def unanswerable(row: ConsentRow, error: CallError) -> ConsentRow:
    """Return the row of a record whose status İYS refuses to look up: a person acts. What is
    refused, expired or parked already stays so.
    """
    if row.state in CLOSED:
        return row.replace(action=Action.NOTHING)
    return ruling.park(
        row, "question-refused", next((refusal.code for refusal in error.refusals), None)
    )


def observation(entry: ConsentRow, statement: Observation, now: datetime) -> HistoryEntry:
    """Return the history's record of an answer."""
    at = statement.creation_date.isoformat()
    return HistoryEntry(
        kind="observation",
        customer_id=entry.customer_id,
        key=entry.key,
        status=str(statement.value),
        source=f"{statement.verified_by}/{entry.key}/{at}/{now.isoformat()}",
        occurred_at=now,
        data={
            "by": statement.verified_by,
            "registered": str(statement.value),
            "creation_date": statement.creation_date,
            "consent_date": statement.consent_date,
            "source": statement.source,
            "transaction_id": statement.transaction_id,
        },
    )


class Queried(Protocol):
    """Whatever is queried by its recipient."""

    @property
    def recipient(self) -> str:
        """The phone number or e-mail address."""


Entry = TypeVar("Entry", bound=Queried)


def parts(entries: Sequence[Entry], error: CallError) -> list[Sequence[Entry]]:
    """Return the parts to query again: each recipient that İYS names alone, else halves."""
    named = {refusal.value for refusal in error.refusals if isinstance(refusal.value, str)}
    at_fault = [entry for entry in entries if entry.recipient in named]
    rest = [entry for entry in entries if entry.recipient not in named]
    if at_fault and rest:
        return [*([entry] for entry in at_fault), rest]
    middle = (len(entries) + 1) // 2
    return [entries[:middle], entries[middle:]]


SINGLES = 20
"""Up to so many records of a group are queried one by one."""
_MOST = 1000
_REFUSALS_OF_ALL = 2
"""So many records refused on their own and none answered: the recipients are not at fault."""
_LATER = timedelta(seconds=30)
_SOON = timedelta(seconds=2)
"""The delay for opt-outs after a failed query."""
_NEED_SINGLE_QUERY = frozenset({Registered.NOT_ONAY, Registered.RET})
"""Where the multiple query adds nothing: NOT_ONAY may be a RET, and a RET has no date there."""
_SQL = statements("claims")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusQuerier:
    """Queries the status of records and updates their rows by the answers."""

    context: OutboundContext

    async def query_opt_outs(self, brand_code: int, channel: str) -> bool:
        """Query the status of a brand's opt-outs whose state at İYS is unknown; return whether İYS
        answered, or may answer later. Where it permits no query, the opt-outs are submitted without
        one, and the answer to them has the reason.
        """
        for recipient_type in RecipientType:
            claimed = await self.claim(
                "claim-unknown", brand_code, channel, str(recipient_type), _MOST
            )
            if claimed is not None:
                return await self._query_many(*claimed, CallClass.RET)
        return False

    async def query_due(self) -> bool:
        """Query the records whose next step depends on their status; return whether any waited."""
        if any(self.context.is_paused(one) for one in ("status", "statuses")):
            return False
        now = self.context.clock()
        groups = await self.context.ledger.fetch(
            _SQL["to-query"], {"now": now, **self.context.lease_owner.who}
        )
        if not groups:
            return False
        group = groups[0]
        many = group["waiting"] > SINGLES
        claimed = await self.claim(
            "claim-to-query",
            group["brand_code"],
            group["channel"],
            group["recipient_type"],
            _MOST if many else SINGLES,
        )
        if claimed is None:
            return False
        brand, entries = claimed
        single = [
            entry
            for entry in entries
            if not is_read_back(entry)
            and (not many or entry.reason == RECONCILE or entry.registered in _NEED_SINGLE_QUERY)
        ]
        rest = [entry for entry in entries if entry not in single]
        if rest:
            urgent = any(is_read_back(entry) for entry in rest)
            call_class = CallClass.RET if urgent else CallClass.RESULTS
            await self._query_many(brand, rest, call_class)
        for entry in single[:SINGLES]:
            error = await self.query_one(brand, entry, _class_of(entry))
            if error is not None and not isinstance(error, RefusedError):
                break
        if single[SINGLES:]:
            await self.release(single[SINGLES:])
        return True

    async def claim(
        self, query: str, brand_code: int, channel: str, recipient_type: str, size: int
    ) -> tuple[Brand, list[ConsentRow]] | None:
        """Lease the records that a ``query`` of ``claims.sql`` finds; None: there are none."""
        async with self.context.changes() as changes:
            connection, now = changes.connection, changes.now
            values = {
                "brand_code": brand_code,
                "channel": channel,
                "recipient_type": recipient_type,
                "now": now,
                "size": size,
            }
            rows = await fetch(connection, _SQL[query], values)
            found = await brands.of_codes(connection, {brand_code})
            if not rows or brand_code not in found:
                return None
            entries = [ConsentRow.from_row(row) for row in rows]
            lease_owner = self.context.lease_owner
            # A second query harms nobody: an opt-out waits for a lost one no longer than it takes.
            is_urgent = any(entry.desired_status == Status.RET for entry in entries)
            lease = lease_owner.call_within if is_urgent else lease_owner.lease
            claimed = [
                changes.put(
                    entry, entry.replace(lease_owner=lease_owner.owner, lease_until=now + lease)
                )
                for entry in entries
            ]
        return found[brand_code], claimed

    async def _query_many(
        self, brand: Brand, entries: Sequence[ConsentRow], call_class: CallClass
    ) -> bool:
        """Query many records at once; return False where İYS does not permit it."""
        waiting, answered, at_fault = [entries], False, 0
        while waiting:
            part = waiting.pop()
            error = await self._query_part(brand, part, call_class)
            if error is None:
                answered = True
                continue
            if isinstance(error, RefusedError) and len(part) > 1:
                waiting += parts(part, error)
                continue
            rest = [entry for some in waiting for entry in some]
            if not isinstance(error, RefusedError):
                await self._postpone(brand, [*part, *rest], error)
                return answered or error.is_transient
            at_fault += 1
            await self._query_refused(brand, part[0], error)
            if rest and at_fault >= _REFUSALS_OF_ALL and not answered:
                # Nothing but refusals: the query is at fault, whichever recipients it has.
                await self._postpone(brand, rest, error)
                return False
        return answered

    async def _query_refused(self, brand: Brand, entry: ConsentRow, error: CallError) -> None:
        """Query one record that İYS refuses among many; an opt-out is submitted without a query."""
        if entry.action is Action.QUERY:
            await self.query_one(brand, entry, _class_of(entry))
        else:
            await self._postpone(brand, [entry], error)

    async def _query_part(
        self, brand: Brand, entries: Sequence[ConsentRow], call_class: CallClass
    ) -> CallError | None:
        """Query these records at once and store the answers; return the error if there is one."""
        queried_at = self.context.clock().replace(microsecond=0)
        first = entries[0]
        try:
            approved = await self.context.client.statuses(
                brand.path,
                Channel(first.channel),
                RecipientType(first.recipient_type),
                [entry.recipient for entry in entries],
                call_class=call_class,
            )
        except CallError as error:
            return error
        statements_by_key = {
            entry.key: observation_of_many(
                approved=entry.recipient in approved, queried_at=queried_at
            )
            for entry in entries
        }
        await self._store(brand, statements_by_key, {})
        return None

    async def query_one(
        self, brand: Brand, entry: ConsentRow, call_class: CallClass
    ) -> CallError | None:
        """Query one record and store the answer; return the error if there is one."""
        queried_at = self.context.clock().replace(microsecond=0)
        try:
            record = await self.context.client.status(
                brand.path,
                Channel(entry.channel),
                RecipientType(entry.recipient_type),
                entry.recipient,
                call_class=call_class,
            )
        except CallError as error:
            at_fault = isinstance(error, RefusedError)
            await self._postpone(brand, [entry], error, at_fault=at_fault)
            return error
        await self._store(
            brand,
            {entry.key: observation_of(record, queried_at)},
            {} if record is None else {entry.key: record},
        )
        return None

    async def _store(
        self,
        brand: Brand,
        statements_by_key: Mapping[str, Observation],
        records: Mapping[str, RegisterRecord],
    ) -> None:
        async with self.context.changes() as changes:
            now = changes.now
            entries = await lock(changes.connection, statements_by_key)
            ruled = []
            for key, entry in entries.items():
                statement = statements_by_key[key]
                changes.add_entry(observation(entry, statement, now))
                observed = replace(
                    apply.observed(entry, statement), lease_owner=None, lease_until=None
                )
                record = records.get(key)
                if record is not None and is_new_event(entry, statement):
                    changes.publish(event_of_record(record, brand, now), entry.consent_key)
                ruled.append(rule(changes, entry, observed, brand))
            await after_queries(changes, ruled, result_delay=self.context.result_delay)

    async def _postpone(
        self,
        brand: Brand,
        entries: Sequence[ConsentRow],
        error: CallError,
        *,
        at_fault: bool = False,
    ) -> None:
        """Postpone the query of ``entries``; park what is ``at_fault`` itself."""
        error.warn(_log, "status query failed", brand=brand.brand_code)
        await ask_for_rights(self.context, error)
        wait = error.pause(
            _SOON if any(entry.desired_status == Status.RET for entry in entries) else _LATER
        )
        async with self.context.changes() as changes:
            rows = await lock(changes.connection, (one.key for one in entries))
            for claimed in entries:
                row = rows[claimed.key]
                if not row.is_of(claimed.desired_event_id, claimed.desired_status):
                    continue  # nobody waits for this answer any more
                later = row.replace(lease_owner=None, lease_until=None)
                if row.action is Action.QUERY and at_fault:
                    later = unanswerable(later, error)
                    changes.close(row, later, brand)
                    continue
                if error.is_transient or row.action is Action.QUERY:
                    later = later.replace(next_attempt_at=changes.now + wait)
                changes.put(row, later)

    async def release(self, entries: Sequence[ConsentRow]) -> None:
        """Give up the leases of ``entries``."""
        async with self.context.changes() as changes:
            for entry in (await lock(changes.connection, (one.key for one in entries))).values():
                changes.put(entry, entry.replace(lease_owner=None, lease_until=None))


def _class_of(entry: ConsentRow) -> CallClass:
    """Return the priority of a query: the last ones of the hour are reserved for opt-outs."""
    return CallClass.RET if entry.desired_status == Status.RET else CallClass.RESULTS


@dataclass(slots=True, kw_only=True)
class SweptQuerier:
    """Queries the records alone that no sweep could settle, within a thousand an hour (H086).

    Gates that the sweep shut go first. A fifth of the hour is left to our own opt-outs, and once
    the rest is spent nothing is claimed until some of it is free again: other queries have their
    own lane.
    """

    context: OutboundContext
    querier: StatusQuerier
    _spent_until: datetime | None = None
    """The queries of the hour are spent until then."""

    async def query_swept(self) -> bool:
        """Query a few of them; return whether more may wait that can be queried now."""
        now = self.context.clock()
        if self._spent_until is not None and now < self._spent_until:
            return False
        if self.context.is_paused("status"):
            return False
        values = {"now": now, **self.context.lease_owner.who}
        found = await self.context.ledger.fetch(_SQL["swept"], values)
        if not found:
            return False
        claimed = await self.querier.claim("claim-swept", **found[0], size=SINGLES)
        if claimed is None:
            return False
        brand, entries = claimed
        for place, entry in enumerate(entries, 1):
            error = await self.querier.query_one(brand, entry, CallClass.RESULTS)
            if error is None or isinstance(error, RefusedError):
                continue
            if isinstance(error, ThrottledError) and error.retry_after is not None:
                self._spent_until = self.context.clock() + error.retry_after
            await self.querier.release(entries[place:])
            return False
        return True
