"""The ledger as one short-lived command uses it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from izin.sinks.ledger.database import Ledger

if TYPE_CHECKING:
    from izin.runtime.settings import LedgerSettings


def open_ledger(settings: LedgerSettings) -> Ledger:
    """Return the ledger under a number of its own; enter it before use."""
    return Ledger(settings, owner=secrets.randbelow(2**31 - 1) + 1)
