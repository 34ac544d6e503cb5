"""A row of the ledger: one key, what is desired, what is registered, and what is due to İYS.

The fields are the columns of ``consents``, so that a row is read and written whole; the law's
values (desired, registered, permission) are views of them. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from izin.consent import (
    CHANNELS,
    CLOSED,
    RECIPIENT_TYPES,
    STATUSES,
    Action,
    ConsentKey,
    Desired,
    Order,
    OriginRank,
    Registered,
    RegisteredRecord,
    RegisteredState,
    State,
    Status,
    maker,
    new_record,
    order_of,
)
from izin.consent.may_send import CollectedConsent, Permission, may_send
from izin.ledger.record.brand import Brand

RECONCILE = "reconcile"
"""The reason of a query of a row that differs from İYS: the single query tells what it holds."""
READ_BACK = "read-back"
"""The reason of a query whose answer is expected to change nothing (``outbound.call_outcome``)."""
SWEPT = "swept"
"""The reason of a query of one record alone, for a sweep could not settle it."""
_key = maker(ConsentKey)
_desired = maker(Desired)
_RANKS = {rank.value: rank for rank in OriginRank}
_REGISTERED = {one.value: one for one in Registered}
_STATES = {one.value: one for one in State}
_ACTIONS = {one.value: one for one in Action}
_VOID = frozenset({State.EXPIRED, State.REFUSED})
_OWN = MappingProxyType({"own": True})
"""Of a column: rows that change alike differ in its value. So they do in every instant."""
_CARRIED = MappingProxyType({"compared": False})
"""Of an instant: no rule compares it, only whether there is one may count."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ConsentRow:
    """One row of ``consents``.

    Without slots, for a row is read, changed several times and written: copying a dict takes a
    tenth of the time of setting fifty fields.
    """

    key: str = field(metadata=_OWN)
    customer_id: str
    brand_code: int
    channel: str
    recipient_type: str
    recipient: str = field(metadata=_OWN)

    desired_status: str | None = None
    desired_at: datetime | None = None
    desired_rank: int | None = None
    desired_event_id: str | None = field(default=None, metadata=_OWN)
    desired_origin: str | None = None
    desired_origin_ref: str | None = field(default=None, metadata=_OWN)
    desired_source: str | None = None
    desired_consent_date: datetime | None = field(default=None, metadata=_CARRIED)
    received_at: datetime | None = field(default=None, metadata=_CARRIED)
    notice_version: str | None = None
    registrable: bool = True
    attested: bool = False
    retailer_code: int | None = None
    retailer_access: tuple[int, ...] | None = None
    latest_onay_at: datetime | None = None
    latest_ret_at: datetime | None = None
    ret_event_id: str | None = field(default=None, metadata=_OWN)
    """Under an opt-in: the event of the latest opt-out, with the next columns; None: not known."""
    ret_rank: int | None = None
    ret_origin: str | None = None
    ret_origin_ref: str | None = field(default=None, metadata=_OWN)
    ret_source: str | None = None
    ret_consent_date: datetime | None = field(default=None, metadata=_CARRIED)
    ret_registrable: bool | None = None

    registered: str = Registered.UNKNOWN
    registered_at: datetime | None = None
    registered_consent_date: datetime | None = None
    registered_source: str | None = None
    registered_transaction_id: str | None = field(default=None, metadata=_OWN)
    verified_at: datetime | None = field(default=None, metadata=_CARRIED)
    verified_by: str | None = None

    state: State
    action: Action = Action.NOTHING
    reason: str | None = None
    code: str | None = None
    due_at: datetime | None = None
    expires_at: datetime | None = None
    attempts: int = field(default=0, metadata=_OWN)
    next_attempt_at: datetime | None = None
    lease_owner: str | None = None
    lease_until: datetime | None = field(default=None, metadata=_CARRIED)
    onay_open: bool = False
    ret_open: bool = False
    last_exchange_at: datetime | None = field(default=None, metadata=_CARRIED)
    brake_id: int | None = None
    """The automatic suspension that holds the opt-out, or the opt-in over one, back."""
    withdrawn_at: datetime | None = field(default=None, metadata=_CARRIED)
    """When a person decided that the opt-out, or the opt-in over one, is not registered at İYS."""
    ret_withdrawn_at: datetime | None = field(default=None, metadata=_CARRIED)
    """The same of the opt-out under an opt-in."""
    void_event_id: str | None = field(default=None, metadata=_OWN)
    """The newest event: an opt-in that İYS never gets, or an opt-out that is held back or was
    withdrawn; in its place the opt-out before it is desired (``record.apply``).
    """

    may_send: bool = False
    permission_reason: str | None = None
    permission_since: datetime | None = field(default=None, metadata=_CARRIED)
    updated_at: datetime = field(metadata=_CARRIED)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> ConsentRow:
        """Return ``row`` of ``consents`` as a value.

        Raises:
            TypeError: the row has other columns.
        """
        return cls.reader(row)(row.values())

    @classmethod
    def reader(cls, names: Iterable[str]) -> Callable[[Iterable[Any]], ConsentRow]:
        """Return what makes a row of the values of these columns.

        Raises:
            TypeError: they are other columns.
        """
        given = tuple(names)
        if set(given) != _COLUMNS:
            raise TypeError(f"a row of consents has other columns: {_COLUMNS ^ set(given)}")

        def read(values: Iterable[Any]) -> ConsentRow:
            found = object.__new__(cls)
            columns = found.__dict__
            columns.update(zip(given, values, strict=True))
            columns["state"] = _STATES[columns["state"]]
            columns["action"] = _ACTIONS[columns["action"]]
            access = columns["retailer_access"]
            if access is not None:
                columns["retailer_access"] = tuple(access)
            return found

        return read

    def replace(self, **columns: Any) -> ConsentRow:  # noqa: ANN401 - a column's value each
        """Return the row with ``columns`` changed.

        As ``dataclasses.replace`` does, in a fraction of its time.
        """
        if not columns.keys() <= _COLUMNS:
            raise TypeError(f"not columns of consents: {columns.keys() - _COLUMNS}")
        row = object.__new__(ConsentRow)
        row.__dict__.update(self.__dict__)
        row.__dict__.update(columns)
        return row

    def permitting_as(self, published: ConsentRow) -> ConsentRow:
        """Return the row with the permission of ``published``, which is what was published last."""
        return self.replace(
            may_send=published.may_send,
            permission_reason=published.permission_reason,
            permission_since=published.permission_since,
        )

    def __eq__(self, other: object) -> bool:
        """Whether every column is the same."""
        return isinstance(other, ConsentRow) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        """Equal rows are rows of one key."""
        return hash(self.key)

    @property
    def consent_key(self) -> ConsentKey:
        """The key as a value of the law."""
        return _key(
            brand_code=self.brand_code,
            channel=CHANNELS[self.channel],
            recipient_type=RECIPIENT_TYPES[self.recipient_type],
            recipient=self.recipient,
        )

    @property
    def desired(self) -> Desired | None:
        """What is desired; None where the key is known from İYS alone."""
        if self.desired_status is None or self.desired_at is None:
            return None
        return _desired(
            status=STATUSES[self.desired_status],
            effective_at=self.desired_at,
            source=self.desired_source,
            consent_date=self.desired_consent_date,
            origin_rank=_RANKS[self.desired_rank or 0],
            registrable=self.registrable,
            attested=self.attested,
            latest_ret_at=self.latest_ret_at,
        )

    @property
    def desired_order(self) -> Order | None:
        """The position of the desired event in the total order (``Consent.order``)."""
        at, status = self.desired_at, self.desired_status or ""
        if at is None:
            return None
        return order_of(at, status, self.desired_rank, self.desired_event_id)

    @property
    def registration(self) -> RegisteredRecord:
        """What is registered at İYS, as last observed."""
        return new_record(
            value=_REGISTERED[self.registered],
            creation_date=self.registered_at,
            consent_date=self.registered_consent_date,
            source=self.registered_source,
            transaction_id=self.registered_transaction_id,
            verified_at=self.verified_at,
            verified_by=self.verified_by,
        )

    @property
    def registered_state(self) -> RegisteredState:
        """The same, as the law asks of it."""
        return self.registration.state

    def is_of(self, event_id: str | None, status: str | None) -> bool:
        """Whether the row desires this event.

        The status counts too: senders choose the ids, and may give an opt-out that of the opt-in
        before it.
        """
        return self.desired_event_id == event_id and self.desired_status == status

    @property
    def permission_by_law(self) -> Permission:
        """What may be sent by what the row says of the recipient and of İYS."""
        return may_send(
            recipient_type=RECIPIENT_TYPES[self.recipient_type],
            desired=None if self.desired_status is None else STATUSES[self.desired_status],
            latest_ret_at=self.latest_ret_at,
            registered=self.registered_state,
            verified=self.verified_at is not None,
            collected=self._collected,
        )

    @property
    def _collected(self) -> CollectedConsent:
        """What became of the opt-in that one of our systems collected."""
        if self.desired_status != Status.ONAY or not self.is_ours:
            return CollectedConsent.NONE
        return CollectedConsent.VOID if self.state in _VOID else CollectedConsent.PENDING

    @property
    def is_open(self) -> bool:
        """Whether a submission of this key is unanswered."""
        return self.onay_open or self.ret_open

    @property
    def is_ours(self) -> bool:
        """Whether the desired event is from one of our systems, so that it is due to İYS."""
        return self.desired_rank == OriginRank.OURS


