"""Whether İYS is asked at all just now: a circuit breaker an operation.

After several calls of an operation in a row were not answered, or answered with "busy", the next
wait, ever longer up to a minute; then one call tries, and the others follow if it is answered.
Whatever İYS answers, a refusal too, shows that it is there. So an outage of days costs a call a
minute, and no record is claimed, told in vain and put back for it. While no token may be asked for,
no operation is tried. Pure: seconds of one monotonic clock go in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Gate(StrEnum):
    """Whether a call may be made."""

    OPEN = "open"
    TRY = "try"
    """One call, to see whether İYS is there again."""
    SHUT = "shut"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When an operation rests, and for how many seconds."""

    shuts_after: int = 5
    first: float = 1.0
    longest: float = 60.0

    def rest(self, failures: int) -> float:
        """Return how long to rest after so many failures in a row; 0: not at all."""
        if failures < self.shuts_after:
            return 0.0
        doublings = min(failures - self.shuts_after, 20)
        return min(self.longest, self.first * float(2**doublings))


@dataclass(slots=True)
class _Operation:
    failures: int = 0
    shut_until: float = 0.0
    is_tried: bool = False

    def gate(self, now: float) -> Gate:
        if not self.shut_until:
            return Gate.OPEN
        return Gate.SHUT if self.is_tried or now < self.shut_until else Gate.TRY


@dataclass(slots=True, kw_only=True)
class Breakers:
    """The breakers of one process."""

    policy: BreakerPolicy = field(default_factory=BreakerPolicy)
    _operations: dict[str, _Operation] = field(default_factory=dict)
    _silent_until: float = 0.0

    def gate(self, operation: str, now: float) -> Gate:
        """Return whether a call of ``operation`` may be made."""
        return Gate.SHUT if now < self._silent_until else self._of(operation).gate(now)

    def opens_in(self, operation: str, now: float) -> float:
        """Return after how many seconds ``operation`` may be tried again."""
        return max(0.0, self._silent_until - now, self._of(operation).shut_until - now)

    def begin(self, operation: str, now: float) -> bool:
        """Begin a call; False: it may not be made."""
        gate = self.gate(operation, now)
        if gate is Gate.TRY:
            self._of(operation).is_tried = True
        return gate is not Gate.SHUT

    def answered(self, operation: str) -> None:
        """Note that İYS answered, whatever."""
        self._operations.pop(operation, None)

    def failed(self, operation: str, now: float) -> None:
        """Note that no answer came, or "busy"."""
        known = self._of(operation)
        known.failures += 1
        known.is_tried = False
        rest = self.policy.rest(known.failures)
        known.shut_until = now + rest if rest else 0.0

    def let_go(self, operation: str) -> None:
        """Note that a call ended without a word on whether İYS is there."""
        self._of(operation).is_tried = False

    def silence(self, seconds: float, now: float) -> None:
        """Have nothing leave for a while, for there is no token."""
        self._silent_until = max(self._silent_until, now + min(seconds, self.policy.longest))

    def _of(self, operation: str) -> _Operation:
        return self._operations.setdefault(operation, _Operation())
