"""The values of the law: key, event, admitted event, consent, decision. Enumerations: ``enums``.

A :class:`ConsentEvent` is what a source reports, with nothing checked but its types; ``admission``
makes an :class:`AdmittedEvent` of it, or refuses it. A :class:`Consent` is the state of a key after
any number of admitted events, and a :class:`Decision` what one of them changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from izin.consent.enums import (
    Channel,
    DateBasis,
    DecisionKind,
    OriginRank,
    Reason,
    RecipientType,
    Source,
    Status,
)
from izin.consent.errors import NaiveInstantError, UnreadableKeyError
from izin.consent.violations import Violation

__all__ = (
    "LAW_VERSION",
    "SYNTHETIC_BRAND",
    "SYNTHETIC_CUSTOMER",
    "AdmittedEvent",
    "Channel",
    "Consent",
    "ConsentEvent",
    "ConsentKey",
    "Content",
    "DateBasis",
    "Decision",
    "DecisionKind",
    "IysOrigin",
    "Order",
    "OriginRank",
    "Reason",
    "RecipientType",
    "Source",
    "Status",
    "aware",
)

SYNTHETIC_BRAND: Final = 2_147_483_647
"""The brand of events of nobody, by which an installation watches itself: the largest number that a
brand code can be. It is in no ledger, so it has no code at İYS under which it could be submitted.
"""
SYNTHETIC_CUSTOMER: Final = "izin-synthetic"
"""Whose it is: only an API key of this customer publishes for it, or sees what is of it."""

LAW_VERSION = 3
"""Incremented whenever the same events could give another state; part of every Consent."""

_EMPTY: Mapping[str, str] = MappingProxyType({})


def aware(name: str, instant: datetime) -> datetime:
    """Return ``instant``, which must carry a time zone: İYS uses Turkish time, we store UTC.

    Raises:
        NaiveInstantError: it has none.
    """
    if instant.tzinfo is None:
        raise NaiveInstantError(name)
    return instant


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentKey:
    """The key of a record at İYS: brand, channel, recipient type and normalised recipient."""

    brand_code: int
    channel: Channel
    recipient_type: RecipientType
    recipient: str

    def __str__(self) -> str:
        """Return the canonical key, ``brand_code/type/recipient_type/recipient``."""
        return f"{self.brand_code}/{self.channel}/{self.recipient_type}/{self.recipient}"

    def encode(self) -> bytes:
        """Return the canonical key as the bytes of a Kafka key."""
        return str(self).encode()

    @classmethod
    def parse(cls, text: str) -> ConsentKey:
        """Return the key of the canonical form ``text``.

        Raises:
            UnreadableKeyError: ``text`` is not a canonical key.
        """
        try:
            brand, channel, recipient_type, recipient = text.split("/", 3)
            key = cls(
                brand_code=int(brand),
                channel=Channel(channel),
                recipient_type=RecipientType(recipient_type),
                recipient=recipient,
            )
        except ValueError:
            raise UnreadableKeyError(text) from None
        if str(key) != text or not recipient:
            raise UnreadableKeyError(text)
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class IysOrigin:
    """Where an event comes from if İYS originated it: the entry as İYS showed it."""

    stream: str
    """``IYS`` (what the citizen did) or ``HS`` (what a provider wrote)."""
    path: str
    """``push``, ``pull`` or ``daily``."""
    creation_date: datetime
    """By İYS's clock."""
    transaction_id: str | None = None
    observed_at: datetime | None = None

    def __post_init__(self) -> None:
        aware("creation_date", self.creation_date)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentEvent:
    """What a source reports about a consent: the input contract, not validated yet.

    ``type``, ``recipient_type`` and ``status`` are open strings, for a publisher may write straight
    to the topic: an unknown value must reach ``admission`` to be reported as a violation. Instants
    are UTC.
    """

    event_id: str
    customer_id: str
    brand_code: int
    type: str
    recipient_type: str = RecipientType.BIREYSEL
    recipient: str
    recipient_raw: str | None = None
    status: str
    source: str | None = None
    consent_date: datetime | None = None
    received_at: datetime | None = None
    date_basis: str = DateBasis.STATED
    origin: str
    origin_ref: str | None = None
    sequence: int | None = None
    actor: str | None = None
    correlation_id: str | None = None
    cause: str | None = None
    import_id: str | None = None
    row: int | None = None
    retailer_code: int | None = None
    retailer_access: tuple[int, ...] | None = None
    notice_version: str | None = None
    evidence: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    evidence_hash: str | None = None
    iys: IysOrigin | None = None

    def __post_init__(self) -> None:
        if self.consent_date is not None:
            aware("consent_date", self.consent_date)
        if self.received_at is not None:
            aware("received_at", self.received_at)

    @property
    def origin_rank(self) -> OriginRank:
        """Who wrote it: one of our systems, a provider at İYS (stream HS), or a citizen there."""
        return rank_of(None if self.iys is None else self.iys.stream)


