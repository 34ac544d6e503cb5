"""The law: what counts as consent, in which order, until when, and what İYS must be told of it.

Pure code: no I/O, no clock, no environment. Instants come in as arguments and go out as values, so
the same events give the same decisions whenever they are played.

    model        the words           admission      what may enter, and from when it counts
    ordering     the greatest wins   obligation     what İYS must be told
    clocks       business-day terms  lifecycle      where an obligation stands
    attestation  certainly new       message_classes  which messages need a consent
    forecast     what will be late
    may_send     the gate's answer   violations     what is wrong, in English and Turkish
    permutations tries the order     contradictions the events it is tried with

``may_send`` and ``forecast`` are not exported here, for each would hide the module of its name.
"""

from __future__ import annotations

from izin.consent.admission import Refusal, admit
from izin.consent.attestation import attested
from izin.consent.business_days import Calendar, add_business_days, is_business_day, is_half_day
from izin.consent.emails import normalise_email
from izin.consent.lifecycle import after
from izin.consent.model import (
    Channel,
    Claim,
    Consent,
    ConsentEvent,
    ConsentKey,
    Decision,
    RecipientType,
    Source,
    Status,
    Violation,
)
from izin.consent.obligation import (
    Desired,
    Duty,
    Registered,
    RegisteredState,
    Ruling,
    rule,
)
from izin.consent.ordering import decide, merge
from izin.consent.phones import normalise_phone
from izin.consent.terms import BrandClock, Urgency, due_at, expires_at, time_left, urgency
from izin.consent.violations import violation

__all__ = [
    "BrandClock",
    "Calendar",
    "Channel",
    "Claim",
    "Consent",
    "ConsentEvent",
    "ConsentKey",
    "Decision",
    "Desired",
    "Duty",
    "RecipientType",
    "Refusal",
    "Registered",
    "RegisteredState",
    "Ruling",
    "Source",
    "Status",
    "Urgency",
    "Violation",
    "add_business_days",
    "admit",
    "after",
    "attested",
    "decide",
    "due_at",
    "expires_at",
    "is_business_day",
    "is_half_day",
    "merge",
    "normalise_email",
    "normalise_phone",
    "rule",
    "time_left",
    "urgency",
    "violation",
]
