"""Admission over all inputs: a RET is never refused, an invalid ONAY never admitted."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from izin.consent import (
    FIRST_DATE,
    AdmittedEvent,
    Channel,
    ConsentEvent,
    RecipientType,
    RefusedEvent,
    Status,
    Violation,
    admit,
    read_email,
    read_key,
    read_phone,
    read_recipient,
)
from izin.consent.fields import read_status
from izin.consent.violations import REASONS
from tests.support.builders import EMAIL, NOON, PHONE, an_event, an_iys_origin
from tests.unit.consent.strategies import FAULTS

APPENDED = NOON + timedelta(seconds=3)

ADDRESSES: Mapping[str, str] = {"ARAMA": PHONE, "MESAJ": PHONE, "EPOSTA": EMAIL}

UNREADABLE: Mapping[str, dict[str, Any]] = {
    "H111": {"type": ""},
    "H114": {"recipient": " "},
    "H116": {"recipient_type": "KURUMSAL"},
    "H117": {"type": "SMS"},
    "H120": {"type": "EPOSTA", "recipient": "ada"},
    "H121": {"type": "ARAMA", "recipient": "12"},
    "H122": {"type": "", "recipient": "?"},
    "H160": {"type": "MESAJ", "recipient": "+123456789012345"},
    "H464": {"type": "EPOSTA", "recipient": PHONE},
    "IZIN-BRAND-MISSING": {"brand_code": 0},
    "IZIN-PHONE-AS-DECIMAL": {"type": "MESAJ", "recipient": "9,05E+11"},
}
"""What hides the key, by the code that names it."""

OF_A_YES: Mapping[str, dict[str, Any]] = {
    "H112": {"consent_date": None},
    "H408": {"source": "HS_KARAR"},
    "IZIN-IYS-RECIPIENT": {
        "type": "MESAJ",
        "recipient": "+9005550000001",
        "iys": an_iys_origin(),
    },
}
"""What is wrong with an ONAY alone."""

OF_THE_STATUS: Mapping[str, str] = {"H110": "", "H115": "EVET"}

IN_THE_RECIPIENT = {"IZIN-NUL", "IZIN-CHARACTER"}
"""Found in the text of any address: `test_bad_character_in_a_recipient_refuses_an_onay_only`."""

OF_SIZE = {"IZIN-TEXT-SIZE"}
"""Found where texts are read, and of an opt-out that is too large: `test_fields`."""

AT_THE_DOORS = {"H157", "H158"}
"""The contract has instants: an impossible date is found where texts are read."""


def codes(admitted: AdmittedEvent | RefusedEvent) -> set[str]:
    """Return the codes of all violations."""
    return {one.code for one in admitted.violations}


@pytest.mark.parametrize("channel", ADDRESSES)
@pytest.mark.parametrize("recipient_type", RecipientType)
@pytest.mark.parametrize("name", FAULTS)
def test_ret_with_any_violation_stands_and_its_onay_is_refused(
    name: str, recipient_type: RecipientType, channel: str
):
    """Every violation beside the key × RET: admitted, not registrable, with that reason; the same
    statement as ONAY is refused and names it.
    """
    code = name.split(maxsplit=1)[0]
    event = an_event(
        **{"type": channel, "recipient": ADDRESSES[channel], "recipient_type": str(recipient_type)}
        | FAULTS[name]
    )
    no = admit(replace(event, status="RET"), appended_at=APPENDED)
    assert isinstance(no, AdmittedEvent)
    assert no.status is Status.RET
    assert not no.registrable
    assert code in codes(no)
    yes = admit(event, appended_at=APPENDED)
    if code == "H113" and recipient_type is RecipientType.TACIR:
        assert isinstance(yes, AdmittedEvent), "a merchant's first record needs no source"
        return
    assert isinstance(yes, RefusedEvent)
    assert code in codes(yes)
    assert yes.key == no.key


@pytest.mark.parametrize("code", UNREADABLE)
@pytest.mark.parametrize("status", ["ONAY", "RET"])
def test_only_an_unreadable_key_refuses_a_ret(code: str, status: str):
    """Its recipient is unknown: refused with the reason, for an alert and a person."""
    refusal = admit(an_event(**UNREADABLE[code], status=status), appended_at=APPENDED)
    assert isinstance(refusal, RefusedEvent)
    assert refusal.key is None
    assert code in codes(refusal)


@pytest.mark.parametrize("code", OF_A_YES)
def test_violation_of_an_onay_alone_is_none_of_a_ret(code: str):
    """No date, HS_KARAR and a misspelt address at İYS are no violations of a RET."""
    refusal = admit(an_event(**OF_A_YES[code]), appended_at=APPENDED)
    assert isinstance(refusal, RefusedEvent)
    assert codes(refusal) == {code}
    no = admit(an_event(**OF_A_YES[code] | {"status": "RET"}), appended_at=APPENDED)
    assert isinstance(no, AdmittedEvent)
    assert no.registrable


@pytest.mark.parametrize("code", OF_THE_STATUS)
def test_event_with_an_unknown_status_is_refused(code: str):
    """Nothing is guessed of a status."""
    refusal = admit(an_event(status=OF_THE_STATUS[code]), appended_at=APPENDED)
    assert isinstance(refusal, RefusedEvent)
    assert codes(refusal) == {code}


@pytest.mark.parametrize("written", ["hs_2015", " HS_2015 "])
def test_source_is_validated_as_it_was_read(written: str):
    """In any spelling HS_2015 requires its date (H155)."""
    refusal = admit(an_event(source=written), appended_at=APPENDED)
    assert codes(refusal) == {"H155"}
    result = admit(an_event(source=written, consent_date=FIRST_DATE), appended_at=APPENDED)
    assert isinstance(result, AdmittedEvent)
    assert result.event.source == "HS_2015"


def test_every_code_is_provoked():
    """Every code can occur."""
    beside_the_key = {name.split(maxsplit=1)[0] for name in FAULTS}
    provoked = {*beside_the_key, *UNREADABLE, *OF_A_YES, *OF_THE_STATUS, *AT_THE_DOORS}
    provoked |= IN_THE_RECIPIENT | OF_SIZE
    assert provoked == set(REASONS)


TEXTS: Mapping[str, st.SearchStrategy[Any]] = {
    "brand_code": st.sampled_from([0, 100001]),
    "type": st.sampled_from(["", "mesaj", "ARAMA", "EPOSTA ", "SMS"]),
    "recipient_type": st.sampled_from(["", "tacir", "BİREYSEL", "KURUMSAL"]),
    "recipient": st.sampled_from(
        ["", "0555 000 00 01", "+9005550000001", "Ada@Example.com", "+90123", "?"]
    ),
    "status": st.sampled_from(["", "onay", "RET", " ret ", "EVET"]),
    "source": st.sampled_from([None, "", "hs_web", "HS_KARAR", "hs_2015", "HS_2015", "IYS_WEB"]),
    "consent_date": st.sampled_from(
        [
            None,
            NOON,
            FIRST_DATE,
            FIRST_DATE - timedelta(seconds=1),
            NOON + timedelta(minutes=4),
            NOON + timedelta(days=1),
        ]
    ),
    "received_at": st.sampled_from([None, NOON, NOON + timedelta(days=9)]),
    "retailer_code": st.sampled_from([None, 7, 10_000_000]),
    "retailer_access": st.sampled_from([None, (), (10_000_000, 7)]),
    "customer_id": st.sampled_from(["acme", ""]),
    "iys": st.sampled_from([None, None, an_iys_origin(), an_iys_origin(stream="HS")]),
}
ANYTHING = st.builds(an_event, **TEXTS)


@given(ANYTHING)
def test_every_admission_keeps_the_invariants(event: ConsentEvent):
    """A RET with a key is admitted; a refusal has a reason; an admitted ONAY has no violation."""
    admitted = admit(event, appended_at=APPENDED)
    if isinstance(admitted, RefusedEvent):
        assert admitted.violations
        assert read_status(event, []) is not Status.RET or read_key(event, []) is None
        return
    assert admitted.status is Status.RET or admitted.registrable
    assert admitted.key == read_key(event, [])
    latest = admitted.event.iys.creation_date if admitted.event.iys else admitted.event.received_at
    assert latest is not None
    assert admitted.effective_at <= latest


@given(ANYTHING)
def test_admitted_event_is_admitted_again_unchanged(event: ConsentEvent):
    """A replay, however late, decides as the first run did."""
    result = admit(event, appended_at=APPENDED)
    if isinstance(result, AdmittedEvent):
        assert admit(result.event, appended_at=APPENDED + timedelta(days=900)) == result


@example(an_event(recipient_type="TACIR", source="HS_2015", consent_date=None))
@example(an_event(source="HS_2015", consent_date=None))
@given(ANYTHING)
def test_violation_of_a_ret_is_one_of_its_onay(event: ConsentEvent):
    """The same rules apply to both, except for the first record of a merchant."""
    no = admit(replace(event, status="RET"), appended_at=APPENDED)
    yes = admit(replace(event, status="ONAY"), appended_at=APPENDED)
    if isinstance(no, AdmittedEvent):
        is_merchants = no.key.recipient_type is RecipientType.TACIR
        merchants = {"H113"} if is_merchants else set()
        if is_merchants and event.consent_date is None:
            merchants.add(
                "H155"
            )  # a first record may lack its date, a RET is submitted with its receipt's
        assert codes(no) - merchants <= codes(yes)


PHONES = st.one_of(
    st.from_regex(r"\A(\+|00)?(90)?0?[2-58][0-9]{9}\Z"),
    st.from_regex(r"\A(\+|00)(1|7|33|39|44|49|52|54|55|380|994)0?[0-9]{6,11}\Z"),
    st.from_regex(r"\A\+[1-9][0-9]{5,14}\Z"),
    st.text(alphabet="+0123456789 ()-.eE,", max_size=20),
)


@given(PHONES)
def test_number_keeps_its_digits(text: str):
    """Only prefixes and zeros before the number go or come; no digit of it is another."""
    number = read_phone(text)
    if not isinstance(number, str):
        return
    assert read_phone(number) == number
    given = re.sub(r"\D", "", text)
    kept = number.removeprefix("+")
    if kept.startswith("90"):
        assert given.endswith(kept[2:])
        assert given.removesuffix(kept[2:]) in {"", "0", "90", "900", "0090", "00900"}
        return
    given = given.removeprefix("00") if not text.strip().startswith("+") else given
    assert given == kept or any(
        given == kept[:place] + "0" + kept[place:] for place in range(1, 4)
    ), (given, kept)


@given(st.one_of(st.emails(), st.text(alphabet="aZ09.@-_+ İı", max_size=40)))
def test_address_changes_only_in_case(text: str):
    """Nothing but case and surrounding space differs."""
    address = read_email(text)
    if isinstance(address, str):
        assert address == text.strip().lower()
        assert read_email(address) == address


@given(st.text() | st.sampled_from([PHONE, EMAIL, "0555 000 00 01", "\ud800", "a\0b"]))
def test_recipient_is_read_as_that_of_an_event(text: str):
    """The same address, or the same first violation; what hides something is always one."""
    for channel in Channel:
        faults: list[Violation] = []
        key = read_key(an_event(type=channel, recipient=text), faults)
        found = read_recipient(text, channel)
        if faults:
            assert found == faults[0]
        else:
            assert key is not None
            assert found == key.recipient
