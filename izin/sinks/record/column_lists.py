"""The one list of a row's columns: the fields of :class:`ConsentRow`, and what derives from them.

SQL, COPY and templates name columns by these lists (``ledger.db.queries``). The table itself is in
``ledger/migrations``; a test compares the two.
"""

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType

from izin.sinks.record.brand import Brand
from izin.sinks.record.consent_row import ClaimedRow, ConsentRow

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

IDENTITY = ("key", "brand_code", "channel", "recipient_type", "recipient")
"""The columns that never change."""

SAVED = tuple(name for name in TYPES if name not in IDENTITY)
"""The columns that are written when a row changes."""

DECIDED = SAVED[: SAVED.index("registered")]
"""The columns that the law decides; those behind them are what İYS holds and what is due to it."""

TERMS = ("due_at", "expires_at")
"""The columns of the ends of a term."""

OWN_OF_NEW = (
    "key",
    "recipient",
    "desired_event_id",
    "desired_origin_ref",
    "desired_at",
    "desired_consent_date",
    "received_at",
    "latest_onay_at",
    "latest_ret_at",
    *TERMS,
)
"""The columns in which new rows of one template differ, in the order of the COPY."""

SHARED_BY_NEW = (
    "customer_id",
    "brand_code",
    "channel",
    "recipient_type",
    "desired_status",
    "desired_rank",
    "desired_origin",
    "desired_source",
    "notice_version",
    "registrable",
    "attested",
    "registered",
    "state",
    "action",
    "reason",
    "attempts",
    "onay_open",
    "ret_open",
    "may_send",
    "permission_reason",
    "permission_since",
    "updated_at",
)
"""The columns behind them, which new rows of one template share."""

SHARED_BY_RESTORED = (*SHARED_BY_NEW, "verified_by", "next_attempt_at")
"""The columns that rows of one template share which were missing and are restored."""

NULL_IN_NEW = tuple(name for name in TYPES if name not in {*OWN_OF_NEW, *SHARED_BY_NEW})
"""The columns that such rows leave out."""

SHARED_BY_NEWER = (
    "customer_id",
    "desired_status",
    "desired_rank",
    "desired_origin",
    "desired_source",
    "notice_version",
    "registrable",
    "attested",
    "retailer_code",
    "retailer_access",
    "state",
    "action",
    "reason",
    "code",
    "attempts",
    "next_attempt_at",
    "lease_owner",
    "lease_until",
    "brake_id",
    "withdrawn_at",
)
"""The columns that a newer event of a key sets to what all of its template key set."""

OWN_OF_NEWER = (
    "desired_event_id",
    "desired_origin_ref",
    "desired_at",
    "desired_consent_date",
    "received_at",
    "latest_onay_at",
    "latest_ret_at",
    "due_at",
    "expires_at",
    "permission_since",
)
"""The columns in which known keys differ that newer events of one template change, in the order of
the COPY.
"""

RULED = ("may_send", "permission_reason", "updated_at")
"""The columns behind the state of an obligation that such rows share."""

OWN_OF_OBSERVED = (
    "registered_at",
    "registered_consent_date",
    "registered_transaction_id",
    "verified_at",
    "due_at",
    "expires_at",
    "permission_since",
)
"""The columns in which known keys differ whose observations at İYS are of one template."""

SHARED_BY_OBSERVED = (
    "registered",
    "registered_source",
    "verified_by",
    "state",
    "action",
    "reason",
    "code",
    "next_attempt_at",
    *RULED,
)
"""The columns that such observations set alike."""

OWN_OF_KNOWN = (
    "key",
    "desired_event_id",
    "desired_origin_ref",
    "desired_at",
    "latest_onay_at",
    "latest_ret_at",
    "registered_at",
    "registered_consent_date",
    "permission_since",
    "attempts",
)
"""The columns of a known key of which the order or the values count where it changes in bulk."""

SHARED_BY_KNOWN = (
    "customer_id",
    "desired_status",
    "desired_rank",
    "registered",
    "registered_source",
    "state",
    "action",
    "reason",
    "code",
    "verified_by",
    "desired_origin",
    "desired_source",
    "registrable",
    "attested",
    "onay_open",
    "ret_open",
    "may_send",
    "permission_reason",
)
"""The columns that known keys of one template share, whatever changes them."""

SHARED_BY_SHADOW = (*IDENTITY[1:-1], *(name for name in DECIDED if name not in OWN_OF_NEW))
"""The columns that rows of the shadow of one template share."""

SHADOW = (*OWN_OF_NEW, *SHARED_BY_SHADOW)
"""The columns that follow from the history alone, in the order of the COPY of a rebuild."""

LISTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "decided": DECIDED,
        "desired": tuple(name for name in DECIDED if not name.startswith("latest_")),
        "shadow": SHADOW,
        "shadow_shared": SHARED_BY_SHADOW,
        "saved": SAVED,
        "known": (*OWN_OF_KNOWN, *SHARED_BY_KNOWN),
        "newer": (*OWN_OF_NEWER, *SHARED_BY_NEWER, *RULED),
        "observed": (*OWN_OF_OBSERVED, *SHARED_BY_OBSERVED),
        "copied": (*OWN_OF_NEW, *SHARED_BY_NEW),
        "own": tuple(name for name in OWN_OF_NEW if name not in TERMS),
        "restored": SHARED_BY_RESTORED,
        "claimed": ClaimedRow._fields[1:],
        "brand": tuple(one.name for one in fields(Brand)),
    }
)
"""The lists that SQL statements name in braces."""
