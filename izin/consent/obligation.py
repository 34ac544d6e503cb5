"""What must be told to İYS: from what our law wants and what İYS has stated, never from the stream.

Articles: a consent is recorded within three business days or is invalid (Yönetmelik m.7/11,
m.7/12); a rejection is reported within three (m.9/6) and never lapses. A citizen's RET at İYS is
undone only by a consent that is certainly new, so an ONAY over it must be *attested* or is parked
for a person.

The rule is one table: (desired status, who said it, registered value) -> a ruling, or a question
that looks further. Every combination stands in it.

``in_flight`` means: an ONAY of this key is at İYS and unsettled. A second ONAY waits for it; a
RET overtakes it where İYS shows or may show ONAY, and else waits, for there is nothing to
withdraw yet. ``WAIT`` is ruled again when that settles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from izin.consent.business_days import TURKEY_CALENDAR, Calendar
from izin.consent.enums import Word
from izin.consent.making import maker
from izin.consent.model import OriginRank, Status, aware
from izin.consent.terms import BrandClock, expires_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


class Registered(Word):
    """What İYS has stated of a key."""

    ONAY = "ONAY"
    RET = "RET"
    NONE = "NONE"
    """İYS has no record of the key."""
    NOT_ONAY = "NOT_ONAY"
    """Absent from a multi-status answer: RET or NONE, the single status tells."""
    UNKNOWN = "UNKNOWN"
    """İYS was never asked, or its answer was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredState:
    """İYS's own statement with the greatest creation date."""

    value: Registered
    creation_date: datetime | None = None
    consent_date: datetime | None = None
    source: str | None = None
    from_iys: bool = False
    """Whether the citizen made it at İYS (stream ``IYS``), not a provider (stream ``HS``)."""

    def __post_init__(self) -> None:
        if self.creation_date is not None:
            aware("creation_date", self.creation_date)
        if self.consent_date is not None:
            aware("consent_date", self.consent_date)

    @property
    def stated_at(self) -> datetime | None:
        """The instant the recipient said so: İYS's clock for its stream, else the stated date."""
        return self.creation_date if self.from_iys else self.consent_date


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What our law holds true of a key, as far as telling İYS depends on it."""

    status: Status
    effective_at: datetime
    source: str | None = None
    consent_date: datetime | None = None
    origin_rank: OriginRank = OriginRank.OURS
    registrable: bool = True
    attested: bool = False
    latest_ret_at: datetime | None = None
    """The latest "no" of the key, whether İYS ever heard of it or not."""

    def __post_init__(self) -> None:
        aware("effective_at", self.effective_at)


class Duty(Word):
    """What is to be done about a key now."""

    SEND = "send"
    SEND_FIRST = "send-first"
    """Send ahead of everything else."""
    ASK = "ask"
    """Read the status at İYS and publish what it says; never send."""
    RESCUE = "rescue"
    """Publish a new event RET / HS_KARAR / now with ``cause``, and record the breach."""
    PARK = "park"
    """A person must act."""
    EXPIRE = "expire"
    WAIT = "wait"
    """Rule again when what is in flight has settled."""
    NOTHING = "nothing"


class Why(Word):
    """Why a duty is ruled."""

    NOT_REGISTERED = "not-registered"
    SETTLED = "settled"
    IN_FLIGHT = "in-flight"
    TERM_ENDED = "term-ended"
    RECONSENT = "reconsent"
    """An unattested ONAY over a RET the citizen gave at İYS."""
    NOT_REGISTRABLE = "not-registrable"
    TACIR_UPDATE_INCOMPLETE = "tacir-update-incomplete"
    """H462, H463: a TACIR record is updated with date and source only."""
    SAID_BY_IYS = "said-by-iys"
    REGISTERED_NEWER = "registered-newer"
    """İYS has a newer statement, whose event is still on its way to the law."""
    OPT_OUT = "opt-out"
    REOPENED = "reopened"
    """İYS shows an ONAY written by a provider after the citizen's RET."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The duty about a key, and why."""

    duty: Duty
    why: Why


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that a ruling looks at."""

    desired: Desired
    registered: RegisteredState
    now: datetime
    clock: BrandClock
    calendar: Calendar
    in_flight: bool


_case = maker(Case)
_made = maker(Ruling)


def rule(  # noqa: PLR0913 - each is a fact the ruling hangs on, given by keyword
    desired: Desired,
    registered: RegisteredState,
    *,
    now: datetime,
    clock: BrandClock,
    calendar: Calendar = TURKEY_CALENDAR,
    in_flight: bool = False,
) -> Ruling:
    """Return what is to be done about a key, by the table."""
    entry = TABLE[desired.status, desired.origin_rank, registered.value]
    if isinstance(entry, Ruling):
        return entry
    return entry(
        _case(
            desired=desired,
            registered=registered,
            now=aware("now", now),
            clock=clock,
            calendar=calendar,
            in_flight=in_flight,
        )
    )


def _ruling(duty: Duty, why: Why) -> Ruling:
    return _made(duty=duty, why=why)


def _our_onay(case: Case) -> Ruling:
    """Rule on an ONAY of ours that İYS does not hold: sent while its term runs."""
    desired, registered = case.desired, case.registered
    if not desired.registrable:
        return _ruling(Duty.PARK, Why.NOT_REGISTRABLE)
    if case.in_flight:
        return _ruling(Duty.WAIT, Why.IN_FLIGHT)
    expiry = expires_at(desired.effective_at, case.clock, now=case.now, calendar=case.calendar)
    if expiry is not None and case.now > expiry:
        return _ruling(Duty.EXPIRE, Why.TERM_ENDED)
    incomplete = desired.source is None or desired.consent_date is None
    if incomplete and registered.value is not Registered.NONE:
        if registered.value is Registered.RET:
            return _ruling(Duty.PARK, Why.TACIR_UPDATE_INCOMPLETE)
        return _ruling(Duty.ASK, Why.TACIR_UPDATE_INCOMPLETE)
    return _ruling(Duty.SEND, Why.NOT_REGISTERED)


def _our_onay_again(case: Case) -> Ruling:
    """Rule on an ONAY of ours where İYS holds one: told again only if a RET lies between the two,
    for the older one permits nothing any more (``may_send``) and İYS takes a newer date.
    """
    ret_at, stated_at = case.desired.latest_ret_at, case.registered.stated_at
    if ret_at is None or (stated_at is not None and stated_at > ret_at):
        return _SETTLED
    return _our_onay(case)


def _our_onay_over_ret(case: Case) -> Ruling:
    """Rule on an ONAY of ours over a RET: only if newer; over a citizen's own, only if attested."""
    desired, registered = case.desired, case.registered
    stated_at = registered.stated_at
    if stated_at is not None and stated_at >= desired.effective_at:
        return _ruling(Duty.ASK, Why.REGISTERED_NEWER)
    ruling = _our_onay(case)
    if ruling.duty is Duty.SEND and registered.from_iys and not desired.attested:
        return _ruling(Duty.PARK, Why.RECONSENT)
    return ruling


