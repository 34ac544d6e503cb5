"""The changes of one transaction: rows, history and messages for Kafka, together or not at all.

Steps collect changes in memory and write them by one statement of each kind. A permission that
changes and an outcome that is reached are published from here, so that no step can forget them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Any, LiteralString, NamedTuple

from psycopg import AsyncCursor

from izin.consent import Action, Calendar, ConsentEvent, ConsentKey, State, Status
from izin.ledger import retailers
from izin.ledger.db import (
    Connection,
    Ledger,
    copy,
    fetch,
    moment,
    notifications,
    statements,
    while_waiting,
)
from izin.ledger.history import Fact, HistoryEntry, append
from izin.ledger.outbox import row_of
from izin.ledger.record import (
    Brand,
    ConcurrentChangeError,
    ConsentRow,
    Message,
    Outcome,
    RuledRow,
    TopicMessages,
    closed,
    may_send_before,
    permitted_row,
    rule_row,
    termed,
    to_json,
)

_CONSENTS = statements("consents")
_OUTBOX = statements("outbox")
_PIECE = 1000
"""So many keys are locked at once, while work is done on the last as many; of few, half."""


class _Permitted(NamedTuple):
    """A permission to be published with the retailers that are registered then."""

    row: ConsentRow
    previous: bool | None


class UnitOfWork:
    """The changes of one transaction; :func:`unit_of_work` provides it."""

    def __init__(
        self,
        connection: Connection,
        topic_messages: TopicMessages,
        calendar: Calendar,
        now: datetime,
    ) -> None:
        self.connection = connection
        """Of the transaction."""
        self.calendar = calendar
        self.now = now
        self.topic_messages = topic_messages
        self._before: dict[str, ConsentRow | None] = {}
        self._after: dict[str, ConsentRow] = {}
        self._entries: list[HistoryEntry] = []
        self._facts: list[Fact] = []
        self._due_actions: set[tuple[Action, str | None]] = set()
        self._messages: list[Message | _Permitted] = []
        self._ended: dict[str, ConsentRow] = {}

    def put(self, before: ConsentRow | None, after: ConsentRow) -> ConsentRow:
        """Replace ``before`` by ``after``; return the row as it will be written."""
        key = after.key
        if self._after.get(key, before) == after:
            return after
        self._before.setdefault(key, before)
        written = after.replace(updated_at=self.now)
        permitted = permitted_row(before, written, self.now)
        if permitted is not None:
            written = permitted
            self.publish_permission(written, may_send_before(before))
        self._after[key] = written
        if retailers.step(before, written) is retailers.Step.ENDED:
            self._ended[key] = written
        for outcome in self.topic_messages.outcomes(before, written, self.now):
            self.add_outcome(outcome)
        if is_breach(before, written, self.now):
            self.add_entry(_breach(written, self.now))
        return written

    def written(self, row: ConsentRow) -> ConsentRow:
        """Return ``row`` as it will be written, where it changes."""
        return self._after.get(row.key, row)

    def publish_permission(self, row: ConsentRow, previous: bool | None) -> None:
        """Publish the permission of ``row``; only one that is given has retailers."""
        self._messages.append(
            _Permitted(row, previous)
            if row.may_send
            else self.topic_messages.permission_of(row, self.now, previous=previous)
        )

    def add_retailers(self, row: ConsentRow) -> None:
        """Publish the permission of ``row`` again, if it is given: its retailers changed."""
        if row.may_send:
            self.publish_permission(row, row.may_send)

    def add_outcome(self, outcome: Outcome) -> None:
        """Publish ``outcome`` and record it in the history."""
        self._messages.append(self.topic_messages.outcome(outcome))
        self._entries.append(
            HistoryEntry(
                kind="outcome",
                customer_id=outcome.customer_id,
                key=str(outcome.key),
                event_id=outcome.event_id,
                status=outcome.status,
                source=f"outcome/{outcome.outcome_id}",
                occurred_at=outcome.occurred_at,
                data=outcome.content(outcome.attempt),
            )
        )

    def publish(self, event: ConsentEvent, key: ConsentKey) -> None:
        """Publish ``event``, which the sinks originate."""
        self._messages.append(self.topic_messages.event(event, key, self.now))

    def add_last(self, message: Message) -> None:
        """Publish ``message``, behind what was added before."""
        self._messages.append(message)

    def apply(self, before: ConsentRow | None, ruled: RuledRow) -> ConsentRow:
        """Replace ``before`` by the ruled row, and publish the event that rescues it, and the
        outcome of an opt-in that was closed for an opt-out before it.
        """
        if ruled.rescue is not None:
            self.publish(ruled.rescue, ruled.row.consent_key)
        row = ruled.row
        if ruled.closed is not None:
            before = self.put(before, ruled.closed)
            row = row.permitting_as(before)
        return self.put(before, row)

    def termed(self, row: ConsentRow, brand: Brand | None, *, answered: bool = False) -> ConsentRow:
        """Return a row that is about to be ruled with its terms (``ruling.termed``)."""
        return termed(row, brand, self.now, calendar=self.calendar, answered=answered)

    def ruled(self, row: ConsentRow, brand: Brand | None, **facts: bool) -> RuledRow:
        """Return what the law rules on ``row``; the facts are those of ``ruling.rule_row``."""
        return rule_row(row, brand, self.now, calendar=self.calendar, **facts)

    def rule(  # what is ruled, and the facts that ``ruling.rule_row`` names
        self, before: ConsentRow | None, after: ConsentRow, brand: Brand | None, **facts: bool
    ) -> ConsentRow:
        """Replace ``before`` by what the law rules on ``after``; return the row."""
        return self.apply(before, self.ruled(after, brand, **facts))

    def close(self, before: ConsentRow, after: ConsentRow, brand: Brand | None) -> ConsentRow:
        """Replace ``before`` by ``after``, whose obligation is closed; return the row."""
        return self.apply(before, closed(after, brand, self.now, calendar=self.calendar))

    def add_entry(self, entry: HistoryEntry) -> None:
        """Record ``entry``; a repetition of a known source changes nothing."""
        self._entries.append(entry)

    def add_actions(self, due_actions: Iterable[tuple[Action, str]]) -> None:
        """Wake the lanes of rows written beside these: each due action with its status."""
        self._due_actions.update(due_actions)

    def add_history(self, facts: Iterable[Fact]) -> None:
        """Record ``facts``, which are known to be new."""
        self._facts.extend(facts)

    async def write(self) -> None:
        """Write everything.

        Raises:
            ConcurrentChangeError: a row is not as it was read.
        """
        new = [after for key, after in self._after.items() if self._before[key] is None]
        changed = [
            (before, after)
            for key, after in self._after.items()
            if (before := self._before[key]) is not None
        ]
        if new:
            await _expect(
                self.connection, _CONSENTS["insert"], {"rows": to_json(new)}, len(new), "a new key"
            )
        if changed:
            values = {
                "rows": to_json(after for _, after in changed),
                "states": [before.state for before, _ in changed],
            }
            await _expect(self.connection, _CONSENTS["save"], values, len(changed), "a row")
        await self._write_retailers()
        await append.append(self.connection, self._entries, now=self.now, facts=self._facts)
        if self._messages:
            await append_messages(self.connection, await self._encoded(), self.now)
        await self._notify()

    async def _write_retailers(self) -> None:
        """Store what the changes mean for retailers, and publish the permissions that they change.

        A consent that ended and is registered again begins without those it had.
        """
        steps = [(retailers.Step.ENDED, row) for row in self._ended.values()]
        for key, after in self._after.items():
            step = retailers.step(self._before[key], after)
            if step is not None and step is not retailers.Step.ENDED:
                steps.append((step, after))
        if not steps:
            return
        permitted = {row.key: self._after[row.key] for _, row in steps}
        permitted = {key: row for key, row in permitted.items() if row.may_send}
        before = await retailers.registered(self.connection, permitted)
        await retailers.write(self.connection, steps, now=self.now)
        left = await retailers.registered(self.connection, permitted)
        published = {
            message.row.key for message in self._messages if isinstance(message, _Permitted)
        }
        # In front: what add_last added stays behind every other message.
        self._messages[:0] = [
            _Permitted(row, row.may_send)
            for key, row in permitted.items()
            if key not in published and before.get(key) != left.get(key)
        ]

    async def _encoded(self) -> list[Message]:
        """Return the messages, those of permissions with the retailers that İYS holds."""
        found = await retailers.registered(
            self.connection,
            {message.row.key for message in self._messages if isinstance(message, _Permitted)},
        )
        return [
            self.topic_messages.permission_of(
                one.row, self.now, previous=one.previous, retailers=found.get(one.row.key, ())
            )
            if isinstance(one, _Permitted)
            else one
            for one in self._messages
        ]

    async def _notify(self) -> None:
        """Wake the lanes for which these changes are due."""
        actions = {(after.action, after.desired_status) for after in self._after.values()}
        actions |= self._due_actions
        if (Action.SEND, Status.RET) in actions:
            await self.connection.execute(f"NOTIFY {notifications.OPT_OUTS}")
        if (Action.SEND, Status.ONAY) in actions:
            await self.connection.execute(f"NOTIFY {notifications.BULK}")
        if any(action is Action.QUERY for action, _ in actions):
            await self.connection.execute(f"NOTIFY {notifications.QUERIES}")


@asynccontextmanager
async def unit_of_work(
    ledger: Ledger, topic_messages: TopicMessages, now: datetime
) -> AsyncIterator[UnitOfWork]:
    """Provide the unit of work of a transaction, which is written at its end.

    Raises:
        ConcurrentChangeError: a row is not as it was read.
    """
    async with ledger.transaction() as connection:
        changes = UnitOfWork(connection, topic_messages, ledger.calendar, now)
        yield changes
        await changes.write()


def is_breach(before: ConsentRow | None, after: ConsentRow, now: datetime) -> bool:
    """Whether İYS has just accepted an opt-out of ours after its third business day, or refused it
    for that.
    """
    accepted = after.state is State.ACCEPTED and (
        before is None or before.state is not State.ACCEPTED
    )
    refused = after.action is Action.RESCUE and (
        before is None or before.action is not Action.RESCUE
    )
    return (
        after.desired_status == Status.RET
        and after.is_ours
        and (accepted or refused)
        and after.due_at is not None
        and now > after.due_at
    )


def _breach(row: ConsentRow, now: datetime) -> HistoryEntry:
    return HistoryEntry(
        kind="breach",
        customer_id=row.customer_id,
        key=row.key,
        event_id=row.desired_event_id,
        status=row.desired_status,
        source=f"breach/{row.key}/{row.desired_event_id}",
        occurred_at=now,
        data={"due_at": row.due_at, "last_exchange_at": now, "attempts": row.attempts},
        may_repeat=True,
    )


async def append_messages(
    connection: Connection, messages: Iterable[Message], now: datetime
) -> None:
    """Append ``messages`` to the outbox, in their order."""
    at = moment(now)
    await copy(
        connection, _OUTBOX["copy"], [b"".join([row_of(message, at) for message in messages])]
    )
    await connection.execute(f"NOTIFY {notifications.OUTBOX}")


async def lock(connection: Connection, keys: Iterable[str]) -> dict[str, ConsentRow]:
    """Return the rows of ``keys`` that exist, by key, locked until the transaction ends."""
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    async with connection.cursor(binary=True, row_factory=_row_reader) as cursor:
        return {
            row.key: row
            for row in await (await cursor.execute(_CONSENTS["lock"], {"keys": wanted})).fetchall()
        }


def _row_reader(cursor: AsyncCursor[Any]) -> Callable[[Sequence[Any]], ConsentRow]:
    return ConsentRow.reader(column.name for column in cursor.description or ())


async def lock_in_pieces(
    connection: Connection,
    keys: Iterable[str],
    work: Callable[[Sequence[str], Mapping[str, ConsentRow]], Awaitable[None]],
) -> dict[str, ConsentRow]:
    """Return the same as :func:`lock`; ``work`` is done on the keys and rows of one piece while
    PostgreSQL locks the next.
    """
    wanted, rows = sorted(set(keys)), dict[str, ConsentRow]()
    size = min(max(len(wanted) // 2, _PIECE // 4), _PIECE)
    pieces = [wanted[start : start + size] for start in range(0, len(wanted), size)]
    coming = await lock(connection, pieces[0]) if pieces else {}
    for piece, following in pairwise([*pieces, []]):
        found = coming
        rows |= found
        coming, _ = await while_waiting(lock(connection, following), partial(work, piece, found))
    return rows


async def _expect(
    connection: Connection,
    query: LiteralString,
    values: Mapping[str, Any],
    count: int,
    what: str,
) -> None:
    if len(await fetch(connection, query, values)) != count:
        raise ConcurrentChangeError(f"{what} was changed by another process")
