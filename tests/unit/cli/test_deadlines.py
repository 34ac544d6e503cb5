"""The sentence of ``izin deadlines``: what will be late, and what no worker will ever send."""

from izin.cli.deadlines import in_words, parked_counts
from izin.consent.forecast import forecast
from izin.ledger.reads import Parked
from tests.support.builders import NOON

NOTHING = forecast([], now=NOON, records_per_second=1)


def parked(status: str, keys: int) -> Parked:
    """Return so many records of brand 7 that wait for a person."""
    return Parked(
        brand_code=7,
        channel="MESAJ",
        desired_status=status,
        reason="reconsent",
        code=None,
        keys=keys,
    )


def test_in_words_counts_parked_opt_outs_and_consents() -> None:
    """Nothing of them is sent before a person acts, so the sentence says where to look."""
    found = parked_counts([parked("RET", 2), parked("ONAY", 5), parked("RET", 1)])
    assert in_words(NOTHING, 0, found) == (
        "nothing else waits to be sent; 3 opt-outs and 5 consents are parked until a person acts: "
        "izin brands parked says what to do; opt-outs that cannot wait: izin deadlines opt-outs 7"
    )
    assert in_words(NOTHING, 0, parked_counts([parked("ONAY", 1)])).endswith(
        "0 opt-outs and 1 consents are parked until a person acts: izin brands parked says what "
        "to do"
    )
    assert in_words(NOTHING, 0, parked_counts([])) == "nothing waits to be sent"


def test_in_words_names_suspended_records_too() -> None:
    """Both keep records from being sent, and have different remedies."""
    words = in_words(NOTHING, 4, parked_counts([parked("RET", 1)]))
    assert "4 are suspended: izin brands suspensions, izin brands list" in words
    assert "1 opt-outs and 0 consents are parked" in words
