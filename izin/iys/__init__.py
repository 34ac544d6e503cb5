"""A client of İYS: its methods as typed calls, its responses as verdicts, its limits as arithmetic.

client       one method for each call of İYS
reports      those about the day of a brand
partner      those that only a business partner may make
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
from izin.iys.rate_limit.in_process_pacer import InProcessPacer
from izin.iys.rate_limit.pace import CallClass, Pace, Pacer, PaceState, Slot
from izin.iys.rate_limit.reputation import HourLimit, Reputation, ReputationPolicy
from izin.iys.tokens.token_auth import TokenAuth
from izin.iys.tokens.token_policy import TokenPolicy
from izin.iys.tokens.token_store import (
    AccessToken,
    InMemoryTokenStore,
    TokenLease,
    TokenState,
    TokenStore,
)
from izin.iys.transport.circuit_breaker import CircuitState
from izin.iys.verdicts import Refusal, Verdict, classify, decisive_verdict
from izin.iys.wire_format.account import (
    BrandSummary,
    PushConnection,
    PushRegistration,
    Subscription,
    SubscriptionStatus,
)
from izin.iys.wire_format.batches import AcceptedBatch, BatchItemResult, ItemStatus, OriginalRequest
from izin.iys.wire_format.consents import (
    BrandPath,
    ConsentItem,
    IysMovement,
    MovementPage,
    Receipt,
    RegisterRecord,
    SerializedItems,
    Stream,
)
from izin.iys.wire_format.partner import GrantedBrand, GrantedBrands, Right
from izin.iys.wire_format.push import Push, parse_push
from izin.iys.wire_format.reports import DayAgreement, DayCount, ProcessStatus

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
