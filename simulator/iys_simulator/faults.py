"""Weather: faults ordered beforehand for calls of an operation, so that a run can be repeated.

An order is a fault and when it strikes: the next so many calls, or all until it is cancelled; each
of them, or a share drawn by a seeded generator; at once, or after some calls have passed; always,
or for a span of the twin's time, as an outage is. A call is shown to the orders of its operation
first, then to those for any operation (`*`), each group in the order it came in; the first that
strikes is the weather of the call.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf
from random import Random


class Operation(StrEnum):
    """The twin's operations, as counters and weather name them."""

    TOKEN = "token"  # noqa: S105 - a method's name, no secret
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
    REJECT_LINKS = "rejectLinks"
    VIA = "via"  # all of ViA, ViA PASS and ViA Frame
    PUSH = "push"  # a delivery, the twin's own call


ANY = "*"


class Drop(StrEnum):
    """When the connection is lost."""

    BEFORE = "before"
    AFTER = "after"


class Delivery(StrEnum):
    """What befalls a delivery of push beside slowness, which makes it late."""

    LOST = "lost"  # never sent, though the twin takes it for delivered
    DOUBLED = "doubled"  # sent twice
    OVERTAKEN = "overtaken"  # sent behind the next delivery to the address, or after a while


class Writer(StrEnum):
    """Who else writes to a brand; the values are those of a movement's path."""

    PORTAL = "portal"
    INTEGRATOR = "integrator"


@dataclass(frozen=True, kw_only=True, slots=True)
class Intrusion:
    """Another writer is a moment faster: for each address of the call it writes `status`."""

    writer: Writer
    status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What befalls one call: slowness in seconds, then whatever else is set.

    A refusal is a status and an H-code; `drop` loses the connection; `token_expired` makes the
    call's access token void; `intrusion` lets somebody else write first; `delivery` is for push.
    """

    slow_seconds: float = 0.0
    status: int | None = None
    code: str | None = None
    message: str | None = None
    drop: Drop | None = None
    token_expired: bool = False
    intrusion: Intrusion | None = None
    delivery: Delivery | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Front:
    """An order: `fault` strikes `times` calls (`None`: until cancelled), after `passing` others.

    `share` is the part of the calls it strikes, above 0 and up to 1. It strikes from `begins_at` to
    before `ends_at`, in epoch seconds of the twin's time, and is forgotten then.
    """

    operation: str
    fault: Fault
    times: int | None = 1
    share: float = 1.0
    passing: int = 0
    begins_at: float = 0.0
    ends_at: float = inf


class Weather:
    """The orders that are not used up yet. The same seed draws the same calls.

    `seconds` tells the twin's time in epoch seconds.
    """

    def __init__(self, seed: int = 0, seconds: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._chance = Random(seed)  # noqa: S311 - weather, no secret
        self._fronts: list[Front] = []

    def order(self, front: Front) -> None:
        """Let `front` come."""
        self._fronts.append(front)

    def take(self, operation: Operation) -> Fault | None:
        """Give the fault of this call of `operation`, if one strikes it."""
        now = self._forget_past()
        # A delivery is the twin's own call, so `any operation` does not mean it.
        names = (operation.value,) if operation is Operation.PUSH else (operation.value, ANY)
        for name in names:
            for position, front in enumerate(self._fronts):
                if front.operation != name or now < front.begins_at:
                    continue
                if front.passing:
                    self._fronts[position] = replace(front, passing=front.passing - 1)
                elif front.share >= 1 or self._chance.random() < front.share:
                    self._use(position, front)
                    return front.fault
        return None

    def fronts(self) -> tuple[Front, ...]:
        """All orders that are not over, with what is left of them."""
        self._forget_past()
        return tuple(self._fronts)

    def clear(self) -> None:
        """Cancel all orders."""
        self._fronts.clear()

    def seed(self, seed: int) -> None:
        """Start the draws anew."""
        self._chance.seed(seed)

    def _forget_past(self) -> float:
        now = self._seconds()
        if any(front.ends_at <= now for front in self._fronts):
            self._fronts = [front for front in self._fronts if now < front.ends_at]
        return now

    def _use(self, position: int, front: Front) -> None:
        if front.times is None:
            return
        if front.times > 1:
            self._fronts[position] = replace(front, times=front.times - 1)
        else:
            del self._fronts[position]