def rank_of(stream: str | None) -> OriginRank:
    """Return the rank of an event of this stream of İYS; None: of one of our systems."""
    if stream is None:
        return OriginRank.OURS
    return OriginRank.IYS_HS if stream == "HS" else OriginRank.IYS


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmittedEvent:
    """An event with a readable key, a valid status, and the instant from which it counts.

    ``effective_at`` has whole seconds, for İYS has no finer clock. ``violations`` is empty unless
    the event is a RET that takes local effect but cannot be registered as it stands
    (``registrable`` is then false), or that lost a text (a note).
    """

    key: ConsentKey
    status: Status
    effective_at: datetime
    event: ConsentEvent
    violations: tuple[Violation, ...] = ()

    @property
    def registrable(self) -> bool:
        """Whether İYS would accept this event as it stands."""
        return not self.violations or all(violation.is_note for violation in self.violations)

    @property
    def order(self) -> Order:
        """The position of this event in the total order: see ``ordering``."""
        event = self.event
        return order_of(self.effective_at, self.status, event.origin_rank, event.event_id)

    @property
    def content(self) -> Content:
        """What a consent retains of this event besides its order."""
        return _content(self.event, self.registrable)


Order = tuple[datetime, bool, int, str]
"""(effective instant in whole seconds, is RET, origin rank, event id): the greatest wins."""


def order_of(effective_at: datetime, status: str, rank: int | None, event_id: str | None) -> Order:
    """Return the position of an event in the total order; events are compared by the law alone."""
    return effective_at, status == Status.RET, int(rank or 0), event_id or ""


Content = tuple[bool, bool, datetime, bool, str, str, str]
"""(registrable, is dated, consent date, has a source, source, origin, customer): breaks the tie
between events of equal order, which share one event id. Any fixed rule would do; this one prefers
the event that İYS is more likely to accept."""

_UNDATED = datetime.min.replace(tzinfo=UTC)


def _content(of: ConsentEvent | Consent, registrable: bool) -> Content:
    dated_at, source = of.consent_date, of.source
    return (
        registrable,
        dated_at is not None,
        _UNDATED if dated_at is None else dated_at,
        source is not None,
        source or "",
        of.origin,
        of.customer_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """The state of a key: the winning event, and the latest instant of either status.

    A function of the *set* of admitted events alone: any order, duplication or batching of them
    gives this value.
    """

    key: ConsentKey
    customer_id: str
    status: Status
    effective_at: datetime
    origin_rank: OriginRank
    event_id: str
    origin: str
    source: str | None
    consent_date: datetime | None
    registrable: bool
    latest_onay_at: datetime | None
    latest_ret_at: datetime | None
    law_version: int = LAW_VERSION

    @property
    def order(self) -> Order:
        """The position of the winning event in the total order."""
        return order_of(self.effective_at, self.status, self.origin_rank, self.event_id)

    @property
    def content(self) -> Content:
        """What is retained of the winning event besides its order."""
        return _content(self, self.registrable)

    @property
    def previous_status(self) -> Status | None:
        """The opposite status, if the key ever had it."""
        if self.status is Status.RET:
            return None if self.latest_onay_at is None else Status.ONAY
        return None if self.latest_ret_at is None else Status.RET


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What an admitted event changed, why, and the consent that results."""

    kind: DecisionKind
    reason: Reason
    admitted: AdmittedEvent
    consent: Consent
    opted_out: bool
    """Whether this event changed the effective status to RET."""
