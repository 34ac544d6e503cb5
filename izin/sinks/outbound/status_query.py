"""İYS, asked what it holds: by the thousand where many wait, one by one where the difference
counts.

A question that İYS refuses for what it says is put again without the recipient that is named, or in
halves: one record at fault never leaves a thousand unasked. That one waits for a person.

The multiple query returns only what is ONAY: absence is NOT_ONAY, which hides a RET or nothing. It
settles an opt-out (there is nothing to withdraw) and shuts the gate; where it is not enough, the
single status tells, a thousand an hour. What a citizen did at İYS and we did not know is published
as İYS's event, never sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from izin.consent.model import Channel, RecipientType, Status
from izin.consent.obligation import Action, Registered
from izin.iys.errors import CallError, RefusedError
from izin.iys.rate_limit.pace import CallClass
from izin.iys.transport.circuit_breaker import CircuitState
from izin.iys.wire_format.consents import RegisterRecord
from izin.runtime.observe import get_logger
from izin.sinks.ledger import brands
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.outbound import status_answer
from izin.sinks.outbound.context import Tools
from izin.sinks.record import apply, ruling
from izin.sinks.record.apply import Observation
from izin.sinks.record.brand import Brand
from izin.sinks.record.row import ConsentRow

SINGLES = 20
"""Up to so many of a group are asked one by one."""
_MOST = 1000
_ENOUGH = 2
"""So many refused apart, and nobody answered for: the recipients are not at fault."""
_LATER = timedelta(seconds=30)
_SOON = timedelta(seconds=2)
"""An opt-out that could not be asked about waits no longer."""
_REFUSED = timedelta(minutes=15)
"""What a person must mend is not asked again and again: it would count against our address."""
_NEED_SINGLE_QUERY = frozenset({Registered.NOT_ONAY, Registered.RET})
"""What the multiple query cannot tell more of: NOT_ONAY hides a RET, and a RET its date."""
_SQL = statements("consents")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusQuerier:
    """Asks İYS what it holds of records, and rules them by what it says."""

    tools: Tools

    async def query_opt_outs(self, brand_code: int, channel: str) -> bool:
        """Ask about a brand's opt-outs of which nobody knows whether there is anything to
        withdraw; return whether that could be asked. What İYS does not let us ask is told unasked:
        its answer to that says what stops.
        """
        for recipient_type in RecipientType:
            held = await self._hold(
                "claim-unknown", brand_code, channel, str(recipient_type), _MOST
            )
            if held is not None:
                return await self._query_many(*held, CallClass.RET)
        return False

    async def ask(self) -> bool:
        """Ask about records whose next step hangs on what İYS holds."""
        if any(
            self.tools.client.circuit_state(one) is CircuitState.OPEN
            for one in ("status", "statuses")
        ):
            return False
        now = self.tools.clock()
        groups = await self.tools.ledger.fetch(
            _SQL["to-query"], {"now": now, **self.tools.lease_owner.who}
        )
        if not groups:
            return False
        group = groups[0]
        many = group["waiting"] > SINGLES
        held = await self._hold(
            "claim-to-query",
            group["brand_code"],
            group["channel"],
            group["recipient_type"],
            _MOST if many else SINGLES,
        )
        if held is None:
            return False
        brand, entries = held
        single = [entry for entry in entries if not many or entry.registered in _NEED_SINGLE_QUERY]
        rest = [entry for entry in entries if entry not in single]
        if rest:
            await self._query_many(brand, rest, CallClass.RESULTS)
        for entry in single[:SINGLES]:
            error = await self._query_one(brand, entry)
            if error is not None and not isinstance(error, RefusedError):
                break
        if single[SINGLES:]:
            await self._let_go(single[SINGLES:])
        return True

    async def _hold(
        self, query: str, brand_code: int, channel: str, recipient_type: str, size: int
    ) -> tuple[Brand, list[ConsentRow]] | None:
        now = self.tools.clock()
        async with self.tools.ledger.transaction() as connection:
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
            changes = UnitOfWork(self.tools.topic_messages, now=now)
            held = []
            for row in rows:
                entry = ConsentRow.from_row(row)
                leased = entry.replace(
                    lease_owner=self.tools.lease_owner.owner,
                    lease_until=now + self.tools.lease_owner.lease,
                )
                held.append(changes.put(entry, leased))
            await changes.write(connection)
        return found[brand_code], held

    async def _query_many(
        self, brand: Brand, entries: Sequence[ConsentRow], call_class: CallClass
    ) -> bool:
        """Ask about many at once; return False where İYS does not let us."""
        waiting, heard, at_fault = [entries], False, 0
        while waiting:
            part = waiting.pop()
            error = await self._query_part(brand, part, call_class)
            if error is None:
                heard = True
                continue
            if isinstance(error, RefusedError) and len(part) > 1:
                waiting += _parts(part, error)
                continue
            rest = [entry for some in waiting for entry in some]
            if not isinstance(error, RefusedError):
                await self._failed(brand, [*part, *rest], error)
                return heard or error.is_transient
            at_fault += 1
            await self._query_alone(brand, part[0], error)
            if rest and at_fault >= _ENOUGH and not heard:
                # Nothing but refusals: the question is at fault, whomever it asks about.
                await self._failed(brand, rest, error)
                return False
        return heard

    async def _query_alone(self, brand: Brand, entry: ConsentRow, error: CallError) -> None:
        """Ask about one whom İYS refuses among many; an opt-out is told unasked instead."""
        if entry.action is Action.QUERY:
            await self._query_one(brand, entry)
        else:
            await self._failed(brand, [entry], error)

    async def _query_part(
        self, brand: Brand, entries: Sequence[ConsentRow], call_class: CallClass
    ) -> CallError | None:
        """Ask about these at once and keep what İYS says; return why it says nothing."""
        queried_at = self.tools.clock().replace(microsecond=0)
        first = entries[0]
        try:
            approved = await self.tools.client.statuses(
                brand.path,
                Channel(first.channel),
                RecipientType(first.recipient_type),
                [entry.recipient for entry in entries],
                call_class=call_class,
            )
        except CallError as error:
            return error
        said = {
            entry.key: status_answer.observation_of_many(
                approved=entry.recipient in approved, queried_at=queried_at
            )
            for entry in entries
        }
        await self._heard(brand, said, {})
        return None

    async def _query_one(self, brand: Brand, entry: ConsentRow) -> CallError | None:
        """Ask about one and keep what İYS says; return why it says nothing."""
        queried_at = self.tools.clock().replace(microsecond=0)
        try:
            record = await self.tools.client.status(
                brand.path,
                Channel(entry.channel),
                RecipientType(entry.recipient_type),
                entry.recipient,
                call_class=_class_of(entry),
            )
        except CallError as error:
            at_fault = isinstance(error, RefusedError)
            await self._failed(brand, [entry], error, at_fault=at_fault)
            return error
        said = status_answer.observation_of(record, queried_at)
        records = {} if record is None else {entry.key: record}
        await self._heard(brand, {entry.key: said}, records)
        return None

    async def _heard(
        self, brand: Brand, said: Mapping[str, Observation], records: Mapping[str, RegisterRecord]
    ) -> None:
        now = self.tools.clock()
        async with self.tools.ledger.transaction() as connection:
            entries = await lock(connection, said)
            changes = UnitOfWork(self.tools.topic_messages, now=now)
            for key, entry in entries.items():
                statement = said[key]
                changes.add_movement(status_answer.observation(entry, statement, now))
                heard = replace(
                    apply.observed(entry, statement), lease_owner=None, lease_until=None
                )
                record = records.get(key)
                if record is not None and status_answer.is_new_event(entry, statement):
                    event = status_answer.event_of_record(record, brand, now)
                    changes.publish(event, entry.consent_key)
                status_answer.rule(
                    changes, entry, heard, brand, calendar=self.tools.ledger.calendar
                )
            await changes.write(connection)

    async def _failed(
        self,
        brand: Brand,
        entries: Sequence[ConsentRow],
        error: CallError,
        *,
        at_fault: bool = False,
    ) -> None:
        """Have them asked about later; what is ``at_fault`` itself waits for a person instead."""
        now = self.tools.clock()
        _log.warning("iys could not be asked", brand=brand.brand_code, error=str(error))
        urgent = any(entry.desired_status == Status.RET for entry in entries)
        wait = error.retry_after or (_SOON if urgent else _LATER)
        if not error.is_transient:
            wait = max(wait, _REFUSED)
        async with self.tools.ledger.transaction() as connection:
            changes = UnitOfWork(self.tools.topic_messages, now=now)
            for entry in (await lock(connection, (one.key for one in entries))).values():
                later = entry.replace(lease_owner=None, lease_until=None)
                if entry.action is Action.QUERY and at_fault:
                    code = next((one.code for one in error.refusals), None)
                    later = ruling.park(later, "question-refused", code)
                elif error.is_transient or entry.action is Action.QUERY:
                    later = later.replace(next_attempt_at=now + wait)
                changes.put(entry, later)
            await changes.write(connection)

    async def _let_go(self, entries: Sequence[ConsentRow]) -> None:
        now = self.tools.clock()
        async with self.tools.ledger.transaction() as connection:
            changes = UnitOfWork(self.tools.topic_messages, now=now)
            for entry in (await lock(connection, (one.key for one in entries))).values():
                changes.put(entry, entry.replace(lease_owner=None, lease_until=None))
            await changes.write(connection)


def _class_of(entry: ConsentRow) -> CallClass:
    """Return how urgent a question is: the hour's last ones are kept for opt-outs."""
    return CallClass.RET if entry.desired_status == Status.RET else CallClass.RESULTS


def _parts(entries: Sequence[ConsentRow], error: CallError) -> list[Sequence[ConsentRow]]:
    """Return in which parts to ask again: each recipient that İYS names apart, else by halves."""
    named = {one.value for one in error.refusals if isinstance(one.value, str)}
    at_fault = [entry for entry in entries if entry.recipient in named]
    rest = [entry for entry in entries if entry.recipient not in named]
    if at_fault and rest:
        return [*([entry] for entry in at_fault), rest]
    middle = (len(entries) + 1) // 2
    return [entries[:middle], entries[middle:]]
