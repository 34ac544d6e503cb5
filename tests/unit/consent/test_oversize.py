"""An opt-out that is too large loses texts, and never its effect."""

import pytest

from izin.consent.admission import RefusedEvent, admit
from izin.consent.fields import RETAILER_LIMIT
from izin.consent.model import AdmittedEvent
from izin.consent.oversize import shortened
from izin.consent.texts import MAX_TEXT, cut, has_surrogate
from tests.support.builders import NOON, an_event, an_iys_event, an_iys_origin


def admitted(**fields: object) -> AdmittedEvent:
    """Return an admitted opt-out with these fields."""
    found = admit(an_event(status="RET", **fields), appended_at=NOON)
    assert not isinstance(found, RefusedEvent)
    return found


def test_oversized_opt_out_keeps_its_effect():
    """Its texts are cut, its evidence and an endless list are dropped, and each is named."""
    before = admitted(
        actor="ş" * 5000,
        evidence={"page": "x" * 5000},
        retailer_code=1,
        retailer_access=tuple(range(RETAILER_LIMIT + 1)),
    )
    after = shortened(before)
    assert (after.key, after.event.status) == (before.key, "RET")
    assert len((after.event.actor or "").encode()) <= MAX_TEXT
    assert (after.event.evidence, after.event.retailer_access) == ({}, None)
    named = {one.field for one in after.violations if one.code == "IZIN-TEXT-SIZE"}
    assert named >= {"actor", "evidence", "retailer_access"}


def test_opt_out_of_usual_size_is_unchanged():
    """Nothing is cut, and nothing named."""
    before = admitted()
    assert shortened(before) == before


@pytest.mark.parametrize("transaction", [None, "t" * 5000])
def test_texts_of_iys_are_cut_too(transaction: str | None):
    """And what is short stays."""
    origin = an_iys_origin(path="p" * 5000, transaction_id=transaction)
    found = admit(an_iys_event(status="RET", iys=origin), appended_at=NOON)
    assert not isinstance(found, RefusedEvent)
    after = shortened(found).event.iys
    assert after is not None
    assert after.path == cut("p" * 5000)
    short = admit(an_iys_event(status="RET", iys=an_iys_origin()), appended_at=NOON)
    assert not isinstance(short, RefusedEvent)
    assert shortened(short).event.iys == short.event.iys


def test_half_of_a_surrogate_pair_is_found():
    """Whatever is around it."""
    assert has_surrogate("ş\ud800")
    assert not has_surrogate("ş😀")
