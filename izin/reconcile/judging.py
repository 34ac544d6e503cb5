"""What the sides say of a key, and its differences by kind.

Pure. What is due to İYS, or on its way there, settles by itself and is no difference; nor is what
was pushed and a pull is still to verify. A RET here and no record at İYS agree: İYS registers no
opt-out as the first record of a key (H175), and there is nothing to withdraw.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Self

from izin.consent import (
    Action,
    Order,
    Registered,
    State,
    Status,
    TextEnum,
    is_of_citizens,
    order_of,
)
from izin.ledger.record import TYPES, ConsentRow, apply

_STATUSES = frozenset({Registered.ONAY, Registered.RET})
_UNREGISTERED = frozenset({Registered.NOT_ONAY, Registered.RET})
_SETTLED = frozenset({State.ACCEPTED, State.NOT_NEEDED})


class SaidBy(TextEnum):
    """Who says something else than the row of the ledger, or that there should be one."""

    IYS = "iys"
    DESIRED = "desired-consents"
    PERMISSIONS = "permissions"


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
    retailers: str | None = None
    """Their codes, in order, by comma; None: it has none."""


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
class ComparedKey:
    """Everything that is known of a key."""

    key: str
    customer_id: str | None
    row: ConsentRow | None
    desired: DesiredRecord | None
    permission: PermissionRecord | None
    seen: IysRecord | None
    """What İYS showed last in the period."""
    asked: IysRecord | None
    """What it says now; None: it was not asked, or says what the row says."""
    retailers: str | None = None
    """Of what the row permits, as the topic has them."""

    @classmethod
    def from_row(cls, found: Mapping[str, Any]) -> Self:
        """Return the key in a row of the statement ``candidates``."""

        def columns(side: str) -> dict[str, Any]:
            names = [name for name in found if name.startswith(side)]
            return {name.removeprefix(side): found[name] for name in names}

        return cls(
            key=found["key"],
            customer_id=found["customer_id"],
            row=ConsentRow.from_row({name: found[name] for name in TYPES})
            if found["has_row"]
            else None,
            desired=DesiredRecord(**columns("topic_")) if found["topic_status"] else None,
            permission=PermissionRecord(**columns("published_"))
            if found["published_reason"]
            else None,
            seen=IysRecord(**columns("seen_")) if found["seen_value"] else None,
            asked=IysRecord(**columns("asked_")) if found["asked_value"] else None,
            retailers=found["retailers"],
        )

    def of_another(self) -> Iterator[tuple[str, str, datetime | None]]:
        """Yield key, value and date of the records at İYS that another writer seems to have
        written.
        """
        for record in (self.seen, self.asked):
            if record is not None and record.is_of_another:
                yield self.key, record.value, record.consent_date

    def known_as_ours(self, written: Collection[tuple[str, str, datetime | None]]) -> Self:
        """Return it with the records that are among ``written``, as :meth:`of_another` yields
        them, as ours.
        """
        if not any(one in written for one in self.of_another()):
            return self

        def marked(record: IysRecord | None) -> IysRecord | None:
            if record is None or (self.key, record.value, record.consent_date) not in written:
                return record
            return replace(record, is_ours=True)

        return replace(self, seen=marked(self.seen), asked=marked(self.asked))


class Kind(TextEnum):
    """The kind of a difference."""

    MISSING_AT_IYS = "missing-at-iys"
    MISSING_HERE = "missing-here"
    """Another side has it, and the ledger does not, or the topic that is named does not."""
    STATUS = "status"
    DATE = "date"
    UNVERIFIED = "unverified"
    """What İYS holds was claimed, or is not known."""
    HIDDEN_OPT_OUT = "hidden-opt-out"
    """İYS may hold an ONAY that the latest opt-out withdraws, and nothing is due."""
    OTHER_WRITER = "other-writer"
    """İYS holds what another writer wrote there: its portal, or another integrator."""


class Cause(TextEnum):
    """Why a difference stays, so that it is explained: nothing may repair it but what a person
    does.
    """

    EXPIRED = "expired"
    REFUSED = "refused"
    PARKED = "parked"
    WITHDRAWN = "withdrawn"


_CAUSES: Mapping[str, Cause] = MappingProxyType(
    {
        State.EXPIRED: Cause.EXPIRED,
        State.REFUSED: Cause.REFUSED,
        State.PARKED: Cause.PARKED,
    }
)
"""By the state of a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference of a key, on one side."""

    kind: Kind
    side: SaidBy
    here: str | None
    """What the ledger has; None: nothing."""
    there: str | None
    """What the other side has; None: nothing."""
    here_at: datetime | None = None
    """Where the dates differ: that of the ledger."""
    there_at: datetime | None = None
    record: IysRecord | None = None
    """What İYS has, where that is the side."""
    cause: Cause | None = None


def judge(compared: ComparedKey, *, pulled_until: datetime | None) -> tuple[Finding, ...]:
    """Return the differences of a key, at most one for each side.

    ``pulled_until``: up to when both streams of İYS have been pulled; None: never.
    """
    row = compared.row
    if row is None:
        return tuple(_of_no_row(compared))
    found = (
        _of_desired(row, compared.desired),
        _of_permission(row, compared.permission, compared.retailers),
        _of_iys(row, compared, pulled_until),
    )
    return tuple(finding for finding in found if finding is not None)


def _of_no_row(compared: ComparedKey) -> Iterator[Finding]:
    if compared.desired is not None:
        there = compared.desired.status
        yield Finding(kind=Kind.MISSING_HERE, side=SaidBy.DESIRED, here=None, there=there)
        return
    record = compared.asked or compared.seen
    if record is not None and record.value in _STATUSES:
        yield Finding(
            kind=Kind.MISSING_HERE,
            side=SaidBy.IYS,
            here=None,
            there=record.value,
            record=record,
        )
    if compared.permission is not None:
        there = _words(compared.permission.may_send, compared.permission.reason)
        yield Finding(kind=Kind.MISSING_HERE, side=SaidBy.PERMISSIONS, here=None, there=there)


def _of_desired(row: ConsentRow, desired: DesiredRecord | None) -> Finding | None:
    if desired is None:
        if row.desired_status is None:
            return None
        return Finding(
            kind=Kind.MISSING_HERE,
            side=SaidBy.DESIRED,
            here=row.desired_status,
            there=None,
        )
    if row.desired_order == desired.order or row.void_event_id == desired.event_id:
        return None
    is_date = row.desired_status == desired.status
    return Finding(
        kind=Kind.DATE if is_date else Kind.STATUS,
        side=SaidBy.DESIRED,
        here=row.desired_status,
        there=desired.status,
        here_at=row.desired_at if is_date else None,
        there_at=desired.effective_at if is_date else None,
    )


def _of_permission(
    row: ConsentRow, published: PermissionRecord | None, retailers: str | None
) -> Finding | None:
    """Compare what a row permits by the law with what it says itself, and with the topic.

    A row that was changed by hand may say yes to somebody who opted out: that is not believed.
    """
    reason, since, law = row.permission_reason, row.permission_since, row.permission_by_law
    if reason is None and published is None:
        return None
    here = None if reason is None else _words(law.may_send, law.reason)
    if published is None:
        return Finding(kind=Kind.MISSING_HERE, side=SaidBy.PERMISSIONS, here=here, there=None)
    there = _words(published.may_send, published.reason)
    stored = _words(row.may_send, str(reason))
    if here == there != stored:
        there = f"{stored}, in the row"
    elif here == there and published.may_send and published.retailers != retailers:
        here, there = f"{here}, retailers {retailers}", f"{there}, retailers {published.retailers}"
    if here != there:
        return Finding(kind=Kind.STATUS, side=SaidBy.PERMISSIONS, here=here, there=there)
    if _milliseconds(since) == _milliseconds(published.since):
        return None
    return Finding(
        kind=Kind.DATE,
        side=SaidBy.PERMISSIONS,
        here=here,
        there=there,
        here_at=since,
        there_at=published.since,
    )


def _of_iys(
    row: ConsentRow, compared: ComparedKey, pulled_until: datetime | None
) -> Finding | None:
    if row.action != Action.NOTHING or row.is_open:
        return None  # it settles by itself
    found = (
        _of_what_iys_says(row, compared)
        or _of_hidden(row)
        or _of_unverified(row, pulled_until)
        or _of_ledger(row)
    )
    if found is None or row.withdrawn_at is None:
        return found
    return replace(found, cause=Cause.WITHDRAWN)


def _of_what_iys_says(row: ConsentRow, compared: ComparedKey) -> Finding | None:
    if row.desired_status is None and row.registered in _STATUSES:
        return Finding(
            kind=Kind.MISSING_HERE,
            side=SaidBy.IYS,
            here=None,
            there=row.registered,
            record=registered_record(row),
        )
    if compared.asked is not None:
        return _of_record(row, compared.asked)
    seen = compared.seen
    if seen is None or seen.creation_date is None or row.registered_at is None:
        return None
    if seen.creation_date > row.registered_at:
        return _of_record(row, seen)
    if seen.creation_date < row.registered_at or row.registered == Registered.RET != seen.value:
        return None  # at the same instant a RET wins
    return _of_record(row, seen)


def _of_record(row: ConsentRow, record: IysRecord) -> Finding | None:
    """Compare a row with what İYS says later than the row."""
    if record.value == row.registered:
        return _of_dates(row, record)
    held = row.registered
    is_known = held in _UNREGISTERED or record.value != Registered.RET
    if is_known and Registered.ONAY not in {held, record.value}:
        return None
    kind = Kind.STATUS
    if held == Registered.UNKNOWN:
        kind = Kind.UNVERIFIED
    elif record.value == Registered.NONE:
        kind = Kind.MISSING_AT_IYS
    elif record.is_of_another:
        kind = Kind.OTHER_WRITER
    return Finding(kind=kind, side=SaidBy.IYS, here=held, there=record.value, record=record)


def _of_dates(row: ConsentRow, record: IysRecord) -> Finding | None:
    here, there = row.registered_consent_date, record.consent_date
    if not record.is_detailed or here is None or there is None or here == there:
        return None
    return Finding(
        kind=Kind.OTHER_WRITER if record.is_of_another else Kind.DATE,
        side=SaidBy.IYS,
        here=row.registered,
        there=record.value,
        here_at=here,
        there_at=there,
        record=record,
    )


def _of_hidden(row: ConsentRow) -> Finding | None:
    if not apply.is_hidden(row):
        return None
    return Finding(
        kind=Kind.HIDDEN_OPT_OUT,
        side=SaidBy.IYS,
        here=str(Status.RET),
        there=row.registered,
    )


def _of_unverified(row: ConsentRow, pulled_until: datetime | None) -> Finding | None:
    claimed_at = row.registered_at
    is_pulled = pulled_until is None or claimed_at is None or claimed_at <= pulled_until
    is_claimed = row.registered in _STATUSES and row.verified_at is None and is_pulled
    is_unknown = row.registered == Registered.UNKNOWN and row.state in _SETTLED
    if not is_claimed and not is_unknown:
        return None
    return Finding(
        kind=Kind.UNVERIFIED,
        side=SaidBy.IYS,
        here=row.registered,
        there=None,
        record=registered_record(row) if is_claimed else None,
    )


def _of_ledger(row: ConsentRow) -> Finding | None:
    """Compare what is desired with what is registered, where nothing is due any more."""
    wants = row.desired_status == Status.ONAY
    if row.desired_status is None or wants == (row.registered == Registered.ONAY):
        return None
    is_missing = wants and row.registered != Registered.RET
    return Finding(
        kind=Kind.MISSING_AT_IYS if is_missing else Kind.STATUS,
        side=SaidBy.IYS,
        here=row.desired_status,
        there=row.registered,
        record=registered_record(row),
        cause=_CAUSES.get(row.state),
    )


def registered_record(row: ConsentRow) -> IysRecord:
    """Return what the row says of İYS, as a record of it."""
    return IysRecord(
        value=row.registered,
        creation_date=row.registered_at,
        consent_date=row.registered_consent_date,
        source=row.registered_source,
        transaction_id=row.registered_transaction_id,
        is_ours=not is_of_citizens(row.registered_source),
    )


def _words(may_send: bool, reason: str) -> str:
    return f"{'yes' if may_send else 'no'}: {reason}"


def _milliseconds(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(microsecond=at.microsecond // 1000 * 1000)
