"""The request log: the latest calls one by one, beside the counters of all calls.

It contains no bodies, and paths contain no recipients, so it holds no personal data.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

UNKNOWN = "unknown"
"""The operation of a path or method that İYS does not have."""

SIZE = 10_000
"""How many calls the log keeps; older ones remain in the counters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogEntry:
    """One call and its response.

    `occurred_at` and `milliseconds` (until the response was complete) are by the machine's clock;
    `status` is the HTTP status, or `dropped`; `faulted` is True where a fault was injected.
    """

    sequence: int
    occurred_at: int
    milliseconds: int
    operation: str
    method: str
    path: str
    client: str
    status: str
    codes: Sequence[str]
    faulted: bool


class RequestLog:
    """The latest `size` calls, numbered from 1."""

    def __init__(self, size: int = SIZE) -> None:
        self._entries: deque[LogEntry] = deque(maxlen=size)
        self._last_sequence = 0

    def next_sequence(self) -> int:
        """Return the number of a call that begins now."""
        self._last_sequence += 1
        return self._last_sequence

    def append(self, entry: LogEntry) -> None:
        """Add `entry`; the oldest entry is dropped where the log is full."""
        self._entries.append(entry)

    def entries(self, *, operation: str | None = None, after: int = 0) -> Iterator[LogEntry]:
        """Yield the logged calls in the order of their responses, numbered above `after`."""
        for entry in tuple(self._entries):
            if entry.sequence > after and operation in (None, entry.operation):
                yield entry

    def clear(self) -> None:
        """Delete all entries."""
        self._entries.clear()
        self._last_sequence = 0
