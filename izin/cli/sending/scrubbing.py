"""A table of recipients, asked about row by row and written anew with the answers; and its receipt.

Rows are read, asked about in batches and written as they come: a few batches are in memory. A row
whose fields cannot be separated is not asked about, and the answer for it is no.

The receipt beside the file says what was asked, when, and as of which state. It names no recipient.
The gate's own receipts, one of each batch, are named in it; they are in the history, and stand
there for years.
"""

from collections import deque
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from izin.cli.terminal import digest_of
from izin.consent import Channel, MessageClass, RecipientType, SourceError
from izin.consent.may_send import PermissionReason
from izin.producers.files import (
    Cells,
    ColumnsError,
    FileRow,
    Table,
    UnusableFileError,
    cell_text,
    whole_file,
)
from izin.schemas.consistency_token import positions_of, token_of
from izin.schemas.words import fold
from izin.subscribers import Gate, GateAnswer, GateVerdict, Question, ReceiptKind

SUFFIX = ".receipt.json"
RejectLinks = Mapping[str, tuple[str, str]]
"""By recipient İYS's link, and its code where it makes none; the other one is empty."""
NO_LINK = ("", "")
UNREADABLE_ROW = "unreadable-row"
"""The reason where the gate was not asked."""
INVALID_RECIPIENT = "invalid-recipient"
"""The reason where the gate says of the recipient that it is no valid address."""
_PROGRESS_ROWS = 1000
_MOST_UNREADABLE = 10_000
"""Rows of one file: they are kept until the answers about those before them are there."""
OnProgress = Callable[[int], None]
"""Called with the position in the file."""


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
        return cls(name=path.name, digest=digest_of(path))


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
            "type": self.type,
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


