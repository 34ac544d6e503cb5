"""What one fetch brought for one partition, and how it is taken apart."""

from collections.abc import Sequence
from typing import NamedTuple

from izin.streams.fetched_record import FetchedRecord


class RecordBatch(NamedTuple):
    """The records that one fetch brought for one partition, oldest first."""

    start: int
    """No record from here to ``next_offset`` is missing."""
    next_offset: int
    """Where the next fetch will read."""
    records: Sequence[FetchedRecord]
    """Never empty."""
    opening: int = 0
    """Of its lane at the gate, under which it was fetched."""

    def split(self, count: int) -> tuple["RecordBatch", "RecordBatch"]:
        """Return a batch of the first ``count`` records, and one of the others; neither may be
        without any.
        """
        records, following = self.records, self.records[count].offset
        return (
            self._replace(next_offset=following, records=records[:count]),
            self._replace(start=following, records=records[count:]),
        )
