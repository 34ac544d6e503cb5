"""Admission over all inputs: a RET is never refused, an invalid ONAY never admitted."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from izin.consent import (
    FIRST_DATE,
    SKEW,
    AdmittedEvent,
    Channel,
    ConsentEvent,
    DateBasis,
    NaiveInstantError,
    RecipientType,
    RefusedEvent,
    Status,
    Violation,
    admit,
    read_email,
    read_key,
    read_phone,
    read_recipient,
    violation,
)
from izin.consent.fields import read_status
from izin.consent.violations import REASONS
from tests.support.builders import EMAIL, NOON, PHONE, a_key, an_event, an_iys_event, an_iys_origin
from tests.unit.consent.strategies import FAULTS, faulty_events

APPENDED = NOON + timedelta(seconds=3)
RECEIVED = NOON + timedelta(seconds=2)


def admitted(event: ConsentEvent) -> AdmittedEvent:
    """Return the admitted event; it must be admitted."""
    result = admit(event, appended_at=APPENDED)
    assert isinstance(result, AdmittedEvent), [one.code for one in result.violations]
    return result


def refused(event: ConsentEvent) -> RefusedEvent:
    """Return the refusal; the event must be refused."""
    refusal = admit(event, appended_at=APPENDED)
    assert isinstance(refusal, RefusedEvent)
    assert refusal.violations
    assert refusal.event is event
    return refusal


def codes(admitted: AdmittedEvent | RefusedEvent) -> list[tuple[str, str]]:
    """Return field and code of each violation."""
    return [(one.field, one.code) for one in admitted.violations]


def test_valid_event_is_admitted_unchanged():
    """Nothing differs: the event is not even copied."""
    event = an_event()
    result = admitted(event)
    assert result.event is event
    assert result.key == a_key()
    assert result.status is Status.ONAY
    assert result.effective_at == NOON
    assert result.registrable


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"status": ""}, [("status", "H110")]),
        ({"status": "EVET"}, [("status", "H115")]),
        ({"type": " "}, [("type", "H111")]),
        ({"type": "SMS"}, [("type", "H117")]),
        ({"recipient_type": "KURUMSAL"}, [("recipient_type", "H116")]),
        ({"recipient": ""}, [("recipient", "H114")]),
        ({"recipient": "12"}, [("recipient", "H121")]),
        ({"recipient": EMAIL}, [("recipient", "H464")]),
        ({"type": "EPOSTA", "recipient": "ada"}, [("recipient", "H120")]),
        ({"type": "EPOSTA"}, [("recipient", "H464")]),
        ({"type": "", "recipient": "?"}, [("type", "H111"), ("recipient", "H122")]),
        ({"type": "", "recipient": ""}, [("type", "H111"), ("recipient", "H114")]),
        ({"brand_code": 0}, [("brand_code", "IZIN-BRAND-MISSING")]),
        ({"consent_date": None}, [("consent_date", "H112")]),
        ({"source": "HS_KARAR"}, [("status", "H408")]),
        ({"source": ""}, [("source", "H113")]),
        (
            {"source": "HS_2015", "consent_date": FIRST_DATE - timedelta(seconds=1)},
            [("consent_date", "H155"), ("consent_date", "H156")],
        ),
    ],
)
def test_each_violation_of_an_onay_is_reported(
    fields: dict[str, Any], found: list[tuple[str, str]]
):
    """A refused ONAY names each field and the violated rule."""
    assert codes(refused(an_event(**fields))) == found


def test_all_violations_are_reported_at_once():
    """The source sees everything that is wrong with a record."""
    event = an_event(
        brand_code=0,
        type="SMS",
        recipient_type="X",
        status="X",
        recipient="",
        source=None,
        consent_date=None,
        customer_id="",
        event_id="",
        retailer_code=1,
        retailer_access=(),
    )
    refusal = refused(event)
    assert refusal.key is None
    assert {one.field for one in refusal.violations} == {
        "brand_code",
        "type",
        "recipient_type",
        "status",
        "recipient",
        "source",
        "consent_date",
        "customer_id",
        "event_id",
        "retailer_code",
        "retailer_access",
    }


@given(faulty_events(status="RET"))
def test_ret_with_any_violation_is_admitted(event: ConsentEvent):
    """Whatever else is wrong with a RET, it takes local effect; only İYS would not accept it."""
    result = admitted(event)
    assert result.status is Status.RET
    assert result.key == a_key()
    assert not result.registrable
    assert result.effective_at <= RECEIVED


@given(faulty_events(status="ONAY"))
def test_onay_with_any_violation_is_refused(event: ConsentEvent):
    """Every refusal lists a violation, and no ONAY is admitted with one."""
    assert refused(event).violations


@pytest.mark.parametrize(
    ("fields", "effective_at", "basis"),
    [
        ({"consent_date": NOON + timedelta(days=1)}, RECEIVED, DateBasis.RECEIVED),
        ({"consent_date": datetime(1970, 1, 1, tzinfo=UTC)}, RECEIVED, DateBasis.RECEIVED),
        ({"consent_date": None}, RECEIVED, DateBasis.RECEIVED),
        ({"consent_date": NOON - timedelta(days=400)}, NOON - timedelta(days=400), "stated"),
        ({"consent_date": RECEIVED + SKEW}, RECEIVED, DateBasis.RECEIVED),
    ],
)
def test_ret_with_impossible_date_counts_from_its_receipt(
    fields: dict[str, Any], effective_at: datetime, basis: str
):
    """An impossible date must not make a RET older than it is."""
    result = admitted(an_event(status="RET", **fields))
    assert result.effective_at == effective_at
    assert result.event.date_basis == basis


DAY = datetime(2026, 3, 1, 21, tzinfo=UTC)
"""2 March 2026, as it begins in Turkey."""
DAY_ENDS = datetime(2026, 3, 2, 20, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("basis", "date", "received", "counts_from"),
    [
        ("day", DAY, DAY + timedelta(days=21), DAY_ENDS),
        ("day", NOON + timedelta(milliseconds=5), DAY + timedelta(days=1), DAY_ENDS),
        ("day", DAY_ENDS, DAY + timedelta(days=1), DAY_ENDS),
        ("day", DAY - timedelta(seconds=1), DAY + timedelta(days=1), DAY - timedelta(seconds=1)),
        ("day", DAY, DAY_ENDS + timedelta(seconds=1), DAY_ENDS),
        ("day", DAY, DAY_ENDS, DAY_ENDS),
        ("day", DAY, NOON, NOON),
        ("day", FIRST_DATE, NOON, FIRST_DATE + timedelta(days=1, seconds=-1)),
        ("minute", NOON, NOON + timedelta(hours=1), NOON + timedelta(seconds=59)),
        ("minute", NOON, NOON + timedelta(seconds=58), NOON + timedelta(seconds=58)),
        ("minute", NOON + timedelta(seconds=30), DAY_ENDS, NOON + timedelta(seconds=59)),
        (
            "minute",
            NOON + timedelta(seconds=60, milliseconds=7),
            DAY_ENDS,
            NOON + timedelta(seconds=119),
        ),
        ("second", NOON, DAY_ENDS, NOON),
        ("stated", NOON, DAY_ENDS, NOON),
    ],
)
def test_ret_counts_from_the_end_of_its_day_or_minute(
    basis: str, date: datetime, received: datetime, counts_from: datetime
):
    """Or from its receipt, if that is earlier: an opt-in of the same day, or minute, loses to it,
    and one that was given later stands. What the source stated stays.
    """
    event = an_event(status="RET", consent_date=date, received_at=received, date_basis=basis)
    result = admit(event, appended_at=received + timedelta(hours=1))
    assert result.effective_at == counts_from
    assert result.effective_at.tzinfo is UTC
    assert result.registrable
    assert (result.event.consent_date, result.event.received_at) == (date, received)
    assert result.event.date_basis == (basis if basis in {"day", "minute"} else "stated")
    assert admit(result.event, appended_at=received + timedelta(days=9)) == result


@pytest.mark.parametrize("basis", ["day", "minute"])
def test_onay_counts_from_the_beginning_of_its_day_or_minute(basis: str):
    """Its date as it was stated: it undoes no opt-out that may be later."""
    event = an_event(consent_date=NOON, received_at=RECEIVED, date_basis=basis)
    assert admitted(event).effective_at == NOON
    assert admitted(event).event is event


@pytest.mark.parametrize("basis", ["day", "minute"])
def test_impossible_date_of_a_day_counts_from_its_receipt(basis: str):
    """As any other: a day that lies ahead, or before the law, says nothing."""
    for date in (RECEIVED + timedelta(days=1), RECEIVED + SKEW, FIRST_DATE - timedelta(seconds=1)):
        result = admitted(an_event(status="RET", consent_date=date, date_basis=basis))
        assert (result.effective_at, result.event.date_basis) == (RECEIVED, "received")


def test_onay_within_the_skew_counts_from_its_receipt():
    """Clocks differ a little; the order of events must not depend on that."""
    result = admitted(an_event(consent_date=RECEIVED + SKEW))
    assert result.effective_at == RECEIVED
    assert result.event.date_basis == DateBasis.RECEIVED
    assert result.event.consent_date == RECEIVED + SKEW
    beyond = an_event(consent_date=RECEIVED + SKEW + timedelta(microseconds=1))
    assert codes(refused(beyond)) == [("consent_date", "H162")]


@pytest.mark.parametrize("ahead", [timedelta(seconds=1), SKEW])
def test_onay_never_counts_from_later_than_its_append(ahead: timedelta):
    """An endpoint whose clock is ahead does not put it behind an opt-out that came later."""
    late = APPENDED + ahead
    result = admitted(an_event(consent_date=late, received_at=late))
    assert result.effective_at == APPENDED
    assert (result.event.received_at, result.event.date_basis) == (APPENDED, DateBasis.RECEIVED)
    assert admit(result.event, appended_at=APPENDED + timedelta(days=1)) == result
    merchants = admitted(
        an_event(recipient_type="TACIR", consent_date=None, source=None, received_at=late)
    )
    assert (merchants.effective_at, merchants.event.received_at) == (APPENDED, APPENDED)
    ret = admitted(an_event(status="RET", consent_date=late, received_at=late))
    assert (ret.effective_at, ret.event.received_at) == (late.replace(microsecond=0), late)


def test_onay_dated_before_its_append_keeps_its_receipt():
    """Only what decides is bounded: a clock that is a little ahead changes no event."""
    event = an_event(received_at=APPENDED + SKEW)
    assert admitted(event).event is event


def test_onay_ahead_of_its_append_beyond_the_skew_is_refused():
    """The endpoint's clock and the stated date may not add up to more than clocks may differ."""
    late = APPENDED + SKEW
    event = an_event(consent_date=late + timedelta(seconds=1), received_at=late)
    assert codes(refused(event)) == [("consent_date", "H162")]


