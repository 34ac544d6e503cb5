"""What can become of a dead letter that is written again, in three groups: it lands, something else
stands in its place, or it is refused again.
"""

from enum import StrEnum


class Group(StrEnum):
    """How outcomes are counted."""

    LANDS = "lands"
    SUPERSEDED = "superseded"
    REFUSED = "still refused"
    MOVED = "passed on"


class Outcome(StrEnum):
    """What the law makes of a redriven record."""

    APPLIED = "applied"
    ENRICHED = "enriched"
    ERASED = "erased"
    RECORDED = "recorded"
    """A decision that the ledger has taken."""
    STALE = "stale"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    KNOWN = "known"
    """A decision that the ledger had already."""
    REFUSED = "refused"
    MOVED = "moved"
    """An order worker could read what this machine cannot, and moved it to its partition."""

    @property
    def group(self) -> Group:
        """The group that it is counted in."""
        return _GROUPS[self]

    @property
    def words(self) -> str:
        """What it means."""
        return _WORDS[self]


_GROUPS = {
    Outcome.APPLIED: Group.LANDS,
    Outcome.ENRICHED: Group.LANDS,
    Outcome.ERASED: Group.LANDS,
    Outcome.RECORDED: Group.LANDS,
    Outcome.STALE: Group.SUPERSEDED,
    Outcome.DUPLICATE: Group.SUPERSEDED,
    Outcome.SUPPRESSED: Group.SUPERSEDED,
    Outcome.KNOWN: Group.SUPERSEDED,
    Outcome.REFUSED: Group.REFUSED,
    Outcome.MOVED: Group.MOVED,
}
_WORDS = {
    Outcome.APPLIED: "newer than the state, which it changes",
    Outcome.ENRICHED: "only the evidence changes, which is better",
    Outcome.ERASED: "its key is erased",
    Outcome.RECORDED: "a decision that the ledger lacked",
    Outcome.STALE: "older than the state, which stays",
    Outcome.DUPLICATE: "the same event, or one of the same instant, is there already",
    Outcome.SUPPRESSED: "an opt-in given before its key was erased",
    Outcome.KNOWN: "a decision that the ledger has",
    Outcome.REFUSED: "it cannot be processed now either",
    Outcome.MOVED: "an order worker could read it, and moved it to its partition",
}
