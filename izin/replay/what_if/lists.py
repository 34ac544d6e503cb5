"""Lists that were scrubbed: who was on them, and what the gate answered.

The receipt of a list names nobody. Its digest covers recipients and reasons, so the scrubbed file
is believed only as far as it is the list of the receipt.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from izin.consent.fields import read_recipient
from izin.consent.may_send import PermissionReason
from izin.consent.model import Channel
from izin.producers.files.cells import cell_text
from izin.producers.files.choices import ColumnChoices
from izin.producers.files.columns import recipient_place
from izin.producers.files.table_formats import open_table
from izin.replay.errors import UnverifiedListError
from izin.replay.what_if.facts import AskedReceipt
from izin.schemas.may_send_api import digest_line
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.history.receipts import receipt_key
from izin.sinks.ledger.reads import RecordedFact

_PERMITTING = frozenset({PermissionReason.REGISTERED, PermissionReason.EXEMPT})
_ASKED = frozenset(PermissionReason)
"""A row with another reason was not asked about: its fields cannot be separated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenList:
    """A scrubbed file, and the receipts of its rows, in their order."""

    path: Path
    receipts: tuple[str, ...]
    recipient: str
    """The name of its column."""
    reason: str
    """The same."""

    def as_json(self) -> list[Any]:
        """Return it as JSON values, with the SHA-256 of the file."""
        with self.path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return [self.path.name, digest, list(self.receipts), self.recipient, self.reason]


async def on_lists(ledger: Ledger, lists: Sequence[GivenList]) -> dict[str, list[AskedReceipt]]:
    """Return by key what the gate answered about everybody on ``lists``.

    Raises:
        UnverifiedListError: a list is not the one of its receipts.
        UnusableFileError, ColumnsError: a file is no such table.
    """
    found = defaultdict[str, list[AskedReceipt]](list)
    for given in lists:
        receipts = [
            receipt_of(given.path, one, await reads.facts(ledger, [receipt_key(one)]))
            for one in given.receipts
        ]
        for key, asked in on_list(given, receipts):
            found[key].append(asked)
    return found


def receipt_of(path: Path, receipt_id: str, facts: Collection[RecordedFact]) -> RecordedFact:
    """Return what the history says of a list that was asked about, of the movements ``facts`` of
    the receipt's key.

    Raises:
        UnverifiedListError: there is none, or it proves no list.
    """
    asked = next((one for one in facts if "recipients" in one.data), None)
    if asked is None:
        raise UnverifiedListError(path, receipt_id, "the ledger has no such receipt")
    if asked.data["digest"] is None:
        raise UnverifiedListError(
            path, receipt_id, "it has no digest of a list, so nothing proves who was on it"
        )
    return asked


def on_list(
    given: GivenList, receipts: Sequence[RecordedFact]
) -> Iterator[tuple[str, AskedReceipt]]:
    """Yield the key of each valid recipient of a file, and what the gate answered; receipt by
    receipt, each once its rows are verified.

    Raises:
        UnverifiedListError: the rows of a receipt are not those that it was given for.
        UnusableFileError, ColumnsError: the file is no such table.
    """
    rows = _rows(given, Channel(receipts[0].data["type"]))
    for receipt_id, receipt in zip(given.receipts, receipts, strict=True):
        data, at = {**receipt.data, "receipt_id": receipt_id}, receipt.occurred_at
        some = _verified(given, data, list(islice(rows, data["recipients"])))
        answers = {
            reason: AskedReceipt.of(data, at, may_send=reason in _PERMITTING, reason=reason)
            for _, reason in some
        }
        yield from ((key, answers[reason]) for key, reason in some)
    if next(rows, None) is not None:
        raise UnverifiedListError(
            given.path, given.receipts[-1], "the file has rows beyond it; name every receipt"
        )


def _rows(given: GivenList, channel: Channel) -> Iterator[tuple[str, str]]:
    """Yield recipient and reason of each row that was asked about."""
    table = open_table(given.path, ColumnChoices())
    recipient = recipient_place(table.headers, channel, given.recipient)
    reason = recipient_place(table.headers, channel, given.reason)
    for row in table.rows():
        cells = [cell_text(row.fields[one]) for one in (recipient, reason) if one < len(row.fields)]
        if row.fault is None and len(cells) > 1 and cells[1] in _ASKED:
            yield cells[0], cells[1]


def _verified(
    given: GivenList, data: Mapping[str, Any], rows: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return key and reason of each valid recipient, where ``rows`` are those of the receipt with
    this ``data``; raises UnverifiedListError.
    """
    hashed, found = hashlib.sha256(), list[tuple[str, str]]()
    start = f"{data['brand_code']}/{data['type']}/{data['recipient_type']}/"
    for text, reason in rows:
        recipient = read_recipient(text, Channel(data["type"]))
        is_valid = isinstance(recipient, str)
        key = f"{start}{recipient if is_valid else text}"
        hashed.update(digest_line(key, reason))
        if is_valid:
            found.append((key, reason))
    if hashed.hexdigest() != data["digest"]:
        raise UnverifiedListError(
            given.path,
            data["receipt_id"],
            f"the digest differs: these are not the {data['recipients']} recipients and reasons "
            "that the gate answered; name the file as izin scrub wrote it",
        )
    return found