@pytest.mark.parametrize(("character", "code"), [("\0", "IZIN-NUL"), ("\udc80", "IZIN-CHARACTER")])
def test_bad_character_in_a_recipient_refuses_an_onay_only(character: str, code: str):
    """The opt-out takes effect for the recipient that is left; a source must repair an opt-in."""
    spoilt = {
        "recipient": f"{character}{PHONE[:5]}{character}{PHONE[5:]}",
        "type": f"MES{character}AJ",
        "status": f"R{character}ET",
    }
    result = admitted(an_event(**spoilt))
    assert (result.key.recipient, result.status) == (PHONE, Status.RET)
    assert codes(result) == [("recipient", code)]
    assert not result.registrable
    assert codes(refused(an_event(**spoilt | {"status": "ONAY"}))) == [("recipient", code)]
    nothing = refused(an_event(status="RET", recipient=character))
    assert ("recipient", "H114") in codes(nothing) or ("recipient", "H121") in codes(nothing)


def test_effective_instants_are_whole_seconds_in_utc():
    """İYS's clock has whole seconds, and states are in UTC."""
    turkish = timezone(timedelta(hours=3))
    result = admitted(an_event(consent_date=NOON.astimezone(turkish).replace(microsecond=999_999)))
    assert result.effective_at == NOON
    assert result.effective_at.tzinfo is UTC