def _our_ret_against_onay(case: Case) -> Ruling:
    """Rule on a RET of ours while İYS shows ONAY: withdrawn ahead of everything."""
    desired, registered = case.desired, case.registered
    created = registered.creation_date
    if registered.from_iys and created is not None and created > desired.effective_at:
        return _ruling(Duty.ASK, Why.REGISTERED_NEWER)
    if not desired.registrable:
        return _ruling(Duty.RESCUE, Why.NOT_REGISTRABLE)
    return _ruling(Duty.SEND_FIRST, Why.OPT_OUT)


def _our_ret_unknown(case: Case) -> Ruling:
    """Rule on a RET of ours while nobody knows what İYS holds: told, for an ONAY may be there."""
    if not case.desired.registrable:
        return _ruling(Duty.ASK, Why.NOT_REGISTRABLE)
    return _ruling(Duty.SEND_FIRST, Why.OPT_OUT)


def _ret_settled(case: Case) -> Ruling:
    """Rule on a RET where İYS holds no ONAY: settled, unless an ONAY of ours may still land."""
    if case.in_flight:
        return _ruling(Duty.WAIT, Why.IN_FLIGHT)
    return _ruling(Duty.NOTHING, Why.SETTLED)


def _iys_ret_against_onay(case: Case) -> Ruling:
    """Rule on a RET from İYS under an ONAY: rescued if a provider wrote that ONAY later."""
    registered = case.registered
    created = registered.creation_date
    if created is None or created <= case.desired.effective_at:
        return _ruling(Duty.ASK, Why.SAID_BY_IYS)
    if registered.from_iys:
        return _ruling(Duty.ASK, Why.REGISTERED_NEWER)
    return _ruling(Duty.RESCUE, Why.REOPENED)


