"""What the order stage holds true, a partition at a time.

The state topic ``consents`` *is* the changelog: a state is whatever its committed rows say up to
``position``, and perhaps later rows of keys already read. A state therefore changes in two ways
only: ``restore`` from rows read back, and ``apply`` after the transaction that wrote the same rows
has committed. Whatever ends a worker between a commit and ``apply`` leaves the position where it
was, so the rows are read back. Reading a row again is harmless; passing one over is not.

Where a state is kept is a setting: in memory here, or on disk (``rocks``).
"""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from izin.runtime.observe import get_logger
from izin.streams.packing import Packing, split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from izin.consent.model import Consent

_log = get_logger(__name__)


class State(Protocol):
    """The consents of one partition, by canonical key."""

    @property
    def position(self) -> int:
        """The offset in ``consents`` up to which rows are held; 0 when nothing is."""

    @property
    def size(self) -> int:
        """How many bytes it takes, about."""

    def open(self, home: str) -> None:
        """Be ready to hold rows of ``home``, the cluster and topic they stand in; what came from
        another is forgotten. Blocks; raises StateError where what is kept cannot be honoured.
        """

    def get(self, key: bytes) -> Consent | None:
        """Return what holds true of ``key``, or None."""

    def apply(self, changes: Mapping[bytes, Consent], position: int) -> None:
        """Hold ``changes``, which were committed; all rows below ``position`` are now held."""

    def restore(self, rows: Mapping[bytes, Consent | None], position: int) -> None:
        """Hold ``rows`` read back from ``consents`` (None: a tombstone), complete up to
        ``position``.
        """

    def clear(self) -> None:
        """Forget everything."""

    def close(self) -> None:
        """Let go of what only one worker may have, and keep the rows for another ``open``."""

    def __len__(self) -> int:
        """Return how many keys are held."""


class MemoryState:
    """A state in memory, packed; rebuilt from ``consents`` when a worker starts."""

    def __init__(self) -> None:
        self._home: str | None = None
        self._packing = Packing()
        # By the part of the key that many share: half the key need not be held a million times.
        self._packed: dict[bytes, dict[bytes, bytes]] = {}
        self._latest: Mapping[bytes, Consent] = {}
        """The last batch, for a key that has just changed is likely to be asked for again."""
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

    def get(self, key: bytes) -> Consent | None:
        """Return what holds true of ``key``, or None."""
        latest = self._latest.get(key)
        if latest is not None:
            return latest
        shared, recipient = split(key)
        group = self._packed.get(shared)
        packed = None if group is None else group.get(recipient)
        return None if packed is None else self._packing.unpack(shared, recipient, packed)

    def apply(self, changes: Mapping[bytes, Consent], position: int) -> None:
        """Hold ``changes``, which were committed; all rows below ``position`` are now held."""
        self.restore(changes, position)
        self._latest = changes

    def restore(self, rows: Mapping[bytes, Consent | None], position: int) -> None:
        """Hold ``rows`` read back from ``consents`` (None: a tombstone), complete up to
        ``position``.
        """
        for key, consent in rows.items():
            shared, recipient = split(key)
            group = self._packed.setdefault(shared, {})
            if consent is None:
                group.pop(recipient, None)
            else:
                group[recipient] = self._packing.pack(consent)
        self._latest = {}
        self.position = position

    def clear(self) -> None:
        """Forget everything."""
        self._packed.clear()
        self._latest = {}
        self.position = 0

    def close(self) -> None:
        """Keep everything: memory is nobody else's."""

    def __len__(self) -> int:
        """Return how many keys are held."""
        return sum(map(len, list(self._packed.values())))
