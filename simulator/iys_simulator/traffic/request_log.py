"""The log of requests: the latest calls one by one, beside the counters of all of them.

Bodies are not kept and paths carry no address, so the log holds no personal data.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

UNKNOWN = "unknown"
"""The operation of a path or method that İYS does not have."""

SIZE = 10_000
"""How many calls are kept; older ones remain in the counters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One call and its answer.

    `occurred_at` and `milliseconds` (until the answer stood) are by the machine's clock; `status`
    is HTTP's, or `dropped`; `struck` tells that weather befell the call.
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
    struck: bool


class RequestLog:
    """The latest `size` calls, numbered from 1."""

    def __init__(self, size: int = SIZE) -> None:
        self._entries: deque[Entry] = deque(maxlen=size)
        self._noted = 0

    def next_sequence(self) -> int:
        """Give the number of a call that begins now."""
        self._noted += 1
        return self._noted

    def note(self, entry: Entry) -> None:
        """Keep `entry`; the oldest one goes if there is no room."""
        self._entries.append(entry)

    def entries(self, *, operation: str | None = None, after: int = 0) -> Iterator[Entry]:
        """Give the kept calls in the order their answers left, numbered above `after`."""
        for entry in tuple(self._entries):
            if entry.sequence > after and operation in (None, entry.operation):
                yield entry

    def clear(self) -> None:
        """Start at nothing."""
        self._entries.clear()
        self._noted = 0
