"""The state of the order stage: what is desired of each key of a partition.

The topic ``desired-consents`` *is* the changelog: a state is whatever its committed rows say up to
``position``, and perhaps later rows of keys already read. So rows are applied that were read back,
and those of a transaction that has committed; no others. Whatever ends a worker between the two
leaves the position where it was, and the rows are read back. Reading a row twice is harmless;
skipping one is not.

Where a state is stored is a setting: in memory (here), or on disk (``rocks``).
"""

import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from struct import Struct
from typing import Final, Protocol

from mypy_extensions import mypyc_attr

from izin.runtime.logs import get_logger
from izin.schemas.erasure import SUPPRESSED
from izin.schemas.partitioning import last_slash
from izin.streams.state.packing import Packing

_INSTANT: Final = Struct(">q")
_log = get_logger(__name__)


def suppression(until: int) -> bytes:
    """Return a suppression packed: until which instant (milliseconds since 1970) opt-ins are."""
    return _INSTANT.pack(until)


def erased_until(packed: bytes) -> int:
    """Return until which instant (milliseconds since 1970) a packed suppression applies."""
    (until,) = _INSTANT.unpack(packed)
    return int(until)


class PartitionState(Protocol):
    """The consents of one partition by canonical key, and its suppressions by their keys."""

    caught_up_at: int
    """When it last had all rows of its topic, by the broker's clock, in milliseconds since 1970; it
    is stored with the next rows. 0: never, or it is not known."""

    @property
    def packing(self) -> Packing:
        """The packing of its rows; another one once it was cleared or closed."""

    @property
    def position(self) -> int:
        """The offset in ``desired-consents`` below which all rows are applied; 0 where none is."""

    @property
    def suppresses(self) -> bool:
        """Whether it has a suppression."""

    @property
    def size(self) -> int:
        """How many bytes it takes, roughly."""

    def open(self, identity: str) -> None:
        """Open it for rows of the topic ``identity``, its cluster's id included; rows of any other
        are discarded. Blocks; raises StateError if the stored state cannot be used.
        """

    def packed(self, key: bytes) -> bytes | None:
        """Return the packed consent of ``key``, or None."""

    def apply(self, rows: Mapping[bytes, bytes | None], position: int) -> None:
        """Apply ``rows``, packed by ``packing`` (none, or empty: a tombstone): the changes of a
        transaction that has committed, or what was read back. All rows below ``position`` are then
        applied.
        """

    def clear(self) -> None:
        """Discard everything."""

    def close(self) -> None:
        """Release what only one worker may have, and keep the rows for another ``open``."""

    def __len__(self) -> int:
        """Return the number of keys."""


@mypyc_attr(allow_interpreted_subclasses=True)  # a preview looks at some keys alone
class MemoryState:
    """A state in memory, packed; rebuilt from ``desired-consents`` when a worker starts."""

    def __init__(self) -> None:
        self._identity: str | None = None
        self.packing = Packing()
        # By the part of the key that many share: half of the key is not stored a million times.
        self._packed: dict[bytes, dict[bytes, bytes]] = {}
        self.position = self.caught_up_at = 0
        self.suppresses = False

    @property
    def size(self) -> int:
        """How many bytes it takes, roughly: one row of each group is measured for all of them."""
        groups = list(self._packed.values())  # at once, for a thread may be reading rows back
        total = sys.getsizeof(self._packed) + sum(map(sys.getsizeof, groups))
        for group in groups:
            for recipient, packed in list(islice(group.items(), 1)):
                total += len(group) * (sys.getsizeof(recipient) + sys.getsizeof(packed))
        return total

    def open(self, identity: str) -> None:
        """Open it for rows of the topic ``identity``; rows of any other are discarded."""
        if self._identity is not None and self._identity != identity:
            _log.warning("state discarded", topic=identity, why="it is of another topic")
            self.clear()
        self._identity = identity

    def packed(self, key: bytes) -> bytes | None:
        """Return the packed consent of ``key``, or None."""
        slash = last_slash(key)
        group = self._packed.get(key[:slash])
        return None if group is None else group.get(key[slash + 1 :])

    def apply(self, rows: Mapping[bytes, bytes | None], position: int) -> None:
        """Apply ``rows`` (none, or empty: a tombstone), and all rows below ``position``."""
        for key, packed in rows.items():
            slash = last_slash(key)
            shared, recipient = key[:slash], key[slash + 1 :]
            group = self._packed.get(shared)
            if group is None:
                group = self._packed[shared] = {}
                self.suppresses |= shared.startswith(SUPPRESSED)
            if not packed:
                group.pop(recipient, None)
            else:
                group[recipient] = packed
        self.position = position

    def __iter__(self) -> Iterator[bytes]:
        """Yield every key, in no order; the state must not change meanwhile."""
        for shared, group in self._packed.items():
            for recipient in group:
                yield shared + b"/" + recipient

    def clear(self) -> None:
        """Discard everything."""
        self._packed.clear()
        self.position = 0
        self.suppresses = False

    def close(self) -> None:
        """Keep everything: no other worker has this memory."""

    def __len__(self) -> int:
        """Return the number of keys."""
        return sum(map(len, list(self._packed.values())))
