"""The counterpart: İYS's methods as typed calls, its answers as verdicts, its limits as arithmetic.

Everything else of the house meets İYS through these names.
"""

from __future__ import annotations

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
from izin.iys.rate_limit.in_process_pacer import InProcessPacer
from izin.iys.rate_limit.pace import CallClass, Pace, Pacer, PaceState, Slot
from izin.iys.rate_limit.reputation import HourLimit, Standing, StandingPolicy
from izin.iys.tokens.token_auth import TokenAuth
from izin.iys.tokens.token_policy import TokenPolicy
from izin.iys.tokens.token_store import (
    AccessToken,
    InMemoryTokenStore,
    TokenLease,
    TokenState,
    TokenStore,
)
from izin.iys.transport.circuit_breaker import Gate
from izin.iys.verdicts import Refusal, Verdict, classify, weightiest
from izin.iys.wire_format.account import (
    BrandSummary,
    PushConnection,
    PushRegistration,
    Subscription,
    SubscriptionStatus,
)
from izin.iys.wire_format.batches import Batch, ItemResult, ItemStatus, OriginalRequest
from izin.iys.wire_format.consents import (
    BrandPath,
    ConsentItem,
    Movement,
    Page,
    Receipt,
    Record,
    Stream,
    Written,
)
from izin.iys.wire_format.push import Push, parse_push

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
