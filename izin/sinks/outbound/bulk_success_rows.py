"""Write the messages and the history of saved items whose rows differ in their own columns alone.

Without I/O, so that mypyc can compile it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, cast

from izin.iys.wire_format.consents import Receipt
from izin.schemas.fast.writer import milliseconds
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.history.calls import result_fact
from izin.sinks.ledger.history.hash_chain import Fact
from izin.sinks.ledger.row_templates import OutcomeTemplate, PermissionTemplate
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.item_result import ItemResult
from izin.sinks.record.submission import Item, Submission


class LockedRow(NamedTuple):
    """The columns of a row that this transaction has locked by which it is seen to be usual."""

    ctid: str
    key: str
    event_id: str | None
    desired_at: datetime | None
    due_at: datetime | None
    expires_at: datetime | None
    attempts: int
    is_usual: bool


class SavedItem(NamedTuple):
    """An item that İYS has saved, and its row."""

    item: Item
    answer: ItemResult
    row: LockedRow


class SettledGroup(NamedTuple):
    """Items with like rows, and what settling the first of them has made of its row."""

    members: Sequence[SavedItem]
    entry: ConsentRow
    permission: PermissionTemplate
    outcome: OutcomeTemplate


def settled_rows(
    submission: Submission, group: SettledGroup, members: Sequence[SavedItem], now: datetime
) -> tuple[bytes, list[Fact]]:
    """Return the outbox rows (permission and outcome of each key) and the facts for the history
    (the outcome, and İYS's answer).
    """
    at = copy_format.microseconds(now)
    since = milliseconds(now) or 0
    messages: list[bytes] = []
    facts: list[Fact] = []
    for item, answer, row in members:
        receipt = cast("Receipt", answer.receipt)
        permission = group.permission.row(
            copy_format.word(item.key),
            item.key.split("/", 3)[3].encode(),
            milliseconds(receipt.creation_date),
            milliseconds(item.consent_date),
            since,
        )
        outcome, outcome_fact = group.outcome.made(
            item.key,
            item.event_id,
            row.attempts,
            item.origin,
            item.origin_ref,
            receipt.transaction_id,
            receipt.creation_date,
        )
        messages += (permission, outcome)
        facts += (outcome_fact, result_fact(submission, item, answer, at))
    return b"".join(messages), facts
