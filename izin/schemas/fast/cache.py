"""What is looked up at every record and made once: kept in a dict, and bounded.

A dict that fills up is emptied, for few installations have more to keep and a queue of what was
used last would cost more than making it anew.
"""

from __future__ import annotations

from typing import TypeVar

MOST = 4096

K = TypeVar("K")
V = TypeVar("V")


def keep(memo: dict[K, V], key: K, value: V) -> V:
    """Keep ``value`` in ``memo``, emptied first where it is full, and return it."""
    if len(memo) >= MOST:
        memo.clear()
    memo[key] = value
    return value
