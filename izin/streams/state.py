"""What the order stage holds true, a partition at a time.

The state topic ``consents`` *is* the changelog: a state is whatever its committed rows say up to
``position``. A state therefore changes in two ways only: ``restore`` from rows read back, and
``apply`` after the transaction that wrote the same rows has committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from izin.consent.model import Consent


class State(Protocol):
    """The consents of one partition, by canonical key."""

    position: int
    """The offset in ``consents`` up to which rows are held; 0 when nothing is."""

    def get(self, key: bytes) -> Consent | None:
        """Return what holds true of ``key``, or None."""

    def apply(self, changes: Mapping[bytes, Consent]) -> None:
        """Hold ``changes``, which were committed."""

    def restore(self, rows: Mapping[bytes, Consent | None], position: int) -> None:
        """Hold ``rows`` read back from ``consents`` (None: a tombstone), complete up to
        ``position``.
        """

    def clear(self) -> None:
        """Forget everything."""

    def __len__(self) -> int:
        """Return how many keys are held."""


class MemoryState:
    """A state in memory, rebuilt from ``consents`` when a worker starts."""

    def __init__(self) -> None:
        self.position = 0
        self._consents: dict[bytes, Consent] = {}

    def get(self, key: bytes) -> Consent | None:
        """Return what holds true of ``key``, or None."""
        return self._consents.get(key)

    def apply(self, changes: Mapping[bytes, Consent]) -> None:
        """Hold ``changes``, which were committed."""
        self._consents.update(changes)

    def restore(self, rows: Mapping[bytes, Consent | None], position: int) -> None:
        """Hold ``rows`` read back from ``consents`` (None: a tombstone), complete up to
        ``position``.
        """
        for key, consent in rows.items():
            if consent is None:
                self._consents.pop(key, None)
            else:
                self._consents[key] = consent
        self.position = position

    def clear(self) -> None:
        """Forget everything."""
        self._consents.clear()
        self.position = 0

    def __len__(self) -> int:
        """Return how many keys are held."""
        return len(self._consents)