def test_append_time_replaces_a_missing_receipt():
    """Without a receipt, the append time counts."""
    result = admitted(an_event(received_at=None))
    assert result.event.received_at == APPENDED
    assert result.effective_at == NOON


def test_receipt_after_the_append_time_is_replaced():
    """Otherwise such an event could override every later RET."""
    future = NOON + timedelta(days=365)
    assert codes(refused(an_event(received_at=future, consent_date=future))) == [
        ("consent_date", "H162")
    ]
    assert admitted(an_event(received_at=APPENDED + SKEW)).event.received_at == APPENDED + SKEW


@pytest.mark.parametrize("status", ["ONAY", "RET"])
@pytest.mark.parametrize(
    ("receipt", "counts_from"),
    [
        (datetime(1, 1, 1, tzinfo=UTC), APPENDED),
        (datetime(1970, 1, 1, tzinfo=UTC), APPENDED),
        (FIRST_DATE - timedelta(microseconds=1), APPENDED),
        (FIRST_DATE, FIRST_DATE),
    ],
)
def test_receipt_before_the_law_is_missing(status: str, receipt: datetime, counts_from: datetime):
    """Go's zero time, or 1970: a RET that counted from it would be older than any opt-in."""
    event = an_event(status=status, consent_date=None, received_at=receipt, recipient_type="TACIR")
    result = admitted(event)
    assert (result.effective_at, result.event.received_at) == (counts_from, counts_from)


