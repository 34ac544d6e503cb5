"""Settle successes in bulk: one computed example is the template of all items like it.

Nearly every result of İYS is "saved", to an ONAY of a key without earlier state at İYS and without
an opt-out. The effects (the obligation ends, the permission, the outcome) differ from item to item
in a few fields alone. So the general path (``record.item_result``) settles one of them, and the
others are written as that one with fields of their own. Items of any other kind are left to the
general path; ``tests/integration/sinks/outbound/test_bulk_success.py`` holds both paths equal.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter

import orjson
from psycopg.rows import args_row

from izin.consent.due_dates import due_and_expiry
from izin.consent.model import Status
from izin.consent.transitions import State
from izin.iys.verdicts import Verdict
from izin.sinks.ledger.db import notifications
from izin.sinks.ledger.db.connection import Connection, copy, while_waiting
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.hash_chain import Fact
from izin.sinks.ledger.row_templates import OutcomeTemplate, PermissionTemplate
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.outbound.bulk_success_rows import (
    LockedRow,
    SavedItem,
    SettledGroup,
    settled_rows,
)
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.record.column_lists import DECIDED
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.item_result import ItemResult, apply_result
from izin.sinks.record.submission import Item, Settled, Submission

FEW = 2
"""Fewer are settled one by one: there is nothing to share."""
_CHUNK = 100
_decided = itemgetter(*DECIDED)
_CONSENTS = statements("consents")
_OUTBOX = statements("outbox")


@dataclass(slots=True, kw_only=True)
class BulkSuccesses:
    """The successes among the results of one submission, in one transaction."""

    context: OutboundContext
    submission: Submission
    now: datetime
    _groups: list[SettledGroup] = field(default_factory=list)
    _terms: dict[datetime, tuple[datetime | None, datetime | None]] = field(default_factory=dict)

    async def take(
        self, connection: Connection, items: Sequence[Item], answers: Mapping[int, ItemResult]
    ) -> list[Item]:
        """Lock the rows of ``items`` and take those that are alike; return all others."""
        likely = [item for item in items if _is_likely(item, answers[item.place])]
        if len(likely) < FEW:
            return list(items)
        rows = await _lock_rows(connection, [item.key for item in items])
        await asyncio.sleep(0)
        alike = defaultdict[tuple[str, str, str], list[SavedItem]](list)
        for item in likely:
            row, answer = rows[item.key], answers[item.place]
            if row.is_usual and row.event_id == item.event_id and self._is_as_submitted(row, item):
                recipient_type = item.key.split("/", 3)[2]
                one = SavedItem(item, answer, row)
                alike[item.customer_id, recipient_type, answer.how].append(one)
        firsts = await lock(connection, [members[0].item.key for members in alike.values()])
        for members in alike.values():
            group = self._settle_first(members, firsts[members[0].item.key])
            if group is not None:
                self._groups.append(group)
        taken = {one.item.place for group in self._groups for one in group.members}
        return [item for item in items if item.place not in taken]

    @property
    def settled(self) -> Iterator[Settled]:
        """The new states of the items that were taken."""
        for group in self._groups:
            for one in group.members:
                yield Settled(one.item.place, "accepted")

    async def write(
        self, connection: Connection, changes: UnitOfWork, counted: Collection[int]
    ) -> None:
        """Write the effects of those items that ``counted`` has the index of."""
        messages: list[bytes] = []
        for group in self._groups:
            members = [one for one in group.members if one.item.place in counted]
            if members:
                saving = self._save(connection, group, members)
                _, (rows, facts) = await while_waiting(saving, self._settled_rows(group, members))
                messages += rows
                changes.add_history(facts)
        if messages:
            await copy(connection, _OUTBOX["copy"], messages)
            await connection.execute(f"NOTIFY {notifications.OUTBOX}")

    async def _settled_rows(
        self, group: SettledGroup, members: Sequence[SavedItem]
    ) -> tuple[list[bytes], list[Fact]]:
        messages: list[bytes] = []
        facts: list[Fact] = []
        for start in range(0, len(members), _CHUNK):
            chunk = members[start : start + _CHUNK]
            rows, chunk_facts = settled_rows(self.submission, group, chunk, self.now)
            messages.append(rows)
            facts += chunk_facts
            # Let pushes in, which share this event loop.
            await asyncio.sleep(0)
        return messages, facts

    def _is_as_submitted(self, row: LockedRow, item: Item) -> bool:
        """Whether the row is unchanged since it was submitted, its terms included."""
        if item.consent_date is None or row.desired_at != item.consent_date:
            return False
        found = self._terms.get(item.consent_date)
        if found is None:
            found = self._terms[item.consent_date] = due_and_expiry(
                item.consent_date,
                self.submission.brand.clock,
                status=Status.ONAY,
                now=self.now,
                calendar=self.context.ledger.calendar,
            )
        return (row.due_at, row.expires_at) == found

    def _settle_first(
        self, members: Sequence[SavedItem], before: ConsentRow
    ) -> SettledGroup | None:
        """Settle the first of ``members`` and return it as the template of all; None where more
        follows than usual.
        """
        item, answer, _ = members[0]
        calendar, topic_messages = self.context.ledger.calendar, self.context.topic_messages
        found = apply_result(
            before, item, answer, self.submission.brand, self.now, calendar=calendar
        )
        more = (found.outcome, found.suspension, found.ruled.rescue)
        after = found.ruled.row.replace(updated_at=self.now)
        permitted = topic_messages.permission(before, after, self.now)
        if (
            permitted is None
            or more != (None, None, None)
            or _decided(before.__dict__) != _decided(after.__dict__)
        ):
            return None
        entry, permission = permitted
        outcomes = list(topic_messages.outcomes(before, entry, self.now))
        if (
            entry.state is not State.ACCEPTED
            or len(outcomes) != 1
            or entry.permission_since != self.now
        ):
            return None
        (reached,) = outcomes
        return SettledGroup(
            members=members,
            entry=entry,
            permission=PermissionTemplate(topic_messages, permission, at=self.now),
            outcome=OutcomeTemplate(topic_messages, reached, at=self.now),
        )

    async def _save(
        self, connection: Connection, group: SettledGroup, members: Sequence[SavedItem]
    ) -> None:
        entry = group.entry
        own = [
            {
                "ctid": one.row.ctid,
                "transaction_id": receipt.transaction_id,
                "creation_date": receipt.creation_date,
            }
            for one in members
            if (receipt := one.answer.receipt) is not None
        ]
        values = {
            "registered": entry.registered,
            "verified_by": entry.verified_by,
            "state": entry.state,
            "action": entry.action,
            "reason": entry.reason,
            "may_send": entry.may_send,
            "permission_reason": entry.permission_reason,
            "now": self.now,
            "own": orjson.dumps(own).decode(),
        }
        await connection.execute(_CONSENTS["settle-bulk"], values)


def _is_likely(item: Item, answer: ItemResult) -> bool:
    return (
        answer.verdict is Verdict.SUCCESS
        and answer.receipt is not None
        and not answer.is_original
        and item.status == Status.ONAY
    )


async def _lock_rows(connection: Connection, keys: Sequence[str]) -> Mapping[str, LockedRow]:
    async with connection.cursor(binary=True, row_factory=args_row(LockedRow)) as cursor:
        found = await (
            await cursor.execute(_CONSENTS["lock-for-settling"], {"keys": keys})
        ).fetchall()
    return {one.key: one for one in found}
