"""A circuit breaker for each operation of İYS. Pure: seconds of one monotonic clock are arguments.

After several calls of an operation in a row without an answer, or with "busy", its circuit opens
for a pause that doubles up to 5 seconds: an opt-out must not wait longer than that once İYS is
back. Then one call is let through, and an answer closes the circuit; any answer will do, a refusal
too. So an outage of days costs twelve calls a minute, and no record is claimed only to be put back.
While no token may be requested, all circuits are open.

Where İYS answers nothing at all, the network of this process may be at fault. Fewer calls then open
a circuit, and leave to other processes what this one would only hold back.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class CircuitState(StrEnum):
    """Whether a call may be made."""

    CLOSED = "closed"
    """Calls are made."""
    HALF_OPEN = "half-open"
    """One call may be made, to see whether İYS answers again."""
    OPEN = "open"
    """No call may be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBreakerPolicy:
    """When a circuit opens, and for how many seconds."""

    opens_after: int = 5
    opens_in_silence_after: int = 2
    """Where İYS has answered no call of any operation for the deadline of one."""
    unreachable_after: int = 3
    """So many calls in a row without an answer, of whatever operation: İYS is unreachable."""
    first_pause: float = 1.0
    longest_pause: float = 5.0
    without_token: float = 60.0
    """The longest pause of all operations while no token can be had."""

    def pause(self, failures: int, *, in_silence: bool = False) -> float:
        """Return how long a circuit stays open after ``failures`` in a row; 0: not at all."""
        opens_after = self.opens_in_silence_after if in_silence else self.opens_after
        if failures < opens_after:
            return 0.0
        doublings = min(failures - opens_after, 20)
        return min(self.longest_pause, self.first_pause * float(2**doublings))


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    open_until: float = 0.0
    is_probing: bool = False

    def state(self, now: float) -> CircuitState:
        if not self.open_until:
            return CircuitState.CLOSED
        if self.is_probing or now < self.open_until:
            return CircuitState.OPEN
        return CircuitState.HALF_OPEN


@dataclass(slots=True, kw_only=True)
class CircuitBreakers:
    """The circuit breakers of one process, by operation."""

    policy: CircuitBreakerPolicy = field(default_factory=CircuitBreakerPolicy)
    _circuits: dict[str, _Circuit] = field(default_factory=dict)
    _all_open_until: float = 0.0
    _answered_at: float = 0.0
    """When İYS last answered a call, of whatever operation."""
    is_silent: bool = False
    """Whether a call failed when İYS had answered none for a whole deadline, and none since: the
    network of this process may be at fault.
    """
    _unanswered: int = 0
    """How many calls in a row were not answered, of whatever operation."""

    @property
    def is_unreachable(self) -> bool:
        """Whether several calls in a row were not answered, and none since."""
        return self._unanswered >= self.policy.unreachable_after

    def state(self, operation: str, now: float) -> CircuitState:
        """Return whether a call of ``operation`` may be made."""
        if now < self._all_open_until:
            return CircuitState.OPEN
        return self._of(operation).state(now)

    def closes_in(self, operation: str, now: float) -> float:
        """Return after how many seconds ``operation`` may be tried again."""
        return max(0.0, self._all_open_until - now, self._of(operation).open_until - now)

    def begin(self, operation: str, now: float) -> bool:
        """Begin a call; return False if it may not be made."""
        state = self.state(operation, now)
        if state is CircuitState.HALF_OPEN:
            self._of(operation).is_probing = True
        return state is not CircuitState.OPEN

    def answered(self, operation: str, now: float) -> None:
        """Close the circuit: İYS responded, with whatever status."""
        self._note_answer(now)
        self._circuits.pop(operation, None)

    def busy(self, operation: str, now: float) -> None:
        """Count a call that İYS answered with "busy"."""
        self._note_answer(now)
        self._count(operation, now, in_silence=False)

    def unanswered(self, operation: str, now: float, *, within: float) -> None:
        """Count a call that was not answered; ``within`` is its deadline, in seconds."""
        if self._answered_at < now - within:
            self.is_silent = True
        self._unanswered += 1
        self._count(operation, now, in_silence=self.is_silent)

    def _count(self, operation: str, now: float, *, in_silence: bool) -> None:
        """Count a failed call. One that was under way when the circuit opened adds nothing: it has
        failed with the others.
        """
        circuit = self._of(operation)
        if now < circuit.open_until and not circuit.is_probing:
            return
        circuit.failures += 1
        circuit.is_probing = False
        pause = self.policy.pause(circuit.failures, in_silence=in_silence)
        circuit.open_until = now + pause if pause else 0.0

    def throttled(self, operation: str, now: float) -> None:
        """Note that a call was one too many: İYS answers, though not what was asked."""
        self._note_answer(now)
        self.abandoned(operation)

    def abandoned(self, operation: str) -> None:
        """Note that a call ended without showing whether İYS answers."""
        self._of(operation).is_probing = False

    def open_all(self, seconds: float, now: float) -> None:
        """Open all circuits, for a minute at most: no token can be had."""
        until = now + min(seconds, self.policy.without_token)
        self._all_open_until = max(self._all_open_until, until)

    def _note_answer(self, now: float) -> None:
        self._answered_at = now
        self.is_silent = False
        self._unanswered = 0

    def _of(self, operation: str) -> _Circuit:
        return self._circuits.setdefault(operation, _Circuit())
