"""Weather: faults ordered beforehand for the next calls of an operation, each used up by one call.

A fault may slow a call down, refuse it with a status and a code, or lose the connection: before the
effect (nothing happened) or after it (it happened, and nobody was told).
"""

from collections import defaultdict, deque
from dataclasses import dataclass
from enum import StrEnum


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
    PUSH = "push"  # a delivery, the twin's own call


ANY = "*"


class Drop(StrEnum):
    """When the connection is lost."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What befalls one call: slowness in seconds, then a refusal or a lost connection."""

    slow_seconds: float = 0.0
    status: int | None = None
    code: str | None = None
    message: str | None = None
    drop: Drop | None = None


class Weather:
    """The faults still to come, per operation or for any."""

    def __init__(self) -> None:
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)

    def order(self, operation: str, fault: Fault, times: int) -> None:
        """Let `fault` befall the next `times` calls of `operation` (or of any: `*`)."""
        self._faults[operation].extend([fault] * times)

    def take(self, operation: Operation) -> Fault | None:
        """Give the fault of this call, used up by it."""
        names = (operation.value,) if operation is Operation.PUSH else (operation.value, ANY)
        for name in names:
            if self._faults[name]:
                return self._faults[name].popleft()
        return None

    def outlook(self) -> dict[str, int]:
        """How many faults are still to come, per operation."""
        return {name: len(faults) for name, faults in self._faults.items() if faults}

    def clear(self) -> None:
        """Cancel all faults."""
        self._faults.clear()
