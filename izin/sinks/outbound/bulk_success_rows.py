"""What is written of items that İYS has saved and whose rows stand alike: messages and history.

Nothing here waits or asks, so it is compiled where there is a compiler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import orjson

from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.history.calls import result_fact
from izin.sinks.ledger.history.hash_chain import Fact
from izin.sinks.record.outcome import Outcome, outcome_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from izin.iys.wire_format.consents import Receipt
    from izin.sinks.ledger.row_templates import MessageTemplate
    from izin.sinks.record.item_result import ItemResult
    from izin.sinks.record.row import ConsentRow
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


def settled_rows(
    submission: Submission, group: Group, members: Sequence[Saved], now: datetime
) -> tuple[bytes, list[Fact]]:
    """Return the rows of the outbox, of each key its permission and its outcome, and the
    history: what was reached, and what İYS answered.
    """
    at, reached = copy_format.microseconds(now), group.told
    messages: list[bytes] = []
    facts: list[Fact] = []
    for item, answer, held in members:
        receipt = cast("Receipt", answer.receipt)
        recipient = item.key.split("/", 3)[3]
        identity = outcome_id(item.key, item.event_id, reached.outcome, held.attempts, reached.code)
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
            "attempt": held.attempts,
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
            orjson.dumps(reached.content(held.attempts)),
            None,
        )
        facts += (reached_fact, result_fact(submission, item, answer, at))
    return b"".join(messages), facts


class Held(NamedTuple):
    """A row that this transaction holds, as far as it tells whether it stands as most do."""

    ctid: str
    key: str
    event_id: str | None
    desired_at: datetime | None
    due_at: datetime | None
    expires_at: datetime | None
    attempts: int
    is_usual: bool


class Saved(NamedTuple):
    """An item that İYS has saved, and its row."""

    item: Item
    answer: ItemResult
    held: Held


class Group(NamedTuple):
    """Items whose rows stand alike, and what judging the first of them has made of its row."""

    members: Sequence[Saved]
    entry: ConsentRow
    permission: MessageTemplate
    permission_value: Callable[[Mapping[str, Any]], bytes]
    outcome: MessageTemplate
    outcome_value: Callable[[Mapping[str, Any]], bytes]
    told: Outcome
