"""How a void consent may come back: never by asking whoever opted out."""

from datetime import timedelta

import pytest

from izin.onboarding.pack import (
    CORRECTED,
    HEADER,
    NOTICE,
    OCCASION,
    OWN_WISH,
    RETURNED_HEADER,
    returned_row_of,
    row_of,
    way_back,
)
from tests.support.builders import BRAND, NOON, PHONE

A_DAY = timedelta(days=1)
VOID = {
    "brand_code": BRAND,
    "channel": "MESAJ",
    "recipient_type": "BIREYSEL",
    "recipient": PHONE,
    "desired_at": NOON,
    "expires_at": NOON + 3 * A_DAY,
    "updated_at": NOON + A_DAY,
    "state": "expired",
    "code": None,
    "registered": "NONE",
    "latest_ret_at": None,
}
REFUSED = VOID | {"state": "refused", "code": "H121"}


@pytest.mark.parametrize(
    ("fields", "way"),
    [
        (VOID, OCCASION),
        (VOID | {"latest_ret_at": NOON - A_DAY}, OCCASION),
        (VOID | {"latest_ret_at": NOON + A_DAY}, OWN_WISH),
        (VOID | {"latest_ret_at": NOON}, OWN_WISH),
        (VOID | {"registered": "RET"}, OWN_WISH),
        (REFUSED, CORRECTED),
        (REFUSED | {"code": "H120"}, CORRECTED),
        (REFUSED | {"code": "H486"}, OCCASION),
        (REFUSED | {"code": None}, OCCASION),
        (REFUSED | {"registered": "RET"}, OWN_WISH),
    ],
)
def test_way_back_follows_from_what_happened(
    fields: dict[str, object], way: tuple[str, str]
) -> None:
    """An opt-out outranks every other reason."""
    assert way_back(fields) is way


def test_nobody_is_sent_to_via_over_an_opt_out() -> None:
    """Neither language names ViA, a form or a call there."""
    assert not any(word in OWN_WISH[1] for word in ("ViA", "form", "call", "visit"))
    assert not any(word in OWN_WISH[0] for word in ("ViA", "form", "arama", "ziyaret"))


def test_row_says_why_and_how_and_that_it_is_no_send_list() -> None:
    """In Turkish and English; since when it is void: its term's end, or İYS's refusal."""
    expired, refused = (dict(zip(HEADER, row_of(one), strict=True)) for one in (VOID, REFUSED))
    assert expired["uyarı/notice"] == refused["uyarı/notice"] == NOTICE
    assert expired["geçersiz oldu/void since"] == "05.03.2026 12:00:00"
    assert refused["geçersiz oldu/void since"] == "03.03.2026 12:00:00"
    assert expired["neden/why"] == "süresi geçti/expired"
    assert refused["neden/why"] == "İYS kabul etmedi/refused (H121)"
    assert refused["yeni onay için/ways to a new one"] == (" / ".join(CORRECTED))


def test_row_of_a_returned_consent_has_its_source() -> None:
    """And no column that an import of consents needs."""
    one = VOID | {
        "void_at": NOON,
        "registered_at": NOON + A_DAY,
        "registered_source": "HS_FIZIKSEL_ORTAM",
    }
    cells = dict(zip(RETURNED_HEADER, returned_row_of(one), strict=True))
    assert cells["kaynak/source"] == "HS_FIZIKSEL_ORTAM"
    assert cells["İYS'de onay/ONAY at İYS since"] == "03.03.2026 12:00:00"
    assert not any("status" in name for name in cells)