@pytest.mark.parametrize("stream", ["IYS", "HS"])
def test_iys_event_from_before_the_law_has_no_instant(stream: str):
    """A RET counts from its receipt, and says so from then on; an opt-in is refused."""
    early, at = FIRST_DATE - timedelta(seconds=1), NOON - timedelta(days=2)
    iys = an_iys_origin(stream=stream, creation_date=early)
    ret = admitted(an_iys_event(status="RET", consent_date=at, iys=iys))
    assert ret.effective_at == RECEIVED
    assert ret.event.iys == replace(iys, creation_date=RECEIVED)
    assert (ret.violations, ret.event.source) == ((), "IYS_WEB")
    assert admit(ret.event, appended_at=APPENDED) == ret
    onay = an_iys_event(status="ONAY", consent_date=at, iys=iys)
    assert codes(refused(onay)) == [("creation_date", "H112")]
    first = an_iys_origin(stream=stream, creation_date=FIRST_DATE)
    for status in ("ONAY", "RET"):
        dated = an_iys_event(status=status, consent_date=FIRST_DATE, iys=first)
        assert admitted(dated).event is dated
        assert admitted(dated).effective_at == FIRST_DATE


def test_naive_append_time_is_our_error():
    """Every instant has a zone."""
    with pytest.raises(NaiveInstantError, match="appended_at"):
        admit(an_event(received_at=None), appended_at=NOON.replace(tzinfo=None))


def test_recipient_is_normalised_and_the_original_retained():
    """The key is canonical; what the source wrote remains as evidence."""
    result = admitted(an_event(recipient="0555 000 00 01"))
    assert result.key.recipient == result.event.recipient == PHONE
    assert result.event.recipient_raw == "0555 000 00 01"
    kept = admitted(an_event(recipient="5550000001", recipient_raw="(555) 000 00 01"))
    assert kept.event.recipient_raw == "(555) 000 00 01"


def test_values_are_read_without_case():
    """The dotted capital I and lower case are accepted; nothing else is."""
    result = admitted(
        an_event(type="mesaj", recipient_type="Bİreysel", status="onay ", source="hs_web")
    )
    assert result.key == a_key()
    assert (result.event.type, result.event.source) == ("MESAJ", "HS_WEB")
    assert (result.event.recipient_type, result.event.status) == ("BIREYSEL", "ONAY")


def test_empty_recipient_type_is_bireysel():
    """As at İYS."""
    assert admitted(an_event(recipient_type="")).key.recipient_type is RecipientType.BIREYSEL


def test_first_onay_of_a_merchant_needs_no_date_or_source():
    """6563 m.6/2: a TACIR needs no prior consent."""
    result = admitted(an_event(recipient_type="TACIR", consent_date=None, source=None))
    assert result.effective_at == RECEIVED
    assert result.event.date_basis == DateBasis.RECEIVED
    ret = admitted(an_event(recipient_type="TACIR", status="RET", source=None))
    assert codes(ret) == [("source", "H113")]


def test_hs_2015_has_exactly_one_date():
    """A consent from before the law has the date on which the law began."""
    assert admitted(an_event(source="HS_2015", consent_date=FIRST_DATE)).effective_at == FIRST_DATE
    later = an_event(source="HS_2015", consent_date=FIRST_DATE + timedelta(seconds=1))
    assert codes(refused(later)) == [("consent_date", "H155")]


def test_iys_event_is_not_validated_like_ours():
    """Its sources are open and its dates arbitrary: its creation date counts."""
    created = NOON - timedelta(days=3)
    for status in ("ONAY", "RET"):
        event = an_iys_event(
            status=status,
            source="IYS_SOMETHING_NEW",
            consent_date=datetime(2001, 1, 1, tzinfo=UTC),
            retailer_access=(),
            iys=an_iys_origin(creation_date=created),
        )
        result = admitted(event)
        assert result.effective_at == created
        assert result.registrable
        assert result.event is event


