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

from izin.consent.admission import FIRST_DATE, SKEW, RefusedEvent, admit, last_second, shortened
from izin.consent.business_days import (
    TURKEY_CALENDAR,
    Calendar,
    add_business_days,
    is_business_day,
    is_half_day,
)
from izin.consent.due_dates import (
    TERM_DAYS,
    THRESHOLD,
    TURKEY,
    BrandTerms,
    LawfulTerm,
    due_and_expiry,
    due_at,
    expires_at,
    lawful_term,
    taken_until,
)
from izin.consent.emails import is_canonical_email, read_email
from izin.consent.enums import (
    CHANNELS,
    RECIPIENT_TYPES,
    SOURCES,
    STATUSES,
    Channel,
    DateBasis,
    DecisionKind,
    OriginRank,
    Reason,
    RecipientType,
    Source,
    Status,
    TextEnum,
)
from izin.consent.errors import (
    IllegalTransitionError,
    IysError,
    IzinError,
    NaiveInstantError,
    OurError,
    OutsideCalendarError,
    SourceError,
    UnreadableKeyError,
)
from izin.consent.fields import (
    CAPTURE,
    PURPOSE,
    is_misspelt,
    normalised,
    read_key,
    read_recipient,
)
from izin.consent.fold import (
    BOOTSTRAP,
    LOST,
    KeyState,
    Observation,
    RegisteredRecord,
    is_of_citizens,
    latest,
    new_record,
    outranks,
    outranks_void,
    restoration,
    restored_consent,
)
from izin.consent.making import maker
from izin.consent.message_classes import CLASSES, MessageClass, MessageKind
from izin.consent.model import (
    LAW_VERSION,
    AdmittedEvent,
    Consent,
    ConsentEvent,
    ConsentKey,
    Decision,
    IysOrigin,
    Order,
    aware,
    order_of,
)
from izin.consent.next_action import (
    ATTESTED_WITHIN,
    Action,
    ActionReason,
    Desired,
    Registered,
    RegisteredState,
    Ruling,
    attested,
    rule,
)
from izin.consent.ordering import decide, merge
from izin.consent.phones import is_canonical_phone, read_phone
from izin.consent.recorded import RecordedKey
from izin.consent.texts import MAX_TEXT, as_written, clean, cut, has_surrogate, is_too_long, visible
from izin.consent.transitions import BEGINNING, CLOSED, OPEN, SETTLED, WAITING, State, after
from izin.consent.violations import Violation, violation

__all__ = (
    "ATTESTED_WITHIN",
    "BEGINNING",
    "BOOTSTRAP",
    "CAPTURE",
    "CHANNELS",
    "CLASSES",
    "CLOSED",
    "FIRST_DATE",
    "LAW_VERSION",
    "LOST",
    "MAX_TEXT",
    "OPEN",
    "PURPOSE",
    "RECIPIENT_TYPES",
    "SETTLED",
    "SKEW",
    "SOURCES",
    "STATUSES",
    "TERM_DAYS",
    "THRESHOLD",
    "TURKEY",
    "TURKEY_CALENDAR",
    "WAITING",
    "Action",
    "ActionReason",
    "AdmittedEvent",
    "BrandTerms",
    "Calendar",
    "Channel",
    "Consent",
    "ConsentEvent",
    "ConsentKey",
    "DateBasis",
    "Decision",
    "DecisionKind",
    "Desired",
    "IllegalTransitionError",
    "IysError",
    "IysOrigin",
    "IzinError",
    "KeyState",
    "LawfulTerm",
    "MessageClass",
    "MessageKind",
    "NaiveInstantError",
    "Observation",
    "Order",
    "OriginRank",
    "OurError",
    "OutsideCalendarError",
    "Reason",
    "RecipientType",
    "RecordedKey",
    "RefusedEvent",
    "Registered",
    "RegisteredRecord",
    "RegisteredState",
    "Ruling",
    "Source",
    "SourceError",
    "State",
    "Status",
    "TextEnum",
    "UnreadableKeyError",
    "Violation",
    "add_business_days",
    "admit",
    "after",
    "as_written",
    "attested",
    "aware",
    "clean",
    "cut",
    "decide",
    "due_and_expiry",
    "due_at",
    "expires_at",
    "has_surrogate",
    "is_business_day",
    "is_canonical_email",
    "is_canonical_phone",
    "is_half_day",
    "is_misspelt",
    "is_of_citizens",
    "is_too_long",
    "last_second",
    "latest",
    "lawful_term",
    "maker",
    "merge",
    "new_record",
    "normalised",
    "order_of",
    "outranks",
    "outranks_void",
    "read_email",
    "read_key",
    "read_phone",
    "read_recipient",
    "restoration",
    "restored_consent",
    "rule",
    "shortened",
    "taken_until",
    "violation",
    "visible",
)
