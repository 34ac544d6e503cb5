"""The law: which events are admitted, in which order, until when, and what İYS must hold.

Pure code: no I/O, no clock, no environment. Instants are arguments, so a replay of the same events
gives the same decisions.

    model, enums     the values                  admission        which events are admitted
    ordering         the greatest event wins     next_action      the action that is due at İYS
    due_dates        three business days         transitions      the states of an obligation
    fold             what a fact makes of a key  message_classes  which messages need a consent
    may_send         may a message be sent?      forecast         which backlog will be late
    violations       what is wrong, in English and Turkish

``may_send`` and ``forecast`` are not exported here: each would hide the module of its name.
"""

from izin.consent.admission import RefusedEvent, admit
from izin.consent.business_days import Calendar, add_business_days, is_business_day, is_half_day
from izin.consent.due_dates import BrandTerms, due_at, expires_at
from izin.consent.emails import read_email
from izin.consent.model import (
    AdmittedEvent,
    Channel,
    Consent,
    ConsentEvent,
    ConsentKey,
    Decision,
    RecipientType,
    Source,
    Status,
)
from izin.consent.next_action import (
    Action,
    Desired,
    Registered,
    RegisteredState,
    Ruling,
    attested,
    rule,
)
from izin.consent.ordering import decide, merge
from izin.consent.phones import read_phone
from izin.consent.transitions import after
from izin.consent.violations import Violation, violation

__all__ = [
    "Action",
    "AdmittedEvent",
    "BrandTerms",
    "Calendar",
    "Channel",
    "Consent",
    "ConsentEvent",
    "ConsentKey",
    "Decision",
    "Desired",
    "RecipientType",
    "RefusedEvent",
    "Registered",
    "RegisteredState",
    "Ruling",
    "Source",
    "Status",
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
    "read_email",
    "read_phone",
    "rule",
    "violation",
]
