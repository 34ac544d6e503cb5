"""What the order stage holds true, a partition at a time.

The state topic ``desired-consents`` *is* the changelog: a state is whatever its committed rows say up to
``position``, and perhaps later rows of keys already read. A state therefore holds rows read back,
and those of a transaction that has committed; nothing else. Whatever ends a worker between the two
leaves the position where it was, so the rows are read back. Reading a row again is harmless;
passing one over is not.

Where a state is kept is a setting: in memory here, or on disk (``rocks``).
"""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from izin.runtime.observe import get_logger
from izin.streams.state.packing import Packing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from izin.consent.model import Consent

_log = get_logger(__name__)


class State(Protocol):
    """The consents of one partition, by canonical key."""

    @property
    def packing(self) -> Packing:
        """How its rows are packed; another one once it was cleared or closed."""

    @property
    def position(self) -> int:
        """The offset in ``desired-consents`` up to which rows are held; 0 when nothing is."""

    @property
    def size(self) -> int:
        """How many bytes it takes, about."""

    def open(self, home: str) -> None:
        """Be ready to hold rows of ``home``, the cluster and topic they stand in; what came from
        another is forgotten. Blocks; raises StateError where what is kept cannot be honoured.
        """

    def packed(self, key: bytes) -> bytes | None:
        """Return what holds true of ``key``, packed, or None."""

    def get(self, key: bytes) -> Consent | None:
        """Return what holds true of ``key``, or None."""

    def hold(self, rows: Mapping[bytes, bytes | None], position: int) -> None:
        """Hold ``rows``, packed by ``packing`` (None: a tombstone): the changes of a transaction
        that has committed, or what was read back. All rows below ``position`` are now held.
        """

    def clear(self) -> None:
        """Forget everything."""

    def close(self) -> None:
        """Let go of what only one worker may have, and keep the rows for another ``open``."""

    def __len__(self) -> int:
        """Return how many keys are held."""


class MemoryState:
    """A state in memory, packed; rebuilt from ``desired-consents`` when a worker starts."""

    def __init__(self) -> None:
        self._home: str | None = None
        self.packing = Packing()
        # By the part of the key that many share: half the key need not be held a million times.
        self._packed: dict[bytes, dict[bytes, bytes]] = {}
        self.position = 0

    @property
    def size(self) -> int:
        """How many bytes it takes, about: one row of each group is weighed for all of them."""
        groups = list(self._packed.values())  # at once, for a thread may be reading rows back
        total = sys.getsizeof(self._packed) + sum(map(sys.getsizeof, groups))
        for group in groups:
            for recipient, packed in list(islice(group.items(), 1)):
                total += len(group) * (sys.getsizeof(recipient) + sys.getsizeof(packed))
        return total

    def open(self, home: str) -> None:
        """Be ready to hold rows of ``home``; what came from another is forgotten."""
        if self._home is not None and self._home != home:
            _log.warning("the state came from another topic; reading all of it", home=home)
            self.clear()
        self._home = home

    def packed(self, key: bytes) -> bytes | None:
        """Return what holds true of ``key``, packed, or None."""
        shared, _, recipient = key.rpartition(b"/")
        group = self._packed.get(shared)
        return None if group is None else group.get(recipient)

    def get(self, key: bytes) -> Consent | None:
        """Return what holds true of ``key``, or None."""
        packed = self.packed(key)
        return None if packed is None else self.packing.unpack(key, packed)

    def hold(self, rows: Mapping[bytes, bytes | None], position: int) -> None:
        """Hold ``rows`` (None: a tombstone), after which all rows below ``position`` are held."""
        for key, packed in rows.items():
            shared, _, recipient = key.rpartition(b"/")
            group = self._packed.get(shared)
            if group is None:
                group = self._packed[shared] = {}
            if packed is None:
                group.pop(recipient, None)
            else:
                group[recipient] = packed
        self.position = position

    def clear(self) -> None:
        """Forget everything."""
        self._packed.clear()
        self.position = 0

    def close(self) -> None:
        """Keep everything: memory is nobody else's."""

    def __len__(self) -> int:
        """Return how many keys are held."""
        return sum(map(len, list(self._packed.values())))