class ClaimedRow(NamedTuple):
    """A row that was claimed to be submitted, with the columns that a submission needs."""

    ctid: str
    """The row's place in PostgreSQL, valid until the transaction ends."""
    key: str
    customer_id: str
    brand_code: int
    channel: str
    recipient_type: str
    recipient: str
    desired_status: str
    desired_at: datetime
    desired_event_id: str
    desired_origin: str | None
    desired_origin_ref: str | None
    desired_source: str | None
    desired_consent_date: datetime | None
    retailer_code: int | None
    retailer_access: Sequence[int] | None
    attempts: int


_SQL_TYPES = {
    "str": "text",
    "State": "text",
    "Action": "text",
    "int": "integer",
    "bool": "boolean",
    "datetime": "timestamp with time zone",
    "tuple[int, ...]": "integer[]",
}
_NARROW = {"desired_rank": "smallint", "ret_rank": "smallint"}

TYPES: Mapping[str, str] = MappingProxyType(
    {
        one.name: _NARROW.get(one.name, _SQL_TYPES[str(one.type).removesuffix(" | None")])
        for one in fields(ConsentRow)
    }
)
"""Every column of ``consents`` with its SQL type."""

OWN = tuple(
    one.name
    for one in fields(ConsentRow)
    if TYPES[one.name].startswith("timestamp") or "own" in one.metadata
)
"""The columns in which rows that change alike differ: what is a row's own."""

