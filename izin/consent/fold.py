"""The one fold: what an event, an observation at İYS or a restored consent makes of a key's state.

The newest event in the law's order is desired. What İYS holds is the observation with the greatest
creation date, but for what a query of the key alone shows after one among many. Outside the law
nobody compares two events but by ``outranks``.

Pure: no I/O, no clock. What is due to İYS then is ruled elsewhere (``next_action``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from izin.consent.admission import SKEW
from izin.consent.enums import RecipientType
from izin.consent.making import maker
from izin.consent.may_send import CollectedConsent, Permission, may_send
from izin.consent.model import (
    Consent,
    ConsentEvent,
    ConsentKey,
    IysOrigin,
    Order,
    OriginRank,
    Status,
    order_of,
)
from izin.consent.next_action import Registered, RegisteredState
from izin.consent.transitions import CLOSED, State

_NEVER: Final = datetime.min.replace(tzinfo=UTC)
BOOTSTRAP: Final = "bootstrap"
"""In ``verified_by``: restored from desired-consents, and not observed since."""
_state = maker(RegisteredState)
_RANKS: Final = {"iys": OriginRank.IYS, "iys-hs": OriginRank.IYS_HS}
"""Of restorations that were recorded without a rank."""


def outranks(order: Order, desired: Order | None) -> bool:
    """Whether an event of this order is newer than the desired one."""
    return desired is None or order > desired


def outranks_void(
    order: Order,
    void_event_id: str,
    latest_onay_at: datetime | None,
    latest_ret_at: datetime | None,
) -> bool:
    """Whether an event of this order is newer than one that is void, which no longer is desired:
    of its own, whatever its rank, only a later date makes it another.
    """
    onay_at, ret_at = latest_onay_at or _NEVER, latest_ret_at or _NEVER
    latest_at = max(onay_at, ret_at)
    if order[-1] == void_event_id:
        return order[0] > latest_at
    return order > (latest_at, ret_at >= onay_at, OriginRank.OURS, void_event_id)


def latest(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the later of two instants, either of which may be unknown."""
    if one is None or other is None:
        return one or other
    return max(one, other)


def is_of_citizens(source: str | None) -> bool:
    """Whether a citizen wrote a record at İYS: such sources begin with ``IYS_``."""
    return source is not None and source.startswith("IYS_")


def restoration(consent: Consent) -> dict[str, Any]:
    """Return what the history says of ``consent``, restored from the topic of desired consents, for
    ``restored_consent`` to read.
    """
    return {
        "origin": consent.origin,
        "origin_rank": int(consent.origin_rank),
        "source": consent.source,
        "consent_date": consent.consent_date,
        "registrable": consent.registrable,
        "latest_onay_at": consent.latest_onay_at,
        "latest_ret_at": consent.latest_ret_at,
    }


