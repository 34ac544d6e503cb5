"""Why nothing can be compared or repaired.

OurError                    (izin.consent.errors)
├── LedgerBehindError       decisions are not in the ledger yet: all of them would differ
└── IysSilentError          İYS gives no answer
SourceError                 (izin.consent.errors)
└── OtherRepairsError       the repairs beside a plan are not those that it was made with
"""

from pathlib import Path

from izin.consent.errors import OurError, SourceError


class LedgerBehindError(OurError):
    """The ledger has not taken all decisions, so that whatever is on its way would differ."""

    def __init__(self, decisions: int) -> None:
        super().__init__(
            f"the ledger is {decisions} decisions behind: see that a sink worker runs (izin "
            "doctor), and compare again"
        )


class IysSilentError(OurError):
    """İYS does not answer, or refuses to."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"İYS gives no answer ({error}); compare without --ask, or later")


class OtherRepairsError(SourceError):
    """The repairs beside a plan are missing, or were edited."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: not the repairs of this plan; compare again")