def test_late_provider_upload_counts_from_its_consent_date():
    """Only an ONAY: it overrides no RET given in between. A RET counts from İYS's clock."""
    said = NOON - timedelta(hours=2)
    iys = an_iys_origin(stream="HS", creation_date=NOON)
    assert admitted(an_iys_event(status="ONAY", consent_date=said, iys=iys)).effective_at == said
    assert admitted(an_iys_event(consent_date=said, iys=iys)).effective_at == NOON
    assert admitted(an_iys_event(status="ONAY", consent_date=None, iys=iys)).effective_at == NOON
    ahead = an_iys_event(status="ONAY", consent_date=NOON + timedelta(hours=1), iys=iys)
    assert admitted(ahead).effective_at == NOON
    citizens = an_iys_event(status="ONAY", consent_date=said, iys=an_iys_origin(creation_date=NOON))
    assert admitted(citizens).effective_at == NOON


@pytest.mark.parametrize("path", ["push", "pull"])
def test_onay_that_iys_dates_in_the_future_counts_from_its_receipt(path: str):
    """It would outrank every later opt-out; a RET takes effect at once, whatever its date."""
    future = NOON + timedelta(days=30)
    origin = an_iys_origin(path=path, creation_date=future)
    result = admitted(an_iys_event(status="ONAY", received_at=NOON, iys=origin))
    assert (result.effective_at, result.event.received_at) == (NOON, NOON)
    assert result.event.iys == origin
    assert admit(result.event, appended_at=future) == result
    unreceived = admitted(an_iys_event(status="ONAY", received_at=None, iys=origin))
    assert unreceived.effective_at == APPENDED.replace(microsecond=0)
    assert admitted(an_iys_event(received_at=NOON, iys=origin)).effective_at == future


def test_onay_that_iys_dates_within_the_skew_keeps_its_order():
    """İYS's own RET and ONAY of one minute must not change places where clocks differ."""
    created = NOON + SKEW
    result = admitted(
        an_iys_event(status="ONAY", received_at=NOON, iys=an_iys_origin(creation_date=created))
    )
    assert result.effective_at == created


def test_iys_event_needs_no_consent_date():
    """A line closing carries an old date or none."""
    result = admitted(an_iys_event(consent_date=None, source="IYS_AHS_HAT_KAPATMA"))
    assert result.effective_at == NOON


def test_misspelt_iys_recipient_opts_out_but_not_in():
    """``+9005…`` is a record that no citizen sees; its RET counts, its ONAY does not."""
    misspelt = "+9005550000001"
    result = admitted(an_iys_event(recipient=misspelt))
    assert result.key == a_key()
    assert result.event.recipient_raw == misspelt
    refusal = refused(an_iys_event(status="ONAY", recipient=misspelt))
    assert codes(refusal) == [("recipient", "IZIN-IYS-RECIPIENT")]
    assert refusal.key == a_key()


@pytest.mark.parametrize(
    ("channel", "recipient", "key"),
    [
        ("MESAJ", "+90123", "+90123"),
        ("EPOSTA", "Ada!x@Example.com", "ada!x@example.com"),
    ],
)
def test_lenient_iys_recipient_is_a_key_as_it_stands(channel: str, recipient: str, key: str):
    """A RET at İYS is not lost because of an unusual address."""
    result = admitted(an_iys_event(type=channel, recipient=recipient))
    assert (result.key.channel, result.key.recipient) == (Channel(channel), key)
    refused(an_iys_event(type=channel, recipient=recipient, status="ONAY"))


def test_iys_recipient_that_is_no_address_is_refused():
    """Not even an event of İYS is admitted without an address."""
    assert codes(refused(an_iys_event(recipient="?"))) == [("recipient", "H121")]


def test_iys_email_in_capitals_opts_in():
    """İYS lower-cases addresses itself: capitals are no misspelling."""
    event = an_iys_event(type="EPOSTA", status="ONAY", recipient="Ada@Example.com")
    assert admitted(event).key.recipient == EMAIL


def test_every_code_has_both_languages():
    """Operators read English, the people who correct the record Turkish."""
    for code, (english, turkish) in REASONS.items():
        found = violation("field", code)
        assert (found.reason, found.reason_tr) == (english, turkish)
    assert violation("field", "H110") is violation("field", "H110")


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
    "IZIN-PURPOSE": {"evidence": {"purpose": "marketing membership"}},
    "H112": {"consent_date": None},
    "H408": {"source": "HS_KARAR"},
    "IZIN-IYS-RECIPIENT": {
        "type": "MESAJ",
        "recipient": "+9005550000001",
        "iys": an_iys_origin(),
    },
}
"""What is wrong with an ONAY alone."""