SHARED = tuple(name for name in TYPES if name not in OWN)
"""The columns that they share."""

COMPARED = tuple(
    one.name
    for one in fields(ConsentRow)
    if TYPES[one.name].startswith("timestamp") and one.metadata.get("compared", True)
)
"""The instants whose order counts where a row is ruled."""

IDENTITY = ("key", "brand_code", "channel", "recipient_type", "recipient")
"""The columns that never change."""

SAVED = tuple(name for name in TYPES if name not in IDENTITY)
"""The columns that are written when a row changes."""

DECIDED = SAVED[: SAVED.index("registered")]
"""The columns that the law decides; those behind them are what İYS holds and what is due to it."""

TERMS = ("due_at", "expires_at")
"""The columns of the ends of a term."""

SHADOW = (*IDENTITY, *DECIDED, *TERMS)
"""The columns that follow from the history alone, in the order of the COPY of a rebuild."""

LISTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "decided": DECIDED,
        "desired": tuple(name for name in DECIDED if not name.startswith("latest_")),
        "shadow": SHADOW,
        "saved": SAVED,
        "bulk": (*OWN, *SHARED),
        "claimed": ClaimedRow._fields[1:],
        "brand": tuple(one.name for one in fields(Brand)),
    }
)
"""The lists that SQL statements name in braces."""


def columns_of_registration(registration: RegisteredRecord) -> Mapping[str, Any]:
    """Return the columns that hold ``registration``."""
    return {
        "registered": str(registration.value),
        "registered_at": registration.creation_date,
        "registered_consent_date": registration.consent_date,
        "registered_source": registration.source,
        "registered_transaction_id": registration.transaction_id,
        "verified_at": registration.verified_at,
        "verified_by": registration.verified_by,
    }


_COLUMNS = frozenset(one.name for one in fields(ConsentRow))


def to_json(rows: Iterable[ConsentRow]) -> str:
    """Return ``rows`` as the JSON array that PostgreSQL reads as rows of ``consents``."""
    return orjson.dumps([row.__dict__ for row in rows]).decode()


def is_read_back(row: ConsentRow | None) -> bool:
    """Whether the row waits to be read back: whatever else is settled meanwhile, an opt-in may
    still reach İYS after the opt-out.
    """
    return row is not None and row.action is Action.QUERY and row.reason == READ_BACK


def is_swept(row: ConsentRow) -> bool:
    """Whether the row is queried because a sweep could not settle it, as ``is_swept`` in SQL says.

    What is refused, expired or parked keeps its reason, for a person reads it; nothing else queries
    such a row.
    """
    return row.action is Action.QUERY and (row.reason == SWEPT or row.state in CLOSED)


def to_sweep_query(row: ConsentRow, now: datetime) -> ConsentRow:
    """Return the row, to be queried alone for what a sweep has found; its state stays."""
    reason = row.reason if row.state in CLOSED else SWEPT
    return row.replace(
        action=Action.QUERY, reason=reason, next_attempt_at=now, lease_owner=None, lease_until=None
    )