_SETTLED = _ruling(Duty.NOTHING, Why.SETTLED)
_ASK_IYS = _ruling(Duty.ASK, Why.SAID_BY_IYS)

TABLE: dict[tuple[Status, OriginRank, Registered], Ruling | Callable[[Case], Ruling]] = {
    (Status.ONAY, OriginRank.OURS, Registered.ONAY): _our_onay_again,
    (Status.ONAY, OriginRank.OURS, Registered.RET): _our_onay_over_ret,
    (Status.ONAY, OriginRank.OURS, Registered.NONE): _our_onay,
    (Status.ONAY, OriginRank.OURS, Registered.NOT_ONAY): _our_onay,
    (Status.ONAY, OriginRank.OURS, Registered.UNKNOWN): _our_onay,
    (Status.RET, OriginRank.OURS, Registered.ONAY): _our_ret_against_onay,
    (Status.RET, OriginRank.OURS, Registered.RET): _ret_settled,
    (Status.RET, OriginRank.OURS, Registered.NONE): _ret_settled,
    (Status.RET, OriginRank.OURS, Registered.NOT_ONAY): _ret_settled,
    (Status.RET, OriginRank.OURS, Registered.UNKNOWN): _our_ret_unknown,
    (Status.ONAY, OriginRank.IYS_HS, Registered.ONAY): _SETTLED,
    (Status.ONAY, OriginRank.IYS_HS, Registered.RET): _ASK_IYS,
    (Status.ONAY, OriginRank.IYS_HS, Registered.NONE): _ASK_IYS,
    (Status.ONAY, OriginRank.IYS_HS, Registered.NOT_ONAY): _ASK_IYS,
    (Status.ONAY, OriginRank.IYS_HS, Registered.UNKNOWN): _ASK_IYS,
    (Status.RET, OriginRank.IYS_HS, Registered.ONAY): _iys_ret_against_onay,
    (Status.RET, OriginRank.IYS_HS, Registered.RET): _ret_settled,
    (Status.RET, OriginRank.IYS_HS, Registered.NONE): _ret_settled,
    (Status.RET, OriginRank.IYS_HS, Registered.NOT_ONAY): _ret_settled,
    (Status.RET, OriginRank.IYS_HS, Registered.UNKNOWN): _ASK_IYS,
    (Status.ONAY, OriginRank.IYS, Registered.ONAY): _SETTLED,
    (Status.ONAY, OriginRank.IYS, Registered.RET): _ASK_IYS,
    (Status.ONAY, OriginRank.IYS, Registered.NONE): _ASK_IYS,
    (Status.ONAY, OriginRank.IYS, Registered.NOT_ONAY): _ASK_IYS,
    (Status.ONAY, OriginRank.IYS, Registered.UNKNOWN): _ASK_IYS,
    (Status.RET, OriginRank.IYS, Registered.ONAY): _iys_ret_against_onay,
    (Status.RET, OriginRank.IYS, Registered.RET): _ret_settled,
    (Status.RET, OriginRank.IYS, Registered.NONE): _ret_settled,
    (Status.RET, OriginRank.IYS, Registered.NOT_ONAY): _ret_settled,
    (Status.RET, OriginRank.IYS, Registered.UNKNOWN): _ASK_IYS,
}
"""The decision table: what is desired, who said it, what İYS has stated -> the ruling."""
