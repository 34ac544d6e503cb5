"""Encode a call for the ledger: its items as rows, and their facts for the history.

No I/O, so it is compiled where there is a compiler.
"""

from collections.abc import Iterator, Sequence

import orjson

from izin.ledger.db import copy_format
from izin.ledger.history.hash_chain import Fact
from izin.ledger.record import Item, ItemResult, Submission

NOT_SENT = "not-sent"
"""In place of a verdict: the call was withheld before it was written."""
_CHUNK = 250
_ITEM_COLUMNS = 12
_OPEN = copy_format.text(b"open")


def item_rows(number: int, items: Sequence[Item]) -> Iterator[bytes]:
    """Yield the rows of a submission's items in chunks."""
    begun = _ITEM_COLUMNS.to_bytes(2, "big") + copy_format.long(number)
    for start in range(0, len(items), _CHUNK):
        yield b"".join(
            b"".join(
                (
                    begun,
                    copy_format.integer(item.place),
                    copy_format.word(item.customer_id),
                    copy_format.word(item.key),
                    copy_format.word(item.event_id),
                    copy_format.word(item.status),
                    copy_format.moment(item.consent_date),
                    copy_format.word(item.source),
                    copy_format.integer(item.attempt),
                    copy_format.word(item.origin),
                    copy_format.word(item.origin_ref),
                    _OPEN,
                )
            )
            for item in items[start : start + _CHUNK]
        )


def call_facts(number: int, kind: str, items: Sequence[Item], at: int) -> Iterator[Fact]:
    """Yield the facts of a call, item by item."""
    for item in items:
        data = {
            "submission": number,
            "kind": kind,
            "attempt": item.attempt,
            "consent_date": item.consent_date,
            "source": item.source,
        }
        yield Fact(
            "call",
            item.customer_id,
            item.key,
            item.event_id,
            item.status,
            f"submission/{number}/{item.place}/call",
            at,
            orjson.dumps(data),
            None,
        )


def result_fact(submission: Submission, item: Item, result: ItemResult, at: int) -> Fact:
    """Return İYS's result for an item as a fact, at ``at`` (microseconds since 1970)."""
    receipt, ids = result.receipt, submission.sub_request_ids
    data = {
        "submission": submission.id,
        "how": result.how,
        "verdict": str(result.verdict),
        "code": result.code,
        "request_id": submission.request_id,
        "sub_request_id": ids[item.place] if item.place < len(ids) else None,
        "transaction_id": None if receipt is None else receipt.transaction_id,
        "creation_date": None if receipt is None else receipt.creation_date,
    }
    return _answer(submission, item, data, at)


def unsent_fact(submission: Submission, item: Item, at: int) -> Fact:
    """Return as a fact that the call of an item was withheld: the submission was never sent."""
    data = {"submission": submission.id, "how": "withheld", "verdict": NOT_SENT, "code": None}
    return _answer(submission, item, data, at)


def _answer(submission: Submission, item: Item, data: object, at: int) -> Fact:
    return Fact(
        "answer",
        item.customer_id,
        item.key,
        item.event_id,
        item.status,
        f"submission/{submission.id}/{item.place}/answer",
        at,
        orjson.dumps(data),
        None,
    )
