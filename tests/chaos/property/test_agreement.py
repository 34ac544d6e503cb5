"""Ledger, evidence, what-if and reconcile give one answer, by the one fold (``consent.fold``)."""

from random import Random

from tests.chaos.property.__main__ import RecordedHistory

HISTORIES = 100
ACTS = 25


def compared(seed: int) -> RecordedHistory:
    """Return a generated history, compared after each act."""
    history = RecordedHistory(Random(seed))
    for _ in range(ACTS):
        history.step()
        history.compare()
    return history


def test_all_readers_of_a_history_say_the_same() -> None:
    """What is desired, what İYS holds, and whether a message may be sent, and why."""
    kinds = {row.columns.kind for seed in range(HISTORIES) for row in compared(seed).rows}
    assert kinds == {"decision", "bootstrap", "call", "answer", "observation", "outcome"}
