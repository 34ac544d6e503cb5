"""Consents, register records and movements as İYS's JSON (reference sections 2.1-2.8).

What we write is strict: enumerations only, and an optional field without a value is absent, for
İYS refuses ``""`` and ``null`` (H267). What İYS writes is open: its sources grow (``IYS_*``) and
consent dates may be empty, so those fields are texts. ``citizenName`` is personal data that is not
needed and never read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from izin.consent.model import Channel, RecipientType, Source, Status, aware
from izin.iys.wire_format.json_reader import JsonReader, UnreadableItem, read_each, to_turkish


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
class RegisterRecord:
    """The record of one key in İYS's register. ``consent_date`` is empty on some closed lines."""

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
    def read(cls, reader: JsonReader) -> RegisterRecord:
        """Return the record in the response to a single status query."""
        return cls(
            recipient=reader.recipient(),
            type=reader.text("type"),
            recipient_type=reader.text_or_none("recipientType") or RecipientType.BIREYSEL,
            status=reader.text("status"),
            source=reader.text_or_none("source"),
            consent_date=reader.instant_or_none("consentDate"),
            creation_date=reader.instant("creationDate"),
            transaction_id=reader.text_or_none("transactionId"),
            retailer_code=reader.integer_or_none("retailerCode"),
            retailer_access_count=reader.integer_or_none("retailerAccessCount"),
        )


class SerializedItems(NamedTuple):
    """The items of a batch as JSON, stored before, to be sent byte for byte."""

    body: str
    """A JSON array of ``ConsentItem.to_body`` objects."""
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IysMovement:
    """One movement as pull and push show it; a push names provider and brand too.

    Order movements by ``creation_date``: a closed line carries an old or empty ``consent_date``.
    """

    recipient: str
    type: str
    recipient_type: str
    status: str
    source: str | None
    """None on the first record of a merchant."""
    consent_date: datetime | None
    creation_date: datetime
    transaction_id: str
    iys_code: int | None = None
    brand_code: int | None = None

    @classmethod
    def read(cls, reader: JsonReader) -> IysMovement:
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
