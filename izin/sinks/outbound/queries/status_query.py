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

from izin.consent import Action, Channel, Observation, RecipientType, Registered, Status
from izin.iys.errors import CallError, RefusedError, ThrottledError
from izin.iys.rate_limit import CallClass, CircuitState
from izin.iys.wire_format import RegisterRecord
from izin.ledger import brands
from izin.ledger.db import statements
from izin.ledger.record import RECONCILE, Brand, ConsentRow, apply, is_read_back
from izin.ledger.unit_of_work import lock
from izin.runtime.logs import get_logger
from izin.sinks.outbound.context import OutboundContext, ask_for_rights
from izin.sinks.outbound.queries import status_answer
from izin.sinks.outbound.queries.status_answer import parts
from izin.sinks.outbound.read_back import after_queries

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
        if any(
            self.context.client.circuit_state(one) is CircuitState.OPEN
            for one in ("status", "statuses")
        ):
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
            rows = await (await connection.execute(_SQL[query], values)).fetchall()
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
            entry.key: status_answer.observation_of_many(
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
        statement = status_answer.observation_of(record, queried_at)
        records = {} if record is None else {entry.key: record}
        await self._store(brand, {entry.key: statement}, records)
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
                changes.add_entry(status_answer.observation(entry, statement, now))
                observed = replace(
                    apply.observed(entry, statement), lease_owner=None, lease_until=None
                )
                record = records.get(key)
                if record is not None and status_answer.is_new_event(entry, statement):
                    event = status_answer.event_of_record(record, brand, now)
                    changes.publish(event, entry.consent_key)
                ruled.append(status_answer.rule(changes, entry, observed, brand))
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
        urgent = any(entry.desired_status == Status.RET for entry in entries)
        wait = error.pause(_SOON if urgent else _LATER)
        async with self.context.changes() as changes:
            rows = await lock(changes.connection, (one.key for one in entries))
            for claimed in entries:
                row = rows[claimed.key]
                if not row.is_of(claimed.desired_event_id, claimed.desired_status):
                    continue  # nobody waits for this answer any more
                later = row.replace(lease_owner=None, lease_until=None)
                if row.action is Action.QUERY and at_fault:
                    later = status_answer.unanswerable(later, error)
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
        if self.context.client.circuit_state("status") is CircuitState.OPEN:
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