class ScrubCounts(BaseModel):
    """How many rows there were, and what became of them."""

    model_config = ConfigDict(extra="forbid")

    rows: int = 0
    written: int = 0
    """Fewer than ``rows`` where it was asked since another receipt: those who are no now."""
    may_send: int = 0
    invalid: int = 0
    """Recipients that are no valid address."""
    unreadable: int = 0
    """Rows whose fields could not be separated."""
    reasons: dict[str, int] = {}
    reject_codes: dict[str, int] = {}
    """Rows for which İYS made no reject link, by its code."""

    def add(self, reason: str) -> None:
        """Count a row with this reason."""
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


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
        self.counts = ScrubCounts()
        self.batches: list[BatchMark] = []
        self.links: RejectLinks = {}
        """İYS's links for the last batch."""
        self._latest: str | None = None

    def asked(self, answer: GateAnswer) -> None:
        """Note the answer to one batch.

        Raises:
            SourceError: it has no receipt.
            OpaqueTextError: its token is of a newer release.
        """
        if answer.receipt is None or answer.as_of is None:
            raise SourceError("the gate gave no receipt; is it of an older release?")
        self._latest = _latest(one for one in (self._latest, answer.as_of) if one is not None)
        self.batches.append(
            BatchMark(receipt=answer.receipt, as_of=answer.as_of, recipients=len(answer.verdicts))
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
        ranked = sorted(self.counts.reasons.items(), key=lambda one: -one[1])
        return ScrubReceipt(
            id=self.batches[0].receipt if self.batches else None,
            since=since,
            asked_at=asked_at,
            as_of=self._latest,
            question=question,
            source=source,
            result=result,
            columns=columns,
            counts=self.counts.model_copy(update={"reasons": dict(ranked)}),
            batches=tuple(self.batches),
        )


def receipt_path(scrubbed: Path) -> Path:
    """Return where the receipt of a scrubbed file is."""
    return scrubbed.with_name(f"{scrubbed.name}{SUFFIX}")


def read_receipt(path: Path) -> ScrubReceipt:
    """Return the receipt at ``path``.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        return ScrubReceipt.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise SourceError(
            f"{path.name} is no receipt of izin scrub (…{SUFFIX}), or of another release; scrub "
            "the list again"
        ) from error


def _latest(tokens: Iterable[str]) -> str:
    return token_of(position for token in set(tokens) for position in positions_of(token))


class ScrubAnswer(StrEnum):
    """Whether a message may be sent to a recipient."""

    YES = "yes"
    NO = "no"


YES, NO = ScrubAnswer
LINK = "opt_out"
"""The column of links."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrub:
    """What is asked about a table, and where the result goes."""

    question: Question
    column: int
    """The index of the recipients' column."""
    columns: ScrubColumns
    out: Path
    progress: OnProgress
    only: ScrubAnswer | None = None
    """Write the rows with this answer alone; None: all."""
    link: Callable[[str], str] | None = None
    """Returns the link by which a recipient opts out, for a column of its own."""
    reject_links: Callable[[Sequence[str]], Awaitable[RejectLinks]] | None = None
    """Has İYS make links for recipients, for two columns of their own."""


ScrubWork = Callable[[Gate, Table, Scrub, ScrubTally], Awaitable[None]]
"""``scrub`` or ``recheck_rows``."""


def added_columns(headers: Sequence[str], column: int) -> ScrubColumns:
    """Return the names of the columns that are added to ``headers``, none of which they have."""
    return ScrubColumns(
        recipient=headers[column],
        may_send=_free("may_send", headers),
        reason=_free("reason", headers),
    )


async def scrub(gate: Gate, table: Table, how: Scrub, tally: ScrubTally) -> None:
    """Write each row of ``table`` with the gate's answer, or those with the one that is wanted.

    Raises:
        UnusableFileError: the file cannot be read to its end, or has no rows.
        UnwritableTableError: the result cannot be written.
        The errors of ``Gate.check``; nothing is written then.
    """
    added = how.columns
    kept: Cells = [None] * len(table.headers)
    names = [added.may_send, added.reason]
    if how.link is not None:
        names.append(_free(LINK, table.headers))
    if how.reject_links is not None:
        names += (_free(one, table.headers) for one in ("reject_link", "reject_code"))

    with table.writer(how.out, [*table.headers, *names]) as writer:
        async with aclosing(_judged(gate, table, how, tally)) as judged:
            async for row, verdict in judged:
                words = _words(verdict, tally)
                if how.only in {None, words[0]}:
                    tally.counts.written += 1
                    links = _links(row, words[0], how, tally)
                    writer.write(row, [*kept, *words, *links])
        if not tally.counts.rows:
            raise UnusableFileError(table.file.path, "has a header and no rows; export it again")


async def recheck_rows(gate: Gate, table: Table, how: Scrub, tally: ScrubTally) -> None:
    """Ask again about the rows of a scrubbed ``table``; write those to which nothing may be sent
    any more, with the reason.

    Only rows that say no are not asked about: a spreadsheet may have changed how yes is written.

    Raises:
        ColumnsError: the table has no such columns.
        The errors of :func:`scrub`.
    """
    may_send, reason = (_place(table, one) for one in (how.columns.may_send, how.columns.reason))

    def is_wanted(row: FileRow) -> bool:
        return row.fault is not None or _cell(row, may_send) != NO

    with table.writer(how.out, table.headers) as writer:
        async with aclosing(_judged(gate, table, how, tally, is_wanted)) as judged:
            async for row, verdict in judged:
                words = _words(verdict, tally)
                if words[0] == NO:
                    tally.counts.written += 1
                    cells: list[str | None] = [None] * len(table.headers)
                    cells[may_send], cells[reason] = words
                    writer.write(row, cells)


async def _judged(
    gate: Gate,
    table: Table,
    how: Scrub,
    tally: ScrubTally,
    is_wanted: Callable[[FileRow], bool] = lambda _: True,
) -> AsyncGenerator[tuple[FileRow, GateVerdict | None], None]:
    """Yield each row of ``table`` that is wanted with the verdict on its recipient; None for one
    whose fields cannot be separated.
    """
    rows = _AskedRows(table, how, tally, is_wanted)
    async with aclosing(gate.check_lists(rows.recipients(), **how.question)) as answers:
        async for answer in answers:
            tally.asked(answer)
            if how.reject_links is not None:
                sent_to = [one.recipient for one in answer.verdicts if one.may_send]
                tally.links = await how.reject_links(sent_to)
            for verdict in answer.verdicts:
                for row in rows.unreadable():
                    yield row, None
                yield rows.waiting.popleft(), verdict
    for row in rows.unreadable():
        yield row, None


class _AskedRows:
    """Rows that were read, until the verdicts on them are there."""

    def __init__(
        self, table: Table, how: Scrub, tally: ScrubTally, is_wanted: Callable[[FileRow], bool]
    ) -> None:
        self._table = table
        self._how = how
        self._tally = tally
        self._is_wanted = is_wanted
        self.waiting: deque[FileRow] = deque()

    def recipients(self) -> Iterator[str]:
        """Read the table; yield the recipient of each row that is wanted and can be read."""
        unreadable = 0
        for number, row in enumerate(self._table.rows()):
            if number % _PROGRESS_ROWS == 0:
                self._how.progress(row.position)
            self._tally.counts.rows += 1
            if not self._is_wanted(row):
                continue
            self.waiting.append(row)
            if row.fault is None:
                yield _cell(row, self._how.column)
            elif (unreadable := unreadable + 1) > _MOST_UNREADABLE:
                raise UnusableFileError(
                    self._table.file.path,
                    f"over {_MOST_UNREADABLE} rows cannot be read: {row.fault}",
                )

    def unreadable(self) -> Iterator[FileRow]:
        """Take the rows out that come next and could not be read."""
        while self.waiting and self.waiting[0].fault is not None:
            yield self.waiting.popleft()


def _words(verdict: GateVerdict | None, tally: ScrubTally) -> tuple[str, str]:
    """Return the cells of a row's verdict, and count it."""
    if verdict is None:
        tally.counts.unreadable += 1
        tally.counts.add(UNREADABLE_ROW)
        return NO, UNREADABLE_ROW
    _, code = tally.links.get(verdict.recipient, NO_LINK)
    if code:
        tally.counts.reject_codes[code] = tally.counts.reject_codes.get(code, 0) + 1
    if code == "H568" and verdict.reason == PermissionReason.REGISTERED:
        # İYS holds no consent: the recipient may have opted out there a moment ago.
        verdict = replace(verdict, may_send=False, reason=PermissionReason.NOT_REGISTERED)
    tally.counts.may_send += verdict.may_send
    reason: str = verdict.reason
    if verdict.violation is not None:
        tally.counts.invalid += 1
        reason = INVALID_RECIPIENT
    tally.counts.add(reason)
    return YES if verdict.may_send else NO, reason


def _links(row: FileRow, answer: str, how: Scrub, tally: ScrubTally) -> Iterator[str]:
    """Yield the links of a row, empty for a recipient to whom nothing is sent; nothing where no
    links are wanted.
    """
    if how.link is not None:
        yield how.link(_cell(row, how.column)) if answer == YES else ""
    if how.reject_links is not None:
        yield from tally.links.get(_cell(row, how.column), NO_LINK)


def _cell(row: FileRow, place: int) -> str:
    return cell_text(row.fields[place]) if place < len(row.fields) else ""


def _place(table: Table, name: str) -> int:
    found = [place for place, header in enumerate(table.headers) if header == name]
    if len(found) != 1:
        raise ColumnsError(
            f'{table.file.path.name} has no column "{name}", or several; name the file that '
            "izin scrub wrote"
        )
    return found[0]


def _free(name: str, headers: Sequence[str]) -> str:
    taken = set(map(fold, headers))
    names = (name, *(f"{name}_{number}" for number in range(2, len(headers) + 3)))
    return next(one for one in names if fold(one) not in taken)
