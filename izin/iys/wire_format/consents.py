"""Consents, register records, movements, pushes and reports of a day as İYS's JSON (reference
sections 2.1-2.8, 2.12).

What we write is strict: enumerations only, and an optional field without a value is absent, for
İYS refuses ``""`` and ``null`` (H267). What İYS writes is open: its sources grow (``IYS_*``) and
consent dates may be empty, so those fields are texts. ``citizenName`` is personal data that is not
needed and never read.

A push has movements of citizens, or one fixed test payload, which is acknowledged and never stored.
It is authenticated by HTTP Basic only, may repeat and may come in any order; it does not replace
pull.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from izin.consent import Channel, RecipientType, Source, Status, aware
from izin.iys.errors import UnreadableError
from izin.iys.wire_format.json_reader import (
    JsonReader,
    UnreadableItem,
    from_turkish,
    lower_case_email,
    parse_json,
    read_each,
    readers,
    to_turkish,
)

TEST_CODE: Final = 121212
TEST_RECIPIENT: Final = "pushtest@iys.org.tr"
COLUMNS: Final = (
    "creationDate",
    "transactionId",
    "recipient",
    "recipientType",
    "type",
    "status",
    "consentDate",
    "source",
)
HEADER: Final = (",".join(COLUMNS) + "\n").encode()
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_DATE: Final = len("YYYY-MM-DD HH:mm:ss")
_EMPTY: Final = frozenset({"", "null", "none", "-"})
"""How programs write a date that is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrandPath:
    """The provider and brand of a call, by İYS's codes; ``str`` gives the path."""

    iys_code: int
    brand_code: int

    def __str__(self) -> str:
        return f"/sps/{self.iys_code}/brands/{self.brand_code}"


class Stream(StrEnum):
    """İYS's two streams of movements, each with its own cursor."""

    IYS = "IYS"
    """By citizens, and lines closed by carriers."""
    HS = "HS"
    """By any provider or business partner of the brand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentItem:
    """One consent to register. A TACIR's first record may lack source and consent date."""

    recipient: str
    type: Channel
    status: Status
    source: Source | None
    consent_date: datetime | None
    recipient_type: RecipientType = RecipientType.BIREYSEL
    retailer_code: int | None = None
    retailer_access: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.consent_date is not None:
            aware("consent_date", self.consent_date)

    def to_body(self) -> dict[str, object]:
        """Return the JSON object for İYS, without fields that have no value."""
        fields: dict[str, object] = {
            "recipient": self.recipient,
            "type": str(self.type),
            "source": None if self.source is None else str(self.source),
            "status": str(self.status),
            "consentDate": None if self.consent_date is None else to_turkish(self.consent_date),
            "recipientType": str(self.recipient_type),
            "retailerCode": self.retailer_code,
            "retailerAccess": list(self.retailer_access) if self.retailer_access else None,
        }
        return {name: value for name, value in fields.items() if value is not None}


