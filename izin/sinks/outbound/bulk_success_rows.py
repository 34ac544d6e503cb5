"""Write the messages and the history of saved items whose rows differ in their own columns alone.

Without I/O, so that mypyc can compile it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

import orjson

from izin.iys.wire_format.consents import Receipt
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.history.calls import result_fact
from izin.sinks.ledger.history.hash_chain import Fact
from izin.sinks.ledger.row_templates import MessageTemplate
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.item_result import ItemResult
from izin.sinks.record.outcome import Outcome, outcome_id
from izin.sinks.record.submission import Item, Submission

OWN_OF_PERMISSION = ("recipient", "registered_at", "consent_date")
OWN_OF_OUTCOME = (
    "recipient",
    "outcome_id",
    "event_id",
    "transaction_id",
    "creation_date",
    "attempt",
    "origin",
    "origin_ref",
)


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
    permission: MessageTemplate
    permission_value: Callable[[Mapping[str, Any]], bytes]
    outcome: MessageTemplate
    outcome_value: Callable[[Mapping[str, Any]], bytes]
    reached: Outcome


def settled_rows(
    submission: Submission, group: SettledGroup, members: Sequence[SavedItem], now: datetime
) -> tuple[bytes, list[Fact]]:
    """Return the outbox rows (permission and outcome of each key) and the facts for the history
    (the outcome, and İYS's answer).
    """
    at, reached = copy_format.microseconds(now), group.reached
    messages: list[bytes] = []
    facts: list[Fact] = []
    for item, answer, row in members:
        receipt = cast("Receipt", answer.receipt)
        recipient = item.key.split("/", 3)[3]
        identity = outcome_id(item.key, item.event_id, reached.outcome, row.attempts, reached.code)
        key = copy_format.word(item.key)
        permission = {
            "recipient": recipient,
            "registered_at": receipt.creation_date,
            "consent_date": item.consent_date,
        }
        outcome = {
            "recipient": recipient,
            "outcome_id": identity,
            "event_id": item.event_id,
            "transaction_id": receipt.transaction_id,
            "creation_date": receipt.creation_date,
            "attempt": row.attempts,
            "origin": item.origin,
            "origin_ref": item.origin_ref,
        }
        messages += (
            group.permission.row(key, group.permission_value(permission)),
            group.outcome.row(key, group.outcome_value(outcome), identity),
        )
        reached_fact = Fact(
            "outcome",
            item.customer_id,
            item.key,
            item.event_id,
            item.status,
            f"outcome/{identity}",
            at,
            orjson.dumps(reached.content(row.attempts)),
            None,
        )
        facts += (reached_fact, result_fact(submission, item, answer, at))
    return b"".join(messages), facts
