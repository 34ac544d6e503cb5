"""What every step of the sinks works with: the ledger, İYS, the announcer, the clock, the pace,
and who it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from izin.sinks.leases import Leases

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from izin.iys.client import IysClient
    from izin.sinks.announce import Announcer
    from izin.sinks.ledger.budgets import LedgerPacer
    from izin.sinks.ledger.database import Ledger
    from izin.sinks.ledger.holder import Holder


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Put together once, by the entry point."""

    ledger: Ledger
    client: IysClient
    announcer: Announcer
    clock: Callable[[], datetime]
    pacer: LedgerPacer
    holder: Holder
    unforeseen: Callable[[str], None]
    """Counts, by code, what İYS found wrong in a field and we did not."""
    leases: Leases = field(default_factory=Leases)
