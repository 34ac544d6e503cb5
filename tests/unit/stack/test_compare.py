"""Each way in which topics, ledger and İYS can differ is found; each lawful end has a name."""

import pytest

from izin.stack.report import (
    DemoComparison,
    DesiredState,
    FinalState,
    compare,
    regressions,
    repeated,
)
from izin.stack.scenario import LedgerState

KEY = "100001/MESAJ/BIREYSEL/+905550000001"
MERCHANT = "100001/MESAJ/TACIR/+905550000001"


def compared(
    *,
    desired: str | None = "ONAY",
    ledger: LedgerState | None = None,
    iys: str | None = "ONAY",
    permitted: bool | None = None,
    key: str = KEY,
) -> DemoComparison:
    """Compare one key."""
    return compare(
        {} if desired is None else {key: DesiredState(desired, "event-2")},
        {} if ledger is None else {key: ledger},
        {} if iys is None else {key: iys},
        {} if permitted is None else {key: permitted},
    )


def a_row(
    desired: str = "ONAY",
    registered: str = "ONAY",
    state: str = "accepted",
    void_event_id: str | None = None,
) -> LedgerState:
    """Return the ledger's record of a key."""
    return LedgerState(
        desired=desired, registered=registered, state=state, void_event_id=void_event_id
    )


@pytest.mark.parametrize(
    ("found", "final"),
    [
        (compared(ledger=a_row(), permitted=True), FinalState.REGISTERED),
        (compared(desired="RET", ledger=a_row("RET", "RET"), iys="RET"), FinalState.REGISTERED),
        (compared(ledger=a_row("ONAY", "UNKNOWN", "expired"), iys=None), FinalState.EXPIRED),
        (compared(ledger=a_row("ONAY", "RET", "parked"), iys="RET"), FinalState.PARKED),
        (compared(ledger=a_row("ONAY", "NONE", "refused"), iys=None), FinalState.REFUSED),
        (
            compared(desired="RET", ledger=a_row("RET", "NONE", "not_needed"), iys=None),
            FinalState.LOCAL_ONLY,
        ),
        (
            compared(ledger=a_row("RET", "NOT_ONAY", "not_needed", "event-2"), iys=None),
            FinalState.LOCAL_ONLY,
        ),
    ],
)
def test_compare_lawful_end_has_a_final_state(found: DemoComparison, final: FinalState) -> None:
    """What a rule explains is counted, and is no difference."""
    assert found.final_states == {final: 1}
    assert found.differences == []


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (compared(desired=None, ledger=a_row()), "the topic does not know it"),
        (compared(ledger=None), "the ledger does not know it"),
        (compared(desired="RET", ledger=a_row("ONAY"), iys="RET"), "the ledger ONAY"),
        (
            compared(ledger=a_row("RET", "NONE", "not_needed", "event-1"), iys=None),
            "the topic wants ONAY, the ledger RET",
        ),
        (compared(ledger=a_row("ONAY", void_event_id="event-2")), "the topic wants RET"),
        (compared(ledger=a_row(registered="RET")), "the ledger thinks RET"),
        (compared(ledger=a_row("ONAY", "NONE", "pending"), iys=None), "state pending"),
        (compared(desired="RET", ledger=a_row("RET", "ONAY", "expired")), "İYS holds ONAY"),
        (
            compared(desired="RET", ledger=a_row("RET", "RET"), iys="RET", permitted=True),
            "says yes",
        ),
        (compared(ledger=a_row(), permitted=False), "says no"),
        (compared(ledger=a_row()), "says no"),
    ],
)
def test_compare_other_difference_is_unexplained(found: DemoComparison, what: str) -> None:
    """What no rule explains is a difference, with the recipient masked."""
    assert any(what in one.what for one in found.differences)
    assert all("5550000001" not in one.key for one in found.differences)


def test_compare_tacir_without_a_record_is_permitted() -> None:
    """A TACIR needs no prior consent, so sending without a record at İYS is lawful."""
    row = a_row("ONAY", "NONE", "expired")
    assert compared(ledger=row, iys=None, permitted=True, key=MERCHANT).differences == []


def test_regressions_of_a_decreasing_order_are_found() -> None:
    """Orders of a key may repeat, never decrease."""
    rows: list[tuple[str, tuple[object, ...]]] = [
        ("a", (1,)),
        ("b", (5,)),
        ("a", (1,)),
        ("a", (0,)),
    ]
    assert list(regressions(rows)) == ["a"]


def test_movement_accepted_twice_is_found() -> None:
    """The same status with the same date of the same key counts once."""
    entries = [("a", "ONAY", "1"), ("a", "ONAY", "2"), ("a", "ONAY", "1")]
    assert list(repeated(entries)) == [("a", "ONAY", "1")]
