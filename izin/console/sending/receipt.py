"""The receipt of a scrubbed file, beside it: what was asked, when, and as of which state.

It names no recipient. The gate's own receipts, one of each batch, are named in it; they are in the
history, and stand there for years.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from izin.consent.errors import SourceError
from izin.consent.message_classes import MessageClass
from izin.consent.model import Channel, RecipientType
from izin.producers.files.tables import whole_file
from izin.schemas.consistency_token import positions_of, token_of
from izin.subscribers import GateAnswer, Question, ReceiptKind

SUFFIX = ".receipt.json"


class UnusableReceiptError(SourceError):
    """A receipt that cannot be found or read."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileMark(_Part):
    """Which file it was."""

    name: str
    digest: str
    """SHA-256."""

    @classmethod
    def of(cls, path: Path) -> "FileMark":
        """Return the mark of the file at ``path``."""
        with path.open("rb") as stream:
            return cls(name=path.name, digest=hashlib.file_digest(stream, "sha256").hexdigest())


class ScrubQuestion(_Part):
    """What was asked about each recipient."""

    brand_code: int
    type: Channel
    recipient_type: RecipientType
    message_class: MessageClass
    basis: str | None
    campaign: str
    retailer_code: int | None

    def asked(self, at_least: str | None = None) -> Question:
        """Return it as the gate is asked, for a receipt of each list."""
        return {
            "brand_code": self.brand_code,
            "channel": self.type,
            "recipient_type": self.recipient_type,
            "message_class": self.message_class,
            "basis": self.basis,
            "campaign": self.campaign,
            "retailer_code": self.retailer_code,
            "receipt": ReceiptKind.LIST,
            "at_least": at_least,
        }


class ScrubColumns(_Part):
    """The names of columns of the scrubbed file."""

    recipient: str
    may_send: str
    reason: str


class BatchMark(_Part):
    """One request to the gate."""

    receipt: str
    as_of: str
    recipients: int


class ScrubCounts(_Part):
    """How many rows there were, and what became of them."""

    rows: int
    written: int
    """Fewer than ``rows`` where it was asked since another receipt: those who are no now."""
    may_send: int
    invalid: int
    """Recipients that are no valid address."""
    unreadable: int
    """Rows whose fields could not be separated."""
    reasons: dict[str, int]


class ScrubReceipt(_Part):
    """The receipt of one scrubbed file."""

    id: str | None
    """Of the first batch; None: nothing was asked."""
    since: str | None
    """The id of the receipt since which it was asked; None: it was asked anew."""
    asked_at: AwareDatetime
    as_of: str | None
    """The token of the latest state that an answer rests on."""
    question: ScrubQuestion
    source: FileMark
    result: FileMark
    columns: ScrubColumns
    counts: ScrubCounts
    batches: tuple[BatchMark, ...]

    def write(self, path: Path) -> None:
        """Write it to ``path``, whole or not at all; raises UnwritableTableError."""
        with whole_file(path) as stream:
            stream.write(self.model_dump_json(indent=2).encode() + b"\n")


class ScrubTally:
    """Counts of a file that is being scrubbed, and the batches asked so far."""

    def __init__(self) -> None:
        self.rows = self.written = self.may_send = self.invalid = self.unreadable = 0
        self.reasons: Counter[str] = Counter()
        self.batches: list[BatchMark] = []
        self._latest: str | None = None

    def asked(self, answer: GateAnswer) -> None:
        """Note the answer to one batch.

        Raises:
            UnusableReceiptError: it has no receipt.
            MalformedTokenError: its token is of a newer release.
        """
        if answer.receipt is None or answer.as_of is None:
            raise UnusableReceiptError("the gate gave no receipt; is it of an older release?")
        self._latest = _latest(one for one in (self._latest, answer.as_of) if one is not None)
        self.batches.append(
            BatchMark(receipt=answer.receipt, as_of=answer.as_of, recipients=len(answer.verdicts))
        )

    @property
    def counts(self) -> ScrubCounts:
        """The counts so far."""
        return ScrubCounts(
            rows=self.rows,
            written=self.written,
            may_send=self.may_send,
            invalid=self.invalid,
            unreadable=self.unreadable,
            reasons=dict(self.reasons.most_common()),
        )

    def receipt(
        self,
        question: ScrubQuestion,
        *,
        source: FileMark,
        result: FileMark,
        columns: ScrubColumns,
        asked_at: datetime,
        since: str | None = None,
    ) -> ScrubReceipt:
        """Return the receipt."""
        return ScrubReceipt(
            id=self.batches[0].receipt if self.batches else None,
            since=since,
            asked_at=asked_at,
            as_of=self._latest,
            question=question,
            source=source,
            result=result,
            columns=columns,
            counts=self.counts,
            batches=tuple(self.batches),
        )


def receipt_path(scrubbed: Path) -> Path:
    """Return where the receipt of a scrubbed file is."""
    return scrubbed.with_name(f"{scrubbed.name}{SUFFIX}")


def find_receipt(text: str, scrubbed: Path) -> ScrubReceipt:
    """Return the receipt that ``text`` names: its file, or the id of one beside ``scrubbed``.

    Raises:
        UnusableReceiptError: there is none, or it cannot be read.
    """
    given = Path(text)
    if given.is_file():
        return _read(given)
    beside = receipt_path(scrubbed)
    if beside.is_file():
        found = _read(beside)
        if text in {one.receipt for one in found.batches}:
            return found
    raise UnusableReceiptError(
        f"{text} is no file, and {beside.name} beside the scrubbed file is not of that id; name "
        f"the file of the receipt (…{SUFFIX})"
    )


def _read(path: Path) -> ScrubReceipt:
    try:
        return ScrubReceipt.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UnusableReceiptError(
            f"{path.name} is no receipt of izin scrub, or of another release; scrub the list again"
        ) from error


def _latest(tokens: Iterable[str]) -> str:
    return token_of(position for one in set(tokens) for position in positions_of(one))
