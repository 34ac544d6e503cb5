"""Why an archive of evidence cannot be made or read.

OurError                    (izin.consent.errors)
└── UnprovenHistoryError    the chain of a row does not lead to its anchor
SourceError                 (izin.consent.errors)
├── NoEvidenceError         the ledger has nothing of this recipient for this brand
├── UnreadableEvidenceError a file is no archive of evidence, or one of its files is not
├── UnreadableAnchorsError  a file with anchors has a line that is none
└── UnreadableRootsError    a file of trusted roots has no certificates
"""

from izin.consent import OurError, SourceError


class UnprovenHistoryError(OurError):
    """A row of the history does not lead to its anchor; no archive was made."""

    def __init__(self, shard: int, place: int) -> None:
        super().__init__(
            f"the chain of shard {shard} is broken at or behind row {place}; no archive was made; "
            "run izin ledger verify, which names each row that was changed"
        )


class NoEvidenceError(SourceError):
    """The ledger has nothing of a recipient for a brand."""

    def __init__(self, brand_code: int) -> None:
        super().__init__(
            f"the ledger has nothing of this recipient for brand {brand_code}; see izin explain, "
            "and leave out --type"
        )


class UnreadableEvidenceError(SourceError):
    """A file that is no archive of evidence, or a part of it that cannot be read."""


class UnreadableAnchorsError(SourceError):
    """A file of anchors that cannot be read."""


class UnreadableRootsError(SourceError):
    """A file of trusted roots that cannot be read."""
