"""What each side says of a key: the ledger's row, both topics, and İYS."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from izin.consent.enums import TextEnum
from izin.consent.fold import is_of_citizens
from izin.consent.may_send import Permission
from izin.consent.model import Order, order_of
from izin.consent.next_action import Action
from izin.sinks.record import earlier_opt_out
from izin.sinks.record.consent_row import ConsentRow

_FOR_THE_LAW = (
    *("key", "desired_status", "desired_rank", "latest_ret_at", "state", "updated_at"),
    *("registered", "registered_at", "registered_consent_date", "registered_source"),
    *("verified_at", "verified_by", "ret_withdrawn_at"),
)
"""The columns that decide what a row permits."""


class Side(TextEnum):
    """Who says something else than the row of the ledger, or that there should be one."""

    IYS = "iys"
    DESIRED = "desired-consents"
    PERMISSIONS = "permissions"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """What the ledger has of a key."""

    desired_status: str | None
    desired_at: datetime | None
    desired_rank: int | None
    desired_event_id: str | None
    registered: str
    registered_at: datetime | None
    registered_consent_date: datetime | None
    registered_source: str | None
    registered_transaction_id: str | None
    verified_at: datetime | None
    state: str
    action: str
    reason: str | None
    code: str | None
    expires_at: datetime | None
    is_open: bool
    withdrawn_at: datetime | None
    void_event_id: str | None
    """The opt-in that İYS never gets, in whose place the opt-out before it is desired."""
    may_send: bool
    permission_reason: str | None
    permission_since: datetime | None
    updated_at: datetime
    by_law: Permission
    """What everything else in the row permits."""
    hides_opt_out: bool
    """Whether it desires an opt-in where İYS may hold an ONAY that the latest opt-out withdraws."""

    @property
    def is_due(self) -> bool:
        """Whether something is due to İYS, or on its way: what differs there settles by itself."""
        return self.action != Action.NOTHING or self.is_open

    @property
    def order(self) -> Order | None:
        """The place of the desired event in the law's order; None: nothing is desired."""
        at, status = self.desired_at, self.desired_status or ""
        if at is None:
            return None
        return order_of(at, status, self.desired_rank, self.desired_event_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredRecord:
    """The latest record of a key in ``desired-consents``, and where it is."""

    status: str
    effective_at: datetime
    rank: int
    event_id: str
    partition: int
    offset: int
    value: bytes
    """As the topic has it."""

    @property
    def order(self) -> Order:
        """The place of its event in the law's order."""
        return order_of(self.effective_at, self.status, self.rank, self.event_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionRecord:
    """The latest record of a key in ``permissions``."""

    may_send: bool
    reason: str
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IysRecord:
    """What İYS says of a key; without a transaction id, an answer without details."""

    value: str
    creation_date: datetime | None
    consent_date: datetime | None
    source: str | None
    transaction_id: str | None
    is_ours: bool = False
    """Whether a submission of ours has this status and date."""

    @property
    def is_detailed(self) -> bool:
        """Whether it is a record of İYS, with dates and a source."""
        return self.transaction_id is not None

    @property
    def is_of_another(self) -> bool:
        """Whether another writer wrote it: neither a citizen nor we."""
        return self.is_detailed and not self.is_ours and not is_of_citizens(self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Everything that is known of a key."""

    key: str
    customer_id: str | None
    row: LedgerRow | None
    desired: DesiredRecord | None
    permission: PermissionRecord | None
    seen: IysRecord | None
    """What İYS showed last in the period."""
    asked: IysRecord | None
    """What it says now; None: it was not asked, or says what the row says."""

    @classmethod
    def from_row(cls, found: Mapping[str, Any]) -> Self:
        """Return the standing in a row of the statement ``candidates``."""
        return cls(
            key=found["key"],
            customer_id=found["customer_id"],
            row=ledger_row(found) if found["has_row"] else None,
            desired=None if found["topic_status"] is None else _desired(found),
            permission=None if found["published_reason"] is None else _permission(found),
            seen=_iys(found, "seen"),
            asked=_iys(found, "asked"),
        )


def ledger_row(found: Mapping[str, Any]) -> LedgerRow:
    """Return what the ledger has of a key, from the columns of its row."""
    own = {name: found[name] for name in LedgerRow.__slots__ if name in found}
    brand_code, channel, recipient_type, recipient = found["key"].split("/", 3)
    row = ConsentRow(
        customer_id=found["customer_id"],
        brand_code=int(brand_code),
        channel=channel,
        recipient_type=recipient_type,
        recipient=recipient,
        **{name: found[name] for name in _FOR_THE_LAW},
    )
    return LedgerRow(
        **own, by_law=row.permission_by_law, hides_opt_out=earlier_opt_out.is_hidden(row)
    )


def _desired(found: Mapping[str, Any]) -> DesiredRecord:
    return DesiredRecord(
        status=found["topic_status"],
        effective_at=found["topic_at"],
        rank=found["topic_rank"],
        event_id=found["topic_event_id"],
        partition=found["topic_partition"],
        offset=found["topic_offset"],
        value=bytes(found["topic_value"]),
    )


def _permission(found: Mapping[str, Any]) -> PermissionRecord:
    return PermissionRecord(
        may_send=found["published"],
        reason=found["published_reason"],
        since=found["published_since"],
    )


def _iys(found: Mapping[str, Any], name: str) -> IysRecord | None:
    value = found[f"{name}_value"]
    if value is None:
        return None
    return IysRecord(
        value=value,
        creation_date=found[f"{name}_at"],
        consent_date=found[f"{name}_consent_date"],
        source=found[f"{name}_source"],
        transaction_id=found[f"{name}_transaction_id"],
        is_ours=bool(found.get(f"{name}_ours")),
    )
