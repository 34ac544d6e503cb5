"""Counters of responses: per operation, HTTP status and H-code."""

from collections import Counter, defaultdict
from collections.abc import Iterable

DROPPED = "dropped"


class Counters:
    """Counts of responses; a connection dropped on purpose has the status `dropped`."""

    def __init__(self) -> None:
        self._statuses: dict[str, Counter[str]] = defaultdict(Counter)
        self._codes: dict[str, Counter[str]] = defaultdict(Counter)

    def count(self, operation: str, status: str, codes: Iterable[str]) -> None:
        """Count one response of `operation` and the H-codes in it."""
        name = str(operation)
        self._statuses[name][status] += 1
        self._codes[name].update(codes)

    def as_dict(self) -> dict[str, object]:
        """Return `{total, statuses, codes, operations: {name: {total, statuses, codes}}}`."""
        return {
            "total": sum(counts.total() for counts in self._statuses.values()),
            "statuses": dict(sum(self._statuses.values(), Counter[str]())),
            "codes": dict(sum(self._codes.values(), Counter[str]())),
            "operations": {
                name: {
                    "total": counts.total(),
                    "statuses": dict(counts),
                    "codes": dict(self._codes[name]),
                }
                for name, counts in self._statuses.items()
            },
        }

    def clear(self) -> None:
        """Reset all counts."""
        self._statuses.clear()
        self._codes.clear()
