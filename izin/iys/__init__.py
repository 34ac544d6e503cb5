"""The counterpart: İYS's methods as typed calls, its answers as verdicts, its limits as arithmetic.

Everything else of the house meets İYS through these names.
"""

from __future__ import annotations

from izin.iys.access_token import TokenAuth
from izin.iys.account import (
    BrandSummary,
    PushConnection,
    PushRegistration,
    Subscription,
    SubscriptionStatus,
)
from izin.iys.answers import Refusal, Verdict, classify, weightiest
from izin.iys.batches import Batch, ItemResult, ItemStatus, OriginalRequest
from izin.iys.breaker import Gate
from izin.iys.client import MAX_ITEMS, IysClient
from izin.iys.errors import (
    Actor,
    BusyError,
    CallError,
    MisconfiguredError,
    OutcomeUnknownError,
    RefusedError,
    ThrottledError,
    TokenSilenceError,
    UnauthenticatedError,
    UnreadableError,
    WithheldError,
)
from izin.iys.in_process import InProcessPacer
from izin.iys.pacing import CallClass, Pace, Pacer, PaceState, Slot
from izin.iys.push import Push, parse_push
from izin.iys.standing import HourLimit, Standing, StandingPolicy
from izin.iys.token_policy import TokenPolicy
from izin.iys.token_store import (
    AccessToken,
    InMemoryTokenStore,
    TokenLease,
    TokenState,
    TokenStore,
)
from izin.iys.wire import (
    BrandPath,
    ConsentItem,
    Movement,
    Page,
    Receipt,
    Record,
    Stream,
    Written,
)

__all__ = [
    "MAX_ITEMS",
    "AccessToken",
    "Actor",
    "Batch",
    "BrandPath",
    "BrandSummary",
    "BusyError",
    "CallClass",
    "CallError",
    "ConsentItem",
    "Gate",
    "HourLimit",
    "InMemoryTokenStore",
    "InProcessPacer",
    "ItemResult",
    "ItemStatus",
    "IysClient",
    "MisconfiguredError",
    "Movement",
    "OriginalRequest",
    "OutcomeUnknownError",
    "Pace",
    "PaceState",
    "Pacer",
    "Page",
    "Push",
    "PushConnection",
    "PushRegistration",
    "Receipt",
    "Record",
    "Refusal",
    "RefusedError",
    "Slot",
    "Standing",
    "StandingPolicy",
    "Stream",
    "Subscription",
    "SubscriptionStatus",
    "ThrottledError",
    "TokenAuth",
    "TokenLease",
    "TokenPolicy",
    "TokenSilenceError",
    "TokenState",
    "TokenStore",
    "UnauthenticatedError",
    "UnreadableError",
    "Verdict",
    "WithheldError",
    "Written",
    "classify",
    "parse_push",
    "weightiest",
]