def restored_consent(  # noqa: PLR0913  # the columns of a restoration
    key: ConsentKey,
    *,
    customer_id: str,
    event_id: str,
    status: Status,
    effective_at: datetime,
    data: Mapping[str, Any],
) -> Consent:
    """Return the consent that was restored from the topic of desired consents, as far as the
    history's ``data`` (JSON) has it: instants as ISO texts.
    """
    rank = data.get("origin_rank")
    is_ret = status is Status.RET
    onay_at, ret_at = _instant(data.get("latest_onay_at")), _instant(data.get("latest_ret_at"))
    return Consent(
        key=key,
        customer_id=customer_id,
        status=status,
        effective_at=effective_at,
        origin_rank=_RANKS.get(data["origin"], OriginRank.OURS)
        if rank is None
        else OriginRank(rank),
        event_id=event_id,
        origin=data["origin"],
        source=data["source"],
        consent_date=_instant(data["consent_date"]),
        registrable=data.get("registrable", True),
        latest_onay_at=onay_at if is_ret else onay_at or effective_at,
        latest_ret_at=ret_at or effective_at if is_ret else ret_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What İYS shows for a key; an absence has the instant of the query as ``creation_date``."""

    value: Registered
    creation_date: datetime
    consent_date: datetime | None = None
    source: str | None = None
    transaction_id: str | None = None
    verified_at: datetime | None
    """When we observed it; None: an event claims it, and we did not."""
    verified_by: str
    """The path by which it came: add, batch, status, statuses, pull, push or daily."""

    @property
    def is_answer(self) -> bool:
        """Whether it is İYS's answer to our own submission: newer than any earlier query, whatever
        the clocks show.
        """
        return self.verified_by == "add"

    @classmethod
    def of(
        cls, event: ConsentEvent, at_iys: IysOrigin, *, verified_at: datetime | None
    ) -> "Observation":
        """Return what ``event``, which has ``at_iys``, shows; its status is ONAY or RET."""
        return cls(
            value=Registered(event.status),
            creation_date=at_iys.creation_date,
            consent_date=event.consent_date,
            source=event.source,
            transaction_id=at_iys.transaction_id,
            verified_at=verified_at,
            verified_by=at_iys.path,
        )

    @classmethod
    def recorded(cls, status: str, data: Mapping[str, Any], *, seen_at: datetime) -> "Observation":
        """Return what the history's ``data`` (JSON) of a query or a pull says of a key."""
        return cls(
            value=Registered(status),
            creation_date=_instant(data.get("creation_date")) or seen_at,
            consent_date=_instant(data.get("consent_date")),
            source=data.get("source"),
            transaction_id=data.get("transaction_id"),
            verified_at=seen_at,
            verified_by=data.get("by") or "",
        )

    @staticmethod
    def answered(  # noqa: PLR0913  # what was submitted, and what İYS said of it
        status: str,
        *,
        consent_date: datetime | None,
        source: str | None,
        creation_date: datetime,
        transaction_id: str | None,
        how: str,
        at: datetime,
    ) -> "Observation":
        """Return what İYS's answer shows that it saved: the event that was submitted (its
        ``status``, date and source), as of ``creation_date``; ``how`` is the operation that
        returned it, ``at`` an instant.
        """
        return _observation(
            value=Registered(status),
            creation_date=creation_date,
            consent_date=consent_date,
            source=source,
            transaction_id=transaction_id,
            verified_at=at,
            verified_by=how,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredRecord:
    """What İYS holds for a key, as last observed."""

    value: Registered = Registered.UNKNOWN
    creation_date: datetime | None = None
    consent_date: datetime | None = None
    source: str | None = None
    transaction_id: str | None = None
    verified_at: datetime | None = None
    """When we observed it; None: an event claims it, or nobody knows it."""
    verified_by: str | None = None

    @property
    def state(self) -> RegisteredState:
        """What the law asks of it."""
        return _state(
            value=self.value,
            creation_date=self.creation_date,
            consent_date=self.consent_date,
            source=self.source,
            from_iys=is_of_citizens(self.source),
            verified=self.value is not Registered.RET or self.verified_at is not None,
            is_lost=self.value is Registered.UNKNOWN and self.verified_by == BOOTSTRAP,
        )

    def after(self, observation: Observation) -> "RegisteredRecord":
        """Return what İYS holds after ``observation``; an older one changes nothing.

        Details of an observation that was known without them are filled in, and so is the RET of
        which a query has shown only that it is no ONAY. An ONAY that İYS dates in the future counts
        from when it was observed: else it would outrank every later RET.
        """
        doubted = self._doubted_absence(observation)
        if doubted is Registered.NOT_ONAY:
            return replace(self, value=Registered.UNKNOWN, creation_date=None)
        seen_at, created = observation.verified_at, observation.creation_date
        known_at = (None if doubted else self.creation_date) or _NEVER
        if seen_at is None:
            if created <= known_at:
                return self
        elif observation.value is Registered.ONAY and created - seen_at > SKEW:
            created = seen_at
        detailed = observation.transaction_id is not None
        # The result of a query has the time of our clock, an entry that of İYS's clock.
        queried = self.transaction_id is None and self.creation_date is not None
        # A query of the key alone shows what stands, however old its date.
        stands = observation.verified_by == "status" and seen_at is not None and seen_at >= known_at
        if queried and (observation.is_answer or stands):
            known_at = created
        # An absence among many is a RET or no record: a RET of before is what was absent.
        is_same = self.value is observation.value
        is_absent_ret = (self.value, observation.value) == (Registered.NOT_ONAY, Registered.RET)
        fills_in = queried and detailed and (is_absent_ret or is_same)
        if created < known_at and not fills_in:
            return self
        if created == known_at and not is_same and self.value is Registered.RET:
            return self
        # The multiple query lists only ONAY: a known RET is absent there, and still registered.
        is_known_ret = observation.value is Registered.NOT_ONAY and self.value is Registered.RET
        if is_known_ret or (not detailed and is_same):
            return replace(self, verified_at=seen_at, verified_by=observation.verified_by)
        # The instant of a query is later than the record that it showed: kept, it would make an
        # opt-in of a citizen newer than an opt-out of ours between both. Of an opt-out it keeps
        # older opt-ins away.
        is_dated = fills_in and observation.value is Registered.ONAY
        return new_record(
            value=observation.value,
            creation_date=created if is_dated else max(known_at, created),
            consent_date=observation.consent_date,
            source=observation.source,
            transaction_id=observation.transaction_id,
            verified_at=seen_at,
            verified_by=observation.verified_by,
        )

    def _doubted_absence(self, observation: Observation) -> Registered | None:
        """Return the absence that may be older than ``observation``, an ONAY, although it seems
        newer: it has the time of our clock, which may be ahead of İYS's. What answers a call of
        ours is newer.

        No record ends, so where İYS had none, any came later. One that is no ONAY among many may
        have been one before.
        """
        at = self.creation_date
        is_entry = (
            observation.verified_at is not None
            and observation.transaction_id is not None
            and not observation.is_answer
            and observation.verified_by != "status"
        )
        if at is None or not is_entry or observation.value is not Registered.ONAY:
            return None
        is_close = timedelta(0) < at - observation.creation_date <= SKEW
        if self.value is Registered.NONE or (self.value is Registered.NOT_ONAY and is_close):
            return self.value
        return None


_observation: Final = maker(Observation)
new_record: Final = maker(RegisteredRecord)

NOTHING_REGISTERED: Final = RegisteredRecord()
LOST: Final = RegisteredRecord(verified_by=BOOTSTRAP)
"""Of a ledger that no longer knows what is registered: İYS is queried first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WinningEvent:
    """The event that is desired, as far as what stands depends on it."""

    status: Status
    effective_at: datetime
    origin_rank: OriginRank
    event_id: str
    source: str | None
    consent_date: datetime | None

    @classmethod
    def of(cls, consent: Consent) -> "WinningEvent":
        """Return the winning event of ``consent``."""
        return cls(
            status=consent.status,
            effective_at=consent.effective_at,
            origin_rank=consent.origin_rank,
            event_id=consent.event_id,
            source=consent.source,
            consent_date=consent.consent_date,
        )

    @property
    def order(self) -> Order:
        """The position in the total order."""
        return order_of(self.effective_at, self.status, self.origin_rank, self.event_id)

    def is_same(self, event_id: str | None, status: str | None) -> bool:
        """Whether it is this event: senders choose the ids, and may give one to both statuses."""
        return (self.event_id, self.status) == (event_id, status)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """The state of a key, as far as the facts that were added tell it."""

    desired: WinningEvent | None = None
    closed_as: State | None = None
    """How the obligation of the desired event has ended, where it has: refused, expired, parked."""
    void_event_id: str | None = None
    """The newest event, an opt-in that İYS never gets: in its place the opt-out before it is
    desired."""
    latest_onay_at: datetime | None = None
    latest_ret_at: datetime | None = None
    opt_out: WinningEvent | None = None
    """Under an opt-in: the latest opt-out; None: nobody knows what it said."""
    is_ret_open: bool = False
    """Whether a submission of an opt-out is unanswered: its answer comes first."""
    registration: RegisteredRecord = NOTHING_REGISTERED

    def decided(
        self,
        desired: WinningEvent,
        *,
        latest_onay_at: datetime | None,
        latest_ret_at: datetime | None,
        opt_out: WinningEvent | None = None,
    ) -> "KeyState":
        """Return the state after an event of which the law made this; ``opt_out`` is the event,
        where it is an opt-out.
        """
        is_newer = _is_outranked(self, desired.order)
        state = _with_latest(self, desired.status, latest_onay_at, latest_ret_at, opt_out)
        return _settled(_desiring(state, desired) if is_newer else state)

    def restored(self, consent: Consent) -> "KeyState":
        """Return the state after ``consent`` as the state topic has it; where it is news, so is
        whatever else happened since, and what is registered is unknown.
        """
        desired = WinningEvent.of(consent)
        is_known = self.desired is not None and self.desired.is_same(
            consent.event_id, consent.status
        )
        is_newer = _is_outranked(self, desired.order)
        state = self.decided(
            desired, latest_onay_at=consent.latest_onay_at, latest_ret_at=consent.latest_ret_at
        )
        return replace(state, registration=LOST) if is_newer and not is_known else state

    def observed(self, observation: Observation) -> "KeyState":
        """Return the state after İYS showed what it holds."""
        return _settled(replace(self, registration=self.registration.after(observation)))

    def ended(self, event_id: str | None, status: str | None, outcome: str) -> "KeyState":
        """Return the state after the ``outcome`` of an event."""
        if self.desired is None or not self.desired.is_same(event_id, status):
            return self
        state = State(outcome) if outcome in CLOSED else None
        return _settled(replace(self, closed_as=state))

    def permission(self, recipient_type: RecipientType) -> Permission:
        """Return whether a message may be sent, by what is known."""
        return may_send(
            recipient_type=recipient_type,
            desired=None if self.desired is None else self.desired.status,
            latest_ret_at=self.latest_ret_at,
            registered=self.registration.state,
            verified=self.registration.verified_at is not None,
            collected=self._collected(),
        )

    def _collected(self) -> CollectedConsent:
        """Return what became of the opt-in that one of our systems collected."""
        desired = self.desired
        if (
            desired is None
            or desired.status is not Status.ONAY
            or desired.origin_rank is not OriginRank.OURS
        ):
            return CollectedConsent.NONE
        is_void = self.closed_as in {State.EXPIRED, State.REFUSED}
        return CollectedConsent.VOID if is_void else CollectedConsent.PENDING


def _is_outranked(state: KeyState, order: Order) -> bool:
    if state.void_event_id is not None:
        return outranks_void(order, state.void_event_id, state.latest_onay_at, state.latest_ret_at)
    return outranks(order, None if state.desired is None else state.desired.order)


def _with_latest(
    state: KeyState,
    status: Status,
    onay_at: datetime | None,
    ret_at: datetime | None,
    opt_out: WinningEvent | None,
) -> KeyState:
    ret_at = latest(state.latest_ret_at, ret_at)
    is_other = ret_at != state.latest_ret_at and status is Status.ONAY
    state = replace(
        state, latest_onay_at=latest(state.latest_onay_at, onay_at), latest_ret_at=ret_at
    )
    if not is_other:
        return state
    state = replace(state, opt_out=opt_out)
    return state if state.void_event_id is None else _opt_out_again(state)


def _desiring(state: KeyState, new: WinningEvent) -> KeyState:
    before = state.desired
    if before is not None and before.is_same(new.event_id, new.status):
        later = replace(before, effective_at=new.effective_at, consent_date=new.consent_date)
        return replace(state, desired=later)
    opt_out = state.opt_out
    if new.status is Status.ONAY and before is not None and before.status is Status.RET:
        opt_out = before if before.effective_at == state.latest_ret_at else None
    return replace(state, desired=new, closed_as=None, void_event_id=None, opt_out=opt_out)


def _settled(state: KeyState) -> KeyState:
    """Return the state in which an opt-in that is closed hides no opt-out that İYS may not have."""
    is_hiding = (
        state.closed_as is not None
        and state.desired is not None
        and state.desired.status is Status.ONAY
        and not state.is_ret_open
        and state.registration.state.may_be_older_onay(state.latest_ret_at)
    )
    return _opt_out_again(state) if is_hiding else state


def _opt_out_again(state: KeyState) -> KeyState:
    opt_out, at = state.opt_out, state.latest_ret_at
    if opt_out is None or at is None or state.desired is None:
        return state
    return replace(
        state,
        desired=replace(opt_out, effective_at=at),
        closed_as=None,
        void_event_id=state.void_event_id or state.desired.event_id,
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
