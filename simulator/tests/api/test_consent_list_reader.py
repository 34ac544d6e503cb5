"""A list is read as its items would be read one by one."""

from hypothesis import given, strategies as st

from iys_simulator.rules.consent_fields import ConsentListReader, ValidationContext, read_consent
from iys_simulator.settings import Settings

CONTEXT = ValidationContext.at(1_780_000_000, None, Settings())
_ABSENT = object()

items = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["ARAMA", "MESAJ", "EPOSTA", "FAKS", 1]),
        "source": st.sampled_from(["HS_WEB", "HS_2015", "HS_KARAR", "hs_web", ["HS_WEB"]]),
        "recipient": st.sampled_from(
            ["+905550000001", "+905550000002", "+90555", "Ada@example.com", "", None]
        ),
        "status": st.sampled_from(["ONAY", "RET", "onay"]),
        "consentDate": st.sampled_from(
            [CONTEXT.now, "2015-05-01 00:00:00", "2026-02-30 00:00:00", "2033-01-01 00:00:00"]
        ),
        "recipientType": st.sampled_from(["BIREYSEL", "TACIR", _ABSENT]),
        "retailerAccess": st.sampled_from([_ABSENT, _ABSENT, [7], []]),
        "note": st.sampled_from([_ABSENT, _ABSENT, "x"]),
    }
).map(lambda item: {name: value for name, value in item.items() if value is not _ABSENT})


@given(st.lists(items, max_size=8))
def test_list_is_read_as_its_items_are(given_items: list[dict[str, object]]):
    """Whatever was read before, an item gives the same consent or the same errors."""
    reader = ConsentListReader(CONTEXT)
    assert [reader.read(item) for item in given_items] == [
        read_consent(item, CONTEXT) for item in given_items
    ]
