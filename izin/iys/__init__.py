"""A client of İYS: its methods as typed calls, its responses as verdicts, its limits as arithmetic.

client       one method for each call of İYS
transport    HTTP, pacing and circuit breakers
tokens       the access token of an account
rate_limit   when a call may be sent, and which goes first
wire_format  İYS's JSON as typed values
verdicts     what an H-code means
errors       who has to act
"""

from izin.iys.client import MAX_ITEMS, IysClient
from izin.iys.errors import (
    Actor,
    BusyError,
    CallError,
    MisconfiguredError,
    OutcomeUnknownError,
    RefusedError,
    ThrottledError,
    TokenLimitError,
    UnauthenticatedError,
    UnreadableError,
    WithheldError,
)
from izin.iys.rate_limit import (
    CallClass,
    HourLimit,
    InProcessPacer,
    Pace,
    Pacer,
    PaceState,
    Reputation,
    ReputationPolicy,
    Slot,
)
from izin.iys.tokens import (
    AccessToken,
    InMemoryTokenStore,
    TokenAuth,
    TokenLease,
    TokenPolicy,
    TokenState,
    TokenStore,
)
from izin.iys.transport.circuit_breaker import CircuitState
from izin.iys.verdicts import Refusal, Verdict, classify, decisive_verdict
from izin.iys.wire_format.account import (
    BrandSummary,
    GrantedBrand,
    GrantedBrands,
    PushConnection,
    PushRegistration,
    Right,
    Subscription,
    SubscriptionStatus,
)
from izin.iys.wire_format.batches import AcceptedBatch, BatchItemResult, ItemStatus, OriginalRequest
from izin.iys.wire_format.consents import (
    BrandPath,
    ConsentItem,
    DayAgreement,
    DayCount,
    IysMovement,
    MovementPage,
    ProcessStatus,
    Push,
    Receipt,
    RegisterRecord,
    SerializedItems,
    Stream,
    parse_push,
)

__all__ = [
    "MAX_ITEMS",
    "AcceptedBatch",
    "AccessToken",
    "Actor",
    "BatchItemResult",
    "BrandPath",
    "BrandSummary",
    "BusyError",
    "CallClass",
    "CallError",
    "CircuitState",
    "ConsentItem",
    "DayAgreement",
    "DayCount",
    "GrantedBrand",
    "GrantedBrands",
    "HourLimit",
    "InMemoryTokenStore",
    "InProcessPacer",
    "ItemStatus",
    "IysClient",
    "IysMovement",
    "MisconfiguredError",
    "MovementPage",
    "OriginalRequest",
    "OutcomeUnknownError",
    "Pace",
    "PaceState",
    "Pacer",
    "ProcessStatus",
    "Push",
    "PushConnection",
    "PushRegistration",
    "Receipt",
    "Refusal",
    "RefusedError",
    "RegisterRecord",
    "Reputation",
    "ReputationPolicy",
    "Right",
    "SerializedItems",
    "Slot",
    "Stream",
    "Subscription",
    "SubscriptionStatus",
    "ThrottledError",
    "TokenAuth",
    "TokenLease",
    "TokenLimitError",
    "TokenPolicy",
    "TokenState",
    "TokenStore",
    "UnauthenticatedError",
    "UnreadableError",
    "Verdict",
    "WithheldError",
    "classify",
    "decisive_verdict",
    "parse_push",
]
