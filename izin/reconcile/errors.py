"""Why nothing can be compared; why a plan of repairs cannot be used: ``runtime.plan``.

OurError                    (izin.consent.errors)
├── LedgerBehindError       decisions are not in the ledger yet: all of them would differ
└── IysSilentError          İYS gives no answer
"""

from izin.consent.errors import OurError


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
