"""Each way in which the three tellings can differ is seen, and each lawful ending has its name."""

import pytest

from izin.demo.compare import Comparison, Ending, Kept, Wanted, compare, regressions, repeated

KEY = "100001/MESAJ/BIREYSEL/+905550000001"
MERCHANT = "100001/MESAJ/TACIR/+905550000001"


def told(  # one key, told by each
    *,
    want: str | None = "ONAY",
    kept: Kept | None = None,
    iys: str | None = "ONAY",
    permitted: bool | None = None,
    key: str = KEY,
) -> Comparison:
    """Compare one key as each part tells it."""
    return compare(
        {} if want is None else {key: Wanted(status=want)},
        {} if kept is None else {key: kept},
        {} if iys is None else {key: iys},
        {} if permitted is None else {key: permitted},
    )


def a_row(desired: str = "ONAY", registered: str = "ONAY", state: str = "accepted") -> Kept:
    """Return what the ledger tells of a key."""
    return Kept(desired=desired, registered=registered, state=state)


@pytest.mark.parametrize(
    ("found", "ending"),
    [
        (told(kept=a_row(), permitted=True), Ending.REGISTERED),
        (told(want="RET", kept=a_row("RET", "RET"), iys="RET"), Ending.REGISTERED),
        (told(kept=a_row("ONAY", "UNKNOWN", "expired"), iys=None), Ending.EXPIRED),
        (told(kept=a_row("ONAY", "RET", "parked"), iys="RET"), Ending.PARKED),
        (told(kept=a_row("ONAY", "NONE", "refused"), iys=None), Ending.REFUSED),
        (told(want="RET", kept=a_row("RET", "NONE", "not_needed"), iys=None), Ending.KEPT_LOCALLY),
    ],
)
def test_a_lawful_ending_has_a_name(found: Comparison, ending: Ending) -> None:
    """What is explained by a rule is counted, and blamed on nobody."""
    assert found.endings == {ending: 1}
    assert found.differences == []


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (told(want=None, kept=a_row()), "the topic does not know it"),
        (told(kept=None), "the ledger does not know it"),
        (told(want="RET", kept=a_row("ONAY"), iys="RET"), "the ledger ONAY"),
        (told(kept=a_row(registered="RET")), "the ledger thinks RET"),
        (told(kept=a_row("ONAY", "NONE", "pending"), iys=None), "state pending"),
        (told(want="RET", kept=a_row("RET", "ONAY", "expired")), "İYS holds ONAY"),
        (told(want="RET", kept=a_row("RET", "RET"), iys="RET", permitted=True), "says yes"),
        (told(kept=a_row(), permitted=False), "says no"),
        (told(kept=a_row()), "says no"),
    ],
)
def test_every_other_difference_is_unexplained(found: Comparison, what: str) -> None:
    """What no rule names is a difference, told with the recipient masked."""
    assert any(what in one.what for one in found.differences)
    assert all("5550000001" not in one.key for one in found.differences)


def test_a_merchant_without_a_record_may_be_written_to() -> None:
    """A tradesman needs no prior consent, so a yes without a record at İYS is lawful."""
    row = a_row("ONAY", "NONE", "expired")
    assert told(kept=row, iys=None, permitted=True, key=MERCHANT).differences == []


def test_an_order_that_goes_back_is_seen() -> None:
    """A key's rows may repeat, never go back."""
    rows: list[tuple[str, tuple[object, ...]]] = [
        ("a", (1,)),
        ("b", (5,)),
        ("a", (1,)),
        ("a", (0,)),
    ]
    assert list(regressions(rows)) == ["a"]


def test_a_movement_accepted_twice_is_seen() -> None:
    """The same status with the same date of the same key counts once."""
    movements = [("a", "ONAY", "1"), ("a", "ONAY", "2"), ("a", "ONAY", "1")]
    assert list(repeated(movements)) == [("a", "ONAY", "1")]
