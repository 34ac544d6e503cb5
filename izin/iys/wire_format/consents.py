"""Consents as İYS speaks them (reference sections 2.1-2.8).

What we say is strict: its words are ours, and an optional field without a value is absent, for İYS
refuses ``""`` and ``null`` (H267). What İYS says is open: its sources grow (``IYS_*``), consent
dates may be empty, so those words stay texts. ``citizenName`` is personal data that nothing here
needs, and is never read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from izin.consent.model import RecipientType, aware
from izin.iys.wire_format.json_reader import Reader, to_turkish

if TYPE_CHECKING:
    from datetime import datetime

    from izin.consent.model import Channel, Source, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class BrandPath:
    """Whose records a call is about: the provider and its brand, by İYS's numbers."""

    iys_code: int
    brand_code: int

    def __str__(self) -> str:
        return f"/sps/{self.iys_code}/brands/{self.brand_code}"


class Stream(StrEnum):
    """The two streams of changes that İYS keeps apart, each with a cursor of its own."""

    IYS = "IYS"
    """What citizens did, and what carriers closed."""
    HS = "HS"
    """What any provider or partner wrote for the brand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentItem:
    """One consent as we state it. A TACIR's first record may lack source and consent date."""

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
        """Return the JSON object that İYS takes: what has no value is absent."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """İYS saved a consent: its id and İYS's clock. Movements of one second share an id."""

    transaction_id: str
    creation_date: datetime

    @classmethod
    def read(cls, reader: Reader) -> Receipt:
        """Return the receipt in an answer."""
        return cls(
            transaction_id=reader.text("transactionId"),
            creation_date=reader.instant("creationDate"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What İYS's register says of one key. ``consent_date`` is empty on some closed lines."""

    recipient: str
    type: str
    recipient_type: str
    status: str
    source: str | None
    consent_date: datetime | None
    creation_date: datetime
    transaction_id: str | None
    retailer_code: int | None = None
    retailer_access_count: int | None = None

    @classmethod
    def read(cls, reader: Reader) -> Record:
        """Return the record in the answer of the single status query."""
        return cls(
            recipient=reader.recipient(),
            type=reader.text("type"),
            recipient_type=reader.text_or_none("recipientType") or RecipientType.BIREYSEL,
            status=reader.text("status"),
            source=reader.text_or_none("source"),
            consent_date=reader.instant_or_none("consentDate"),
            creation_date=reader.instant("creationDate"),
            transaction_id=reader.text_or_none("transactionId"),
            retailer_code=reader.whole_or_none("retailerCode"),
            retailer_access_count=reader.whole_or_none("retailerAccessCount"),
        )


class Written(NamedTuple):
    """A batch's items as they were written down before, to be said word for word."""

    body: str
    """A JSON array of what ``ConsentItem.to_body`` gives."""
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One movement as pull and push tell it; pushes name provider and brand too.

    Order movements by ``creation_date``: a line closing carries an old or empty ``consent_date``.
    """

    recipient: str
    type: str
    recipient_type: str
    status: str
    source: str | None
    """None on a merchant's first record, which needs none."""
    consent_date: datetime | None
    creation_date: datetime
    transaction_id: str
    iys_code: int | None = None
    brand_code: int | None = None

    @classmethod
    def read(cls, reader: Reader) -> Movement:
        """Return the movement in an item of a page or push."""
        return cls(
            recipient=reader.recipient(),
            type=reader.text("type"),
            recipient_type=reader.text_or_none("recipientType") or RecipientType.BIREYSEL,
            status=reader.text("status"),
            source=reader.text_or_none("source"),
            consent_date=reader.instant_or_none("consentDate"),
            creation_date=reader.instant("creationDate"),
            transaction_id=reader.text("transactionId"),
            iys_code=reader.whole_or_none("iysCode"),
            brand_code=reader.whole_or_none("brandCode"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of changes, oldest first, and the opaque cursor after it."""

    after: str
    movements: tuple[Movement, ...]

    @classmethod
    def read(cls, reader: Reader) -> Page:
        """Return the page in an answer."""
        return cls(
            after=reader.text("after"),
            movements=tuple(Movement.read(item) for item in reader.each("list")),
        )