class Receipt(NamedTuple):
    """İYS's receipt for a saved consent. Movements of the same second share a transaction id."""

    transaction_id: str
    creation_date: datetime

    @classmethod
    def read(cls, reader: JsonReader) -> Receipt:
        """Return the receipt in a response."""
        return cls(
            transaction_id=reader.text("transactionId"),
            creation_date=reader.instant("creationDate"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownConsent:
    """What İYS shows of a consent, wherever it does."""

    recipient: str
    type: str
    recipient_type: str
    status: str
    source: str | None
    """None on the first record of a merchant."""
    consent_date: datetime | None
    """Empty or old on closed lines."""
    creation_date: datetime


def _shown(reader: JsonReader) -> dict[str, Any]:
    """Return the fields of :class:`ShownConsent`."""
    return {
        "recipient": reader.recipient(),
        "type": reader.text("type"),
        "recipient_type": reader.text_or_none("recipientType") or RecipientType.BIREYSEL,
        "status": reader.text("status"),
        "source": reader.text_or_none("source"),
        "consent_date": reader.instant_or_none("consentDate"),
        "creation_date": reader.instant("creationDate"),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterRecord(ShownConsent):
    """The record of one key in İYS's register."""

    transaction_id: str | None
    retailer_code: int | None = None

    @classmethod
    def read(cls, reader: JsonReader) -> RegisterRecord:
        """Return the record in the response to a single status query."""
        return cls(
            **_shown(reader),
            transaction_id=reader.text_or_none("transactionId"),
            retailer_code=reader.integer_or_none("retailerCode"),
        )


class SerializedItems(NamedTuple):
    """The items of a batch as JSON, stored before, to be sent byte for byte."""

    body: str
    """A JSON array of ``ConsentItem.to_body`` objects."""
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IysMovement(ShownConsent):
    """One movement as pull and push show it; a push names provider and brand too.

    Order movements by ``creation_date``: a closed line carries an old or empty ``consent_date``.
    """

    transaction_id: str
    iys_code: int | None = None
    brand_code: int | None = None

    @classmethod
    def read(cls, reader: JsonReader) -> IysMovement:
        """Return the movement in an item of a page or push."""
        return cls(
            **_shown(reader),
            transaction_id=reader.text("transactionId"),
            iys_code=reader.integer_or_none("iysCode"),
            brand_code=reader.integer_or_none("brandCode"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MovementPage:
    """One page of movements, oldest first, and the opaque cursor after it."""

    after: str
    movements: tuple[IysMovement, ...]
    unreadable: tuple[UnreadableItem, ...] = ()

    @classmethod
    def read(cls, reader: JsonReader) -> MovementPage:
        """Return the page in a response."""
        movements, unreadable = read_each(reader.raw("list") or [], IysMovement.read)
        return cls(after=reader.text("after"), movements=movements, unreadable=unreadable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """The movements of a push, without İYS's test payload."""

    movements: tuple[IysMovement, ...]
    unreadable: tuple[UnreadableItem, ...] = ()


def is_test(movement: IysMovement) -> bool:
    """Whether ``movement`` is İYS's test payload: its codes and its recipient are fixed."""
    return (
        movement.iys_code == TEST_CODE
        and movement.brand_code == TEST_CODE
        and movement.recipient == TEST_RECIPIENT
    )


def parse_push(body: bytes) -> Push:
    """Return the push in the body of a request.

    Raises:
        UnreadableError: ``body`` has no list of movements.
    """
    items = JsonReader(parse_json(body)).raw("list") or []
    found, unreadable = read_each(items, IysMovement.read)
    movements = tuple(movement for movement in found if not is_test(movement))
    return Push(movements=movements, unreadable=unreadable)


class ProcessStatus(StrEnum):
    """How far İYS is with the hash of a day's file."""

    QUEUED = "queued"
    IN_PROGRESS = "inprogress"
    COMPLETED = "completed"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCount:
    """How many movements of a day İYS counts, for one channel and one of its streams."""

    type: str
    source: str
    """One of :class:`Stream`, as İYS wrote it."""
    approvals: int
    """First ONAY, or ONAY after RET."""
    rejections: int
    """RET after ONAY."""
    pending: int
    total: int

    @classmethod
    def read_all(cls, reader: JsonReader) -> tuple[DayCount, ...]:
        """Return the counts in a response."""
        return tuple(
            cls(
                type=of_type.text("type"),
                source=one.text_or_none("source") or str(Stream.HS),
                approvals=one.integer_or_none("approval") or 0,
                rejections=one.integer_or_none("rejection") or 0,
                pending=one.integer_or_none("pending") or 0,
                total=one.integer_or_none("total") or 0,
            )
            for of_type in readers(reader.raw("changeStats") or [])
            for one in readers(of_type.raw("consents") or [])
        )

    def to_json(self) -> Mapping[str, object]:
        """Return the count as the ledger stores it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayAgreement:
    """İYS's hash of a day's file, and whether agreement with it was declared."""

    process_status: str
    """One of :class:`ProcessStatus`, as İYS wrote it."""
    hash_value: str | None
    """Hex digits in lower case; None until it is completed."""
    hash_method: str | None
    is_agreed: bool

    @classmethod
    def read(cls, reader: JsonReader) -> DayAgreement:
        """Return the agreement in a response."""
        value = reader.text_or_none("hashValue")
        return cls(
            process_status=reader.text("processStatus").lower(),
            hash_value=None if value is None else value.lower(),
            hash_method=reader.text_or_none("hashMethod"),
            is_agreed=bool(reader.boolean_or_none("agreementStatus")),
        )


def prefix_of(start: bytes) -> bytes:
    """Return what stands before the lines at the ``start`` of a file, which has its first line.

    Raises:
        UnreadableError: it has column names, and they are not İYS's.
    """
    mark = BYTE_ORDER_MARK if start.startswith(BYTE_ORDER_MARK) else b""
    first, _, _ = start.removeprefix(mark).partition(b"\n")
    names = [one.strip(' "').lower() for one in first.decode("utf-8", "replace").split(",")]
    if names[0] != COLUMNS[0].lower():
        return mark
    if [name.strip() for name in names] != [column.lower() for column in COLUMNS]:
        raise UnreadableError(f"a daily file with other columns than {','.join(COLUMNS)}")
    return mark + first + b"\n"


def known_prefixes(found: bytes) -> tuple[bytes, ...]:
    """Return what may stand before the lines where İYS makes its hash, ``found`` first."""
    ours = (b"", HEADER, BYTE_ORDER_MARK, BYTE_ORDER_MARK + HEADER)
    return tuple(dict.fromkeys((found, *ours)))


def place_of(line: bytes) -> bytes:
    """Return by what a line is sorted: creation date and transaction id, as they are written."""
    return line[: line.find(b",", _DATE + 1)]


def read_line(line: bytes, *, empty_date: str) -> IysMovement:
    """Return the movement in a line; ``empty_date`` is how an empty consent date is written.

    Raises:
        UnreadableError: it has other columns, or a value that is none of theirs.
    """
    try:
        # PostgreSQL has no NUL.
        text = line.decode().replace("\0", "").rstrip("\r\n")
        cells = next(csv.reader([text], strict=True))
    except (UnicodeDecodeError, csv.Error, StopIteration):
        raise UnreadableError("a line of a daily file that is not CSV in UTF-8") from None
    if len(cells) != len(COLUMNS):
        raise UnreadableError(f"a line of a daily file with {len(cells)} columns")
    created, transaction_id, recipient, recipient_type, type_, status, consented, source = (
        cell.strip() for cell in cells
    )
    if not (recipient and type_ and status):
        raise UnreadableError("a line of a daily file without recipient, type or status")
    is_empty = consented == empty_date or consented.lower() in _EMPTY
    return IysMovement(
        recipient=lower_case_email(recipient),
        type=type_,
        recipient_type=recipient_type or str(RecipientType.BIREYSEL),
        status=status,
        source=source or None,
        consent_date=None if is_empty else from_turkish(consented),
        creation_date=from_turkish(created),
        transaction_id=transaction_id,
    )
