"""Which action an obligation asks for, from the desired and the registered state of a key.

A consent is registered within three business days or is invalid (Yönetmelik m.7/11, m.7/12); an
opt-out is reported within three (m.9/6) and never expires. A citizen's RET at İYS is overwritten
only by a consent that is certainly new, so an ONAY over it must be *attested* or is parked: a
citizen may opt out at any time (6563 m.8), the burden of proof for a consent is the sender's
(Yönetmelik m.13), and an old opt-in that arrives late must not undo an opt-out given since.

The rule is one decision table: (desired status, origin rank, registered value) -> a ruling, or a
function that looks at the rest of the case. It has an entry for every combination.

``in_flight``: an ONAY of this key was submitted to İYS and is not settled. A second ONAY waits for
it. A RET overtakes it where İYS holds or may hold ONAY, and waits otherwise, for there is nothing
to withdraw yet. After a ``WAIT`` the rules apply again when the call has settled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple

from izin.consent.business_days import TURKEY_CALENDAR, Calendar
from izin.consent.due_dates import BrandTerms, expires_at
from izin.consent.enums import TextEnum
from izin.consent.model import ConsentEvent, OriginRank, Source, Status, aware


class Registered(TextEnum):
    """The registered state of a key: what İYS holds."""

    ONAY = "ONAY"
    RET = "RET"
    NONE = "NONE"
    """İYS has no record of the key."""
    NOT_ONAY = "NOT_ONAY"
    """Missing from the result of a multi-status query: RET or NONE; a single query shows which."""
    UNKNOWN = "UNKNOWN"
    """Never queried, or the outcome of a call is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredState:
    """The record of İYS with the greatest creation date."""

    value: Registered
    creation_date: datetime | None = None
    consent_date: datetime | None = None
    source: str | None = None
    from_iys: bool = False
    """Whether the citizen wrote it at İYS (stream ``IYS``), not a provider (stream ``HS``)."""
    verified: bool = True
    """Whether we observed it at İYS; else an event claims it, and only a RET is believed."""
    is_lost: bool = False
    """Whether a ledger before this one may have known it: UNKNOWN until İYS is queried."""

    def __post_init__(self) -> None:
        if self.creation_date is not None:
            aware("creation_date", self.creation_date)
        if self.consent_date is not None:
            aware("consent_date", self.consent_date)

    @property
    def stated_at(self) -> datetime | None:
        """When the recipient acted: İYS's clock for its own stream, else the consent date."""
        return self.creation_date if self.from_iys else self.consent_date

    def is_after(self, latest_ret_at: datetime | None) -> bool:
        """Whether the record was given after the latest opt-out; the same second is not after."""
        if latest_ret_at is None:
            return True
        return self.stated_at is not None and self.stated_at > latest_ret_at

    def may_be_older_onay(self, latest_ret_at: datetime | None) -> bool:
        """Whether İYS may hold an ONAY that the latest opt-out withdraws: it shows one, or nobody
        has seen what it holds.
        """
        if self.value is Registered.UNKNOWN or (self.value is Registered.RET and not self.verified):
            return latest_ret_at is not None
        return self.value is Registered.ONAY and not self.is_after(latest_ret_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """The desired state of a key: what we want İYS to hold."""

    status: Status
    effective_at: datetime
    source: str | None = None
    consent_date: datetime | None = None
    origin_rank: OriginRank = OriginRank.OURS
    registrable: bool = True
    attested: bool = False
    latest_ret_at: datetime | None = None
    """The latest opt-out of the key, registered at İYS or not."""

    def __post_init__(self) -> None:
        aware("effective_at", self.effective_at)


class Action(TextEnum):
    """What an obligation asks for now."""

    SEND = "send"
    SEND_FIRST = "send-first"
    """Submit ahead of everything else."""
    QUERY = "query"
    """Query the status at İYS and publish it as an event; submit nothing."""
    RESCUE = "rescue"
    """Publish a new event RET / HS_KARAR / now with ``cause``, and record the violation."""
    PARK = "park"
    """A person must act."""
    EXPIRE = "expire"
    WAIT = "wait"
    """Rule again when the call in flight has settled."""
    NOTHING = "nothing"


class ActionReason(TextEnum):
    """Why an action is due."""

    NOT_REGISTERED = "not-registered"
    SETTLED = "settled"
    IN_FLIGHT = "in-flight"
    TERM_ENDED = "term-ended"
    RECONSENT = "reconsent"
    """An unattested ONAY over a RET that the citizen gave at İYS."""
    NOT_REGISTRABLE = "not-registrable"
    TACIR_UPDATE_INCOMPLETE = "tacir-update-incomplete"
    """H462, H463: a TACIR record is updated with date and source only."""
    ORIGINATED_AT_IYS = "originated-at-iys"
    REGISTERED_LOST = "registered-lost"
    """The ledger that knew what İYS holds is lost: İYS is queried before an ONAY is submitted."""
    REGISTERED_NEWER = "registered-newer"
    """İYS holds a newer record, whose event has not arrived yet."""
    OPT_OUT = "opt-out"
    REOPENED = "reopened"
    """İYS shows an ONAY written by a provider after the citizen's RET."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The action that is due for a key, and why."""

    action: Action
    reason: ActionReason


class Case(NamedTuple):
    """Everything that a ruling depends on."""

    desired: Desired
    registered: RegisteredState
    now: datetime
    terms: BrandTerms
    calendar: Calendar
    in_flight: bool


ELECTRONIC_SOURCES = frozenset(
    {
        Source.HS_WEB,
        Source.HS_MOBIL,
        Source.HS_EORTAM,
        Source.HS_MESAJ,
        Source.HS_EPOSTA,
        Source.HS_SOSYAL_MEDYA,
        Source.HS_ATM,
    }
)
"""Sources of consents that are given electronically, and so to be confirmed to the person on the
same day (Yönetmelik m.7/9)."""
LIVE_SOURCES = ELECTRONIC_SOURCES | {Source.HS_CAGRI_MERKEZI}
"""Sources that report while the recipient acts; paper forms and events are entered later."""

ATTESTED_WITHIN = timedelta(minutes=15)


def attested(event: ConsentEvent, *, within: timedelta = ATTESTED_WITHIN) -> bool:
    """Whether ``event`` is certainly a new consent: live, under a known notice, received soon.

    Only such an ONAY overwrites a RET that the citizen gave at İYS without a person's approval.
    """
    if event.iys is not None or event.import_id is not None:
        return False
    if event.source not in LIVE_SOURCES or not event.notice_version:
        return False
    if event.consent_date is None or event.received_at is None:
        return False
    return event.received_at - event.consent_date <= within


def rule(  # noqa: PLR0913 - one argument a fact
    desired: Desired,
    registered: RegisteredState,
    *,
    now: datetime,
    terms: BrandTerms,
    calendar: Calendar = TURKEY_CALENDAR,
    in_flight: bool = False,
) -> Ruling:
    """Return the action that is due for a key, by ``TABLE``."""
    entry = TABLE[desired.status, desired.origin_rank, registered.value]
    if isinstance(entry, Ruling):
        return entry
    return entry(
        Case(
            desired=desired,
            registered=registered,
            now=aware("now", now),
            terms=terms,
            calendar=calendar,
            in_flight=in_flight,
        )
    )


@cache
def _ruling(action: Action, reason: ActionReason) -> Ruling:
    return Ruling(action=action, reason=reason)


def _our_onay(case: Case) -> Ruling:
    """Rule on an ONAY of ours that İYS does not hold: submitted until its term ends."""
    desired, registered = case.desired, case.registered
    if not desired.registrable:
        return _ruling(Action.PARK, ActionReason.NOT_REGISTRABLE)
    if case.in_flight:
        return _ruling(Action.WAIT, ActionReason.IN_FLIGHT)
    expiry = expires_at(desired.effective_at, case.terms, now=case.now, calendar=case.calendar)
    if expiry is not None and case.now > expiry:
        # What İYS holds from before the activation was transferred in time, however old it is.
        is_asked = registered.value is Registered.UNKNOWN and not case.terms.is_active(case.now)
        return _ruling(Action.QUERY if is_asked else Action.EXPIRE, ActionReason.TERM_ENDED)
    incomplete = desired.source is None or desired.consent_date is None
    if incomplete and registered.value is not Registered.NONE:
        if registered.value is Registered.RET:
            return _ruling(Action.PARK, ActionReason.TACIR_UPDATE_INCOMPLETE)
        return _ruling(Action.QUERY, ActionReason.TACIR_UPDATE_INCOMPLETE)
    return _ruling(Action.SEND, ActionReason.NOT_REGISTERED)


def _our_onay_unknown(case: Case) -> Ruling:
    """Rule on an ONAY of ours while the registered state is unknown: queried first if lost."""
    if case.registered.is_lost and not case.in_flight:
        return _ruling(Action.QUERY, ActionReason.REGISTERED_LOST)
    return _our_onay(case)


def _our_onay_again(case: Case) -> Ruling:
    """Rule on an ONAY of ours where İYS holds one: submitted again only if a RET lies between the
    two, for the older one permits nothing any more (``may_send``) and İYS accepts a newer date.
    """
    if case.registered.is_after(case.desired.latest_ret_at):
        return _SETTLED
    return _our_onay(case)


def _iys_onay_again(case: Case) -> Ruling:
    """Rule on an ONAY from İYS where İYS holds one: settled, unless what we saw there is older than
    the latest RET, for what an event merely claims would keep that RET from being registered.
    """
    return _SETTLED if case.registered.is_after(case.desired.latest_ret_at) else _ASK


def _our_onay_over_ret(case: Case) -> Ruling:
    """Rule on an ONAY of ours over a RET: only if newer; over a citizen's own, only if attested. It
    is not given up for a RET that an event merely claims.
    """
    desired, registered = case.desired, case.registered
    stated_at = registered.stated_at
    if stated_at is not None and stated_at >= desired.effective_at:
        return _ruling(Action.QUERY, ActionReason.REGISTERED_NEWER)
    ruling = _our_onay(case)
    if ruling.action is Action.SEND and registered.from_iys and not desired.attested:
        ruling = _ruling(Action.PARK, ActionReason.RECONSENT)
    if ruling.action in {Action.PARK, Action.EXPIRE} and not registered.verified:
        return _ASK
    return ruling


def _our_ret_against_onay(case: Case) -> Ruling:
    """Rule on a RET of ours while İYS holds ONAY: submitted ahead of everything else."""
    desired, registered = case.desired, case.registered
    created = registered.creation_date
    if registered.from_iys and created is not None and created > desired.effective_at:
        return _ruling(Action.QUERY, ActionReason.REGISTERED_NEWER)
    if not desired.registrable:
        return _ruling(Action.RESCUE, ActionReason.NOT_REGISTRABLE)
    return _ruling(Action.SEND_FIRST, ActionReason.OPT_OUT)


def _our_ret_unknown(case: Case) -> Ruling:
    """Rule on a RET of ours while the registered state is unknown: İYS may hold an ONAY."""
    if not case.desired.registrable:
        return _ruling(Action.QUERY, ActionReason.NOT_REGISTRABLE)
    return _ruling(Action.SEND_FIRST, ActionReason.OPT_OUT)


def _ret_settled(case: Case) -> Ruling:
    """Rule on a RET where İYS holds no ONAY: settled, unless an ONAY of ours is in flight."""
    if case.in_flight:
        return _ruling(Action.WAIT, ActionReason.IN_FLIGHT)
    return _ruling(Action.NOTHING, ActionReason.SETTLED)


def _ret_against_ret(case: Case) -> Ruling:
    """Rule on a RET where İYS holds one: settled once that was observed, for what an event merely
    claims would keep the RET from being registered.
    """
    return _ret_settled(case) if case.registered.verified else _ASK


def _iys_ret_against_onay(case: Case) -> Ruling:
    """Rule on a RET from İYS under an ONAY: rescued if a provider wrote that ONAY later."""
    registered = case.registered
    created = registered.creation_date
    if created is None or created <= case.desired.effective_at:
        return _ruling(Action.QUERY, ActionReason.ORIGINATED_AT_IYS)
    if registered.from_iys:
        return _ruling(Action.QUERY, ActionReason.REGISTERED_NEWER)
    return _ruling(Action.RESCUE, ActionReason.REOPENED)


_SETTLED = _ruling(Action.NOTHING, ActionReason.SETTLED)
_ASK = _ruling(Action.QUERY, ActionReason.ORIGINATED_AT_IYS)

TABLE: dict[tuple[Status, OriginRank, Registered], Ruling | Callable[[Case], Ruling]] = {
    (Status.ONAY, OriginRank.OURS, Registered.ONAY): _our_onay_again,
    (Status.ONAY, OriginRank.OURS, Registered.RET): _our_onay_over_ret,
    (Status.ONAY, OriginRank.OURS, Registered.NONE): _our_onay,
    (Status.ONAY, OriginRank.OURS, Registered.NOT_ONAY): _our_onay,
    (Status.ONAY, OriginRank.OURS, Registered.UNKNOWN): _our_onay_unknown,
    (Status.RET, OriginRank.OURS, Registered.ONAY): _our_ret_against_onay,
    (Status.RET, OriginRank.OURS, Registered.RET): _ret_against_ret,
    (Status.RET, OriginRank.OURS, Registered.NONE): _ret_settled,
    (Status.RET, OriginRank.OURS, Registered.NOT_ONAY): _ret_settled,
    (Status.RET, OriginRank.OURS, Registered.UNKNOWN): _our_ret_unknown,
    (Status.ONAY, OriginRank.IYS_HS, Registered.ONAY): _iys_onay_again,
    (Status.ONAY, OriginRank.IYS_HS, Registered.RET): _ASK,
    (Status.ONAY, OriginRank.IYS_HS, Registered.NONE): _ASK,
    (Status.ONAY, OriginRank.IYS_HS, Registered.NOT_ONAY): _ASK,
    (Status.ONAY, OriginRank.IYS_HS, Registered.UNKNOWN): _ASK,
    (Status.RET, OriginRank.IYS_HS, Registered.ONAY): _iys_ret_against_onay,
    (Status.RET, OriginRank.IYS_HS, Registered.RET): _ret_against_ret,
    (Status.RET, OriginRank.IYS_HS, Registered.NONE): _ret_settled,
    (Status.RET, OriginRank.IYS_HS, Registered.NOT_ONAY): _ret_settled,
    (Status.RET, OriginRank.IYS_HS, Registered.UNKNOWN): _ASK,
    (Status.ONAY, OriginRank.IYS, Registered.ONAY): _iys_onay_again,
    (Status.ONAY, OriginRank.IYS, Registered.RET): _ASK,
    (Status.ONAY, OriginRank.IYS, Registered.NONE): _ASK,
    (Status.ONAY, OriginRank.IYS, Registered.NOT_ONAY): _ASK,
    (Status.ONAY, OriginRank.IYS, Registered.UNKNOWN): _ASK,
    (Status.RET, OriginRank.IYS, Registered.ONAY): _iys_ret_against_onay,
    (Status.RET, OriginRank.IYS, Registered.RET): _ret_against_ret,
    (Status.RET, OriginRank.IYS, Registered.NONE): _ret_settled,
    (Status.RET, OriginRank.IYS, Registered.NOT_ONAY): _ret_settled,
    (Status.RET, OriginRank.IYS, Registered.UNKNOWN): _ASK,
}
"""The decision table: (desired status, origin rank, registered value) -> the ruling."""
