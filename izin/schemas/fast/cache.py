"""The bounded cache: a dict of values that are looked up for every record.

A dict that is full is emptied: few installations have more values, and tracking what was used last
would cost more than computing the values again.
"""

from typing import TypeVar

MAX_ENTRIES = 4096

K = TypeVar("K")
V = TypeVar("V")


def put(cache: dict[K, V], key: K, value: V) -> V:
    """Store ``value`` under ``key`` in ``cache``, emptied first where it is full, and return it."""
    if len(cache) >= MAX_ENTRIES:
        cache.clear()
    cache[key] = value
    return value
