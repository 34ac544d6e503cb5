"""Fault injection: rules that make calls of an operation fail, so that a run can be repeated.

A rule has a fault and says which calls get it: a number of calls, or all until it is cancelled;
each of them, or a share chosen by a seeded generator; at once, or after some calls; always, or for
a period of the simulator's time, as in an outage. A call is matched against the rules of its
operation first, then against those of any operation (`*`), each group in the order of creation; the
first rule that matches applies.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf
from random import Random


class Operation(StrEnum):
    """The operations of İYS's API, as counters and fault rules name them."""

    TOKEN = "token"  # noqa: S105 - an operation's name, no secret
    BRANDS = "brands"
    SUBSCRIPTION = "subscription"
    ADD = "add"
    ADD_V2 = "addV2"
    BATCH = "batch"
    BATCH_V2 = "batchV2"
    RESULT = "result"
    RESULT_V2 = "resultV2"
    STATUS = "status"
    STATUSES = "statuses"
    CHANGES = "changes"
    PUSH_REGISTER = "pushRegister"
    PUSH_LIST = "pushList"
    PUSH_UNREGISTER = "pushUnregister"
    HISTORY = "history"
    RETAILER_ADD = "retailerAdd"
    RETAILER_LIST = "retailerList"
    RETAILER_GET = "retailerGet"
    RETAILER_DELETE = "retailerDelete"
    ACCESS_ADD = "accessAdd"
    ACCESS_REPLACE = "accessReplace"
    ACCESS_LIST = "accessList"
    ACCESS_REMOVE = "accessRemove"
    ACCESS_REMOVE_ALL = "accessRemoveAll"
    DAY_STATISTICS = "dayStatistics"
    AGREEMENT = "agreement"
    AGREEMENT_SAVE = "agreementSave"
    AGREEMENT_TIMESTAMP = "agreementTimestamp"
    DAY_FILE = "dayFile"
    PARTNER_BRANDS = "partnerBrands"
    PARTNER_PROVIDER = "partnerProvider"
    PARTNER_SUBSCRIPTION = "partnerSubscription"
    CITIES = "cities"
    CITY = "city"
    TOWNS = "towns"
    TOWN = "town"
    OPT_OUT_LINKS = "optOutLinks"
    VIA_START = "viaStart"
    VIA_CONFIRM = "viaConfirm"
    VIA_STATUS = "viaStatus"
    VIA = "via"  # every other endpoint of ViA, and those of ViA PASS and ViA Frame
    PUSH = "push"  # a delivery, which the simulator itself calls


ANY = "*"


class Drop(StrEnum):
    """When the connection is dropped: before or after the effect."""

    BEFORE = "before"
    AFTER = "after"


class DeliveryFault(StrEnum):
    """The faults of a push delivery, beside being slow."""

    LOST = "lost"  # never sent, but considered delivered
    DOUBLED = "doubled"  # sent twice
    OVERTAKEN = "overtaken"  # sent after the next delivery to the address, or after a while


class Writer(StrEnum):
    """Another writer of a brand; the values are those of a movement's path."""

    PORTAL = "portal"
    INTEGRATOR = "integrator"


@dataclass(frozen=True, kw_only=True, slots=True)
class CompetingWrite:
    """Another writer is faster: it writes `status` for each recipient of the call."""

    writer: Writer
    status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """The fault of one call: a delay in seconds, then whatever else is set.

    `status` and `code` refuse the call; `drop` drops the connection; `token_expired` revokes the
    call's access token; `competing_write` lets another writer write first; `delivery` is for push.
    """

    slow_seconds: float = 0.0
    status: int | None = None
    code: str | None = None
    message: str | None = None
    drop: Drop | None = None
    token_expired: bool = False
    competing_write: CompetingWrite | None = None
    delivery: DeliveryFault | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultRule:
    """A rule: `fault` is injected into `times` calls (None: until cancelled).

    The first `skip_first` calls pass. `share` is the part of the calls that get the fault, above 0
    and up to 1. The rule applies from `begins_at` to before `ends_at`, in epoch seconds of the
    simulator's time, and is dropped then.
    """

    operation: str
    fault: Fault
    times: int | None = 1
    share: float = 1.0
    skip_first: int = 0
    begins_at: float = 0.0
    ends_at: float = inf


class FaultInjector:
    """The rules that are not used up yet. The same seed chooses the same calls.

    `seconds` returns the simulator's time in epoch seconds.
    """

    def __init__(self, seed: int = 0, seconds: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._random = Random(seed)  # noqa: S311 - repeatable on purpose
        self._rules: list[FaultRule] = []

    def add(self, rule: FaultRule) -> None:
        """Add a rule."""
        self._rules.append(rule)

    def take(self, operation: Operation) -> Fault | None:
        """Return the fault of this call of `operation`, if a rule applies to it."""
        now = self._drop_expired_rules()
        # The simulator itself calls receivers, so "any operation" does not include deliveries.
        names = (operation.value,) if operation is Operation.PUSH else (operation.value, ANY)
        for name in names:
            for position, rule in enumerate(self._rules):
                if rule.operation != name or now < rule.begins_at:
                    continue
                if rule.skip_first:
                    self._rules[position] = replace(rule, skip_first=rule.skip_first - 1)
                elif rule.share >= 1 or self._random.random() < rule.share:
                    self._use(position, rule)
                    return rule.fault
        return None

    def rules(self) -> tuple[FaultRule, ...]:
        """Return all rules that are not over, with the number of calls that is left."""
        self._drop_expired_rules()
        return tuple(self._rules)

    def clear(self) -> None:
        """Cancel all rules."""
        self._rules.clear()

    def seed(self, seed: int) -> None:
        """Restart the random choices from `seed`."""
        self._random.seed(seed)

    def _drop_expired_rules(self) -> float:
        now = self._seconds()
        if any(rule.ends_at <= now for rule in self._rules):
            self._rules = [rule for rule in self._rules if now < rule.ends_at]
        return now

    def _use(self, position: int, rule: FaultRule) -> None:
        if rule.times is None:
            return
        if rule.times > 1:
            self._rules[position] = replace(rule, times=rule.times - 1)
        else:
            del self._rules[position]
