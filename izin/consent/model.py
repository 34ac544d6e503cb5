"""What the law speaks of, as values that cannot be wrong; the words it uses are in ``words``.

İYS's record key is (brand, type, recipientType, recipient).

A :class:`ConsentEvent` is what somebody said happened, with nothing checked but its types; the law
judges it in ``admission``. A :class:`Consent` is what the law holds true of a key after any number
of events.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = (
    "LAW_VERSION",
    "Channel",
    "Claim",
    "Consent",
    "ConsentEvent",
    "ConsentKey",
    "Content",
    "DateBasis",
    "Decision",
    "DecisionKind",
    "IysStatement",
    "Order",
    "OriginRank",
    "Reason",
    "RecipientType",
    "Source",
    "Status",
    "Violation",
    "aware",
)

LAW_VERSION = 1
"""Raised whenever the same events could give another state; stands in every Consent and
Decision."""

_EMPTY: Mapping[str, str] = MappingProxyType({})


def aware(name: str, instant: datetime) -> datetime:
    """Return ``instant`` if it carries a time zone.

    Raises NaiveInstantError, for a naive time is a legal bug: İYS speaks Turkish time, we keep UTC.
    """
    if instant.tzinfo is None:
        raise NaiveInstantError(name)
    return instant


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentKey:
    """The record İYS keeps: one per brand, channel, recipient type and normalised recipient."""

    brand_code: int
    channel: Channel
    recipient_type: RecipientType
    recipient: str

    def __str__(self) -> str:
        """Return the canonical key, ``brand_code/type/recipient_type/recipient``: the Kafka key."""
        return f"{self.brand_code}/{self.channel}/{self.recipient_type}/{self.recipient}"

    def encode(self) -> bytes:
        """Return the canonical key as the bytes that Kafka carries."""
        return str(self).encode()

    @classmethod
    def parse(cls, text: str) -> ConsentKey:
        """Return the key that ``text`` spells; raises UnreadableKeyError if it spells none."""
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
class IysStatement:
    """Where İYS originated an event: the movement as İYS told it. ``creation_date`` is İYS's
    clock.
    """

    stream: str
    """``IYS`` (what the citizen did) or ``HS`` (what a provider wrote)."""
    path: str
    """``push``, ``pull`` or ``daily``."""
    creation_date: datetime
    transaction_id: str | None = None
    observed_at: datetime | None = None

    def __post_init__(self) -> None:
        aware("creation_date", self.creation_date)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentEvent:
    """What somebody says happened to a consent: the input contract, with nothing yet judged.

    ``type``, ``recipient_type`` and ``status`` are open strings here, for a publisher may write
    straight to the topic: a bad word must reach the law to be named as a violation. Instants are
    UTC.
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
    iys: IysStatement | None = None

    def __post_init__(self) -> None:
        if self.consent_date is not None:
            aware("consent_date", self.consent_date)
        if self.received_at is not None:
            aware("received_at", self.received_at)

    @property
    def origin_rank(self) -> OriginRank:
        """İYS's citizens' stream, İYS's provider stream (a foreign writer), or one of our
        systems.
        """
        if self.iys is None:
            return OriginRank.OURS
        return OriginRank.IYS_HS if self.iys.stream == "HS" else OriginRank.IYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A field that breaks a rule. ``code`` is İYS's H-code where it has one, else one of ours."""

    field: str
    code: str
    reason: str
    """In English, for operators."""
    reason_tr: str
    """In Turkish, for the people who correct the record; İYS's meaning in our words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An admitted event: a readable key, a certain status, and the instant from which it counts.

    ``effective_at`` has whole seconds, for İYS has no finer clock. ``violations`` is empty unless
    the event is a RET that takes local effect but cannot be registered as it stands
    (``registrable`` is then false).
    """

    key: ConsentKey
    status: Status
    effective_at: datetime
    event: ConsentEvent
    violations: tuple[Violation, ...] = ()

    @property
    def registrable(self) -> bool:
        """Whether İYS would take this statement as it stands."""
        return not self.violations

    @property
    def order(self) -> Order:
        """The place of this claim in the law's total order."""
        return (
            self.effective_at,
            self.status is Status.RET,
            int(self.event.origin_rank),
            self.event.event_id,
        )

    @property
    def content(self) -> Content:
        """What a state keeps of this claim besides its order."""
        return _content(self.event, self.registrable)


Order = tuple[datetime, bool, int, str]
"""(effective instant in whole seconds, is RET, origin rank, event id): the greatest wins."""

Content = tuple[bool, bool, datetime, bool, str, str, str]
"""(registrable, is dated, consent date, has a source, source, origin, customer): the greatest
represents claims of one order, which are one event id told in two ways. Any fixed choice would do;
this one keeps the statement that İYS would sooner take."""

_UNDATED = datetime.min.replace(tzinfo=UTC)


def _content(said: ConsentEvent | Consent, registrable: bool) -> Content:
    dated_at, source = said.consent_date, said.source
    return (
        registrable,
        dated_at is not None,
        _UNDATED if dated_at is None else dated_at,
        source is not None,
        source or "",
        said.origin,
        said.customer_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What the law holds true of a key: the winning claim, and the latest instants of either
    status.

    A function of the *set* of claims alone, so any order, duplication or batching of them gives
    this value. ``previous_status`` is the opposite status if the key ever had it.
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
        """The place of the winning claim in the law's total order."""
        return (
            self.effective_at,
            self.status is Status.RET,
            int(self.origin_rank),
            self.event_id,
        )

    @property
    def content(self) -> Content:
        """What this state keeps of the winning claim besides its order."""
        return _content(self, self.registrable)

    @property
    def previous_status(self) -> Status | None:
        """The status this one overrides, if the key was ever known to have it."""
        if self.status is Status.RET:
            return None if self.latest_onay_at is None else Status.ONAY
        return None if self.latest_ret_at is None else Status.RET


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the law decided of a claim, why, and what it holds true of the key from then on."""

    kind: DecisionKind
    reason: Reason
    claim: Claim
    consent: Consent
    opted_out: bool
    """Whether the effective status became RET by this claim."""
