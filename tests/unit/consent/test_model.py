from datetime import datetime

import pytest

import izin.consent
from izin.consent import (
    ConsentKey,
    NaiveInstantError,
    OriginRank,
    Status,
    UnreadableKeyError,
    decide,
)
from tests.support.builders import (
    NOON,
    a_key,
    a_ret,
    an_admitted_event,
    an_event,
    an_iys_event,
    an_iys_origin,
)

NAIVE = datetime(2026, 3, 2, 9, 0)  # noqa: DTZ001 - a naive instant is what is tested


def test_key_and_its_text_are_equivalent():
    """A key can be written to Kafka and read back."""
    key = a_key()
    assert str(key) == "100001/MESAJ/BIREYSEL/+905550000001"
    assert ConsentKey.parse(key.encode().decode()) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "100001",
        "x/MESAJ/BIREYSEL/+905550000001",
        "100001/SMS/BIREYSEL/+905550000001",
        "100001/MESAJ/KURUMSAL/+905550000001",
        "0100001/MESAJ/BIREYSEL/+905550000001",
        "100001/MESAJ/BIREYSEL/",
    ],
)
def test_other_text_is_not_a_key(text: str):
    """A non-canonical text is refused, without the recipient in the message."""
    with pytest.raises(UnreadableKeyError) as caught:
        ConsentKey.parse(text)
    assert "+90555" not in str(caught.value)


@pytest.mark.parametrize("field", ["consent_date", "received_at"])
def test_naive_instants_are_refused(field: str):
    """An instant without a zone is a legal bug."""
    with pytest.raises(NaiveInstantError, match=field):
        an_event(**{field: NAIVE})


def test_naive_instant_of_iys_is_refused():
    """İYS's creation date decides the order, so it needs a zone."""
    with pytest.raises(NaiveInstantError, match="creation_date"):
        an_iys_origin(creation_date=NAIVE)


def test_origin_rank_is_by_writer():
    """Citizens at İYS outrank providers' writings, and these outrank our own systems."""
    assert an_event().origin_rank is OriginRank.OURS
    assert an_iys_event(iys=an_iys_origin(stream="HS")).origin_rank is OriginRank.IYS_HS
    assert an_iys_event().origin_rank is OriginRank.IYS


def test_previous_status_is_the_opposite_if_ever_known():
    """It is the status that was overridden, if there was one."""
    first = decide(None, an_admitted_event()).consent
    assert first.previous_status is None
    second = decide(first, a_ret(event_id="event-2")).consent
    assert second.previous_status is Status.ONAY
    only_ret = decide(None, a_ret()).consent
    assert only_ret.previous_status is None
    later = an_admitted_event(event_id="event-3", consent_date=NOON.replace(second=1))
    assert decide(only_ret, later).consent.previous_status is Status.RET


def test_exported_names_are_those_listed():
    """Each exported name exists, and is listed once."""
    assert len(set(izin.consent.__all__)) == len(izin.consent.__all__)
    assert all(hasattr(izin.consent, name) for name in izin.consent.__all__)