OF_THE_STATUS = {"H110", "H115"}
"""Nothing is guessed of a status: `test_each_violation_of_an_onay_is_reported`."""

IN_THE_RECIPIENT = {"IZIN-NUL", "IZIN-CHARACTER"}
"""Found in the text of any address: `test_bad_character_in_a_recipient_refuses_an_onay_only`."""

OF_SIZE = {"IZIN-TEXT-SIZE"}
"""Found where texts are read, and of an opt-out that is too large: `test_addresses`."""

AT_THE_DOORS = {"H157", "H158"}
"""The contract has instants: an impossible date is found where texts are read."""


def codes_alone(result: AdmittedEvent | RefusedEvent) -> set[str]:
    """Return the codes of all violations."""
    return {one.code for one in result.violations}


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
    no = admitted(replace(event, status="RET"))
    assert no.status is Status.RET
    assert not no.registrable
    assert code in codes_alone(no)
    if code == "H113" and recipient_type is RecipientType.TACIR:
        admitted(event)  # a merchant's first record needs no source
        return
    yes = refused(event)
    assert code in codes_alone(yes)
    assert yes.key == no.key


@pytest.mark.parametrize("code", UNREADABLE)
@pytest.mark.parametrize("status", ["ONAY", "RET"])
def test_only_an_unreadable_key_refuses_a_ret(code: str, status: str):
    """Its recipient is unknown: refused with the reason, for an alert and a person."""
    refusal = refused(an_event(**UNREADABLE[code], status=status))
    assert refusal.key is None
    assert code in codes_alone(refusal)


@pytest.mark.parametrize("code", OF_A_YES)
def test_violation_of_an_onay_alone_is_none_of_a_ret(code: str):
    """No date, HS_KARAR and a misspelt address at İYS are no violations of a RET."""
    assert codes_alone(refused(an_event(**OF_A_YES[code]))) == {code}
    assert admitted(an_event(**OF_A_YES[code] | {"status": "RET"})).registrable


@pytest.mark.parametrize(
    ("purpose", "capture", "is_refused"),
    [
        ("marketing, payment", "", True),
        ("ÜYELİK ve pazarlama", "sms-code", True),
        ("marketing membership", "form", False),
        ("marketing", "sms-code", False),
        ("", "sms-code", False),
        ("memberships", "", False),
    ],
)
def test_onay_whose_code_served_more_is_refused(purpose: str, capture: str, *, is_refused: bool):
    """One code must not serve a membership or a payment and a consent at once; a form that has a
    box of its own for the consent may.
    """
    evidence = {"purpose": purpose, "capture": capture}
    event = an_event(evidence={name: text for name, text in evidence.items() if text})
    if is_refused:
        assert codes_alone(refused(event)) == {"IZIN-PURPOSE"}
    else:
        assert admitted(event).registrable
    assert admitted(replace(event, status="RET")).registrable


@pytest.mark.parametrize("written", ["hs_2015", " HS_2015 "])
def test_source_is_validated_as_it_was_read(written: str):
    """In any spelling HS_2015 requires its date (H155)."""
    assert codes_alone(refused(an_event(source=written))) == {"H155"}
    assert admitted(an_event(source=written, consent_date=FIRST_DATE)).event.source == "HS_2015"


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
    """A RET with a key is result; a refusal has a reason; an result ONAY has no violation."""
    result = admit(event, appended_at=APPENDED)
    if isinstance(result, RefusedEvent):
        assert result.violations
        assert read_status(event, []) is not Status.RET or read_key(event, []) is None
        return
    assert result.status is Status.RET or result.registrable
    assert result.key == read_key(event, [])
    latest = result.event.iys.creation_date if result.event.iys else result.event.received_at
    assert result.effective_at <= latest


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
        assert codes_alone(no) - merchants <= codes_alone(yes)


PHONES = st.one_of(
    st.from_regex(r"\A(\+|00)?(90)?0?[2-58][0-9]{8,10}\Z"),
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
    assert number.startswith("+")
    assert len(number) <= 15
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
        assert address.isascii()
        assert 6 <= len(address) <= 265
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
            assert found == key.recipient
