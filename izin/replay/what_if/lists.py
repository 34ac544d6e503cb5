"""Lists that were scrubbed: who was on them, and what the gate answered.

The receipt of a list names nobody. Its digest covers recipients and reasons, so the scrubbed file
is believed only as far as it is the list of the receipt.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

from izin.consent.fields import read_recipient
from izin.consent.may_send import PermissionReason
from izin.consent.model import Channel
from izin.producers.files.cells import cell_text
from izin.producers.files.choices import ColumnChoices
from izin.producers.files.columns import recipient_place
from izin.producers.files.table_formats import open_table
from izin.producers.files.tables import Table
from izin.replay.errors import UnverifiedListError
from izin.replay.what_if.facts import AskedReceipt
from izin.schemas.may_send_api import digest_line
from izin.sinks.ledger.reads import RecordedFact

REASON = "reason"
"""The column of the reason where nobody names it."""
_PERMITTING = frozenset({PermissionReason.REGISTERED, PermissionReason.EXEMPT})
_ASKED = frozenset(PermissionReason)
"""A row with another reason was not asked about: its fields cannot be separated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenList:
    """A scrubbed file, and the receipts of its rows, in their order."""

    path: Path
    receipts: tuple[str, ...]
    recipient: str | None = None
    """The name of its column; None: the one whose name says so."""
    reason: str = REASON

    def as_json(self, digest: str) -> list[Any]:
        """Return it as JSON values, with the SHA-256 of the file."""
        return [self.path.name, digest, list(self.receipts), self.recipient, self.reason]


class ListReceipt(NamedTuple):
    """What the history says of a list that was asked about."""

    receipt_id: str
    brand_code: int
    customer_id: str
    channel: Channel
    recipient_type: str
    recipients: int
    digest: str
    shared: AskedReceipt
    """What is the same for everybody on it."""

    @classmethod
    def of(cls, path: Path, receipt_id: str, facts: Collection[RecordedFact]) -> Self:
        """Return the receipt of the movements ``facts`` of its key.

        Raises:
            UnverifiedListError: there is none, or it proves no list.
        """
        asked = next((one for one in facts if "recipients" in one.data), None)
        if asked is None:
            raise UnverifiedListError(path, receipt_id, "the ledger has no such receipt")
        data: Mapping[str, Any] = asked.data
        if data["digest"] is None:
            raise UnverifiedListError(
                path, receipt_id, "it has no digest of a list, so nothing proves who was on it"
            )
        return cls(
            receipt_id=receipt_id,
            brand_code=data["brand_code"],
            customer_id=asked.customer_id,
            channel=Channel(data["type"]),
            recipient_type=data["recipient_type"],
            recipients=data["recipients"],
            digest=data["digest"],
            shared=_shared(receipt_id, data, asked.occurred_at),
        )


def on_list(
    given: GivenList, receipts: Sequence[ListReceipt], *, free: Collection[str]
) -> Iterator[tuple[ListReceipt, str, AskedReceipt]]:
    """Yield each valid recipient of a file: the receipt, the key, and what the gate answered; list
    by list, each once it is verified. ``free`` are the customers who may send to merchants whom İYS
    does not have.

    Raises:
        UnverifiedListError: the rows of a receipt are not those that it was given for.
        UnusableFileError, ColumnsError: the file is no such table.
    """
    table = open_table(given.path, ColumnChoices())
    rows = _rows(table, given, receipts[0].channel)
    for receipt in receipts:
        some = list(islice(rows, receipt.recipients))
        for key, asked in _verified(given, receipt, some, free):
            yield receipt, key, asked
    if next(rows, None) is not None:
        raise UnverifiedListError(
            given.path, receipts[-1].receipt_id, "the file has rows beyond it; name every receipt"
        )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _rows(table: Table, given: GivenList, channel: Channel) -> Iterator[tuple[str, str]]:
    """Yield recipient and reason of each row that was asked about."""
    recipient = recipient_place(table.headers, channel, given.recipient)
    reason = recipient_place(table.headers, channel, given.reason)
    for row in table.rows():
        cells = [cell_text(row.fields[one]) for one in (recipient, reason) if one < len(row.fields)]
        if row.fault is None and len(cells) > 1 and cells[1] in _ASKED:
            yield cells[0], cells[1]


def _verified(
    given: GivenList,
    receipt: ListReceipt,
    rows: Sequence[tuple[str, str]],
    free: Collection[str],
) -> Iterator[tuple[str, AskedReceipt]]:
    start = f"{receipt.brand_code}/{receipt.channel}/{receipt.recipient_type}/"
    hashed, found = hashlib.sha256(), list[tuple[str, str]]()
    for text, reason in rows:
        recipient = read_recipient(text, receipt.channel)
        is_valid = isinstance(recipient, str)
        key = f"{start}{recipient if is_valid else text}"
        hashed.update(digest_line(key, reason))
        if is_valid:
            found.append((key, reason))
    if hashed.hexdigest() != receipt.digest:
        raise UnverifiedListError(
            given.path,
            receipt.receipt_id,
            f"the digest differs: these are not the {receipt.recipients} recipients and reasons "
            "that the gate answered; name the file as izin scrub wrote it",
        )
    is_free = receipt.customer_id in free
    for key, reason in found:
        may_send = reason in _PERMITTING or (is_free and reason == PermissionReason.REGISTER_FIRST)
        yield key, receipt.shared._replace(may_send=may_send, reason=reason)


def _shared(receipt_id: str, data: Mapping[str, Any], asked_at: datetime) -> AskedReceipt:
    return AskedReceipt(
        receipt_id=receipt_id,
        asked_at=asked_at,
        asked_by=data["asked_by"],
        campaign=data["campaign"],
        message_class=data["message_class"],
        may_send=False,
        reason="",
    )
