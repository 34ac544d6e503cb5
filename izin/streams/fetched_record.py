"""A record of an input topic, as the fold reads it: a value of our own that can be compiled.

What the client makes of a record is a dictionary with a key for each field. Compiled code finds the
fields of its own classes without looking them up, and an event has a dozen of them read.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from mypy_extensions import mypyc_attr

APPENDED_AT: Final = "izin-appended-at"
"""The last header of a record that was appended before (repartitioned, or redriven), with its first
append in milliseconds since 1970: a later one must not change the instant from which an event
counts."""


@mypyc_attr(acyclic=True)  # the garbage collector need not look at it
class FetchedRecord:
    """A record of an input topic."""

    def __init__(  # noqa: PLR0913, PLR0917  # by position, for one is made of each record
        self,
        topic: str,
        partition: int,
        offset: int,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.timestamp = timestamp
        """When the broker appended it, in milliseconds since 1970."""
        self.key = key
        """As its publisher chose it."""
        self.value = value
        """A framed ConsentEvent, or whatever else it is."""
        self.headers = headers
        self.was_appended_before = bool(headers) and headers[-1][0] == APPENDED_AT
        """Whether it was repartitioned or redriven, as its last header then says."""


def fetched_records(topic: str, partition: int, records: Iterable[Any]) -> list[FetchedRecord]:
    """Return ``records``, as aiokafka unpacks them, of a partition of ``topic``."""
    return [
        FetchedRecord(topic, partition, one.offset, one.timestamp, one.key, one.value, one.headers)
        for one in records
    ]
