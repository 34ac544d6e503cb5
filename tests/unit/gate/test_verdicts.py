"""What is asked of the law for each recipient, over HTTP."""

import hashlib
from datetime import timedelta

import pytest
from hypothesis import strategies as st

from izin.consent import CLASSES, Channel, MessageKind
from izin.consent.may_send import PermissionReason
from izin.gate.metrics import iys_warnings, suspensions
from izin.kafka.tables.brand_directory import RegisteredBrand
from izin.schemas.consistency_token import LogPosition, positions_of, token_of
from tests.support.builders import BRAND, CUSTOMER, EMAIL, NOON, PHONE, a_key
from tests.unit.gate.conftest import (
    FOREIGN_BRAND,
    LATER,
    PARTITIONS,
    TOPICS,
    Api,
    a_brand,
    key_facts_of,
    serving,
)

OPTED_OUT = (False, "opted-out")
REGISTERED = (True, "registered")
OTHER = "+905550000002"
RETAILER = 12345678
EXEMPT = [one for one, rule in CLASSES.items() if rule.kind is MessageKind.EXEMPT]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.mark.parametrize("reason", set(PermissionReason) - {PermissionReason.EXEMPT})
async def test_standing_of_a_key_is_the_answer(api: Api, reason: PermissionReason):
    """A yes only where İYS holds a consent."""
    api.state.put(key_facts_of(reason))
    assert await api.said() == (reason is PermissionReason.REGISTERED, str(reason))


async def test_unknown_key_is_a_no(api: Api):
    """For a merchant another one."""
    assert await api.said() == (False, "not-registered")
    assert await api.said(recipient_type="TACIR") == (False, "register-first")


@pytest.mark.parametrize("is_decided", [True, False])
async def test_merchants_opt_out_as_a_person_counts(is_decided: bool):
    """Unless their customer keeps the two apart; the other way round it never does."""
    key_facts = (
        key_facts_of(PermissionReason.OPTED_OUT)
        if is_decided
        else key_facts_of(PermissionReason.NOT_REGISTERED, opted_out=True)
    )
    for apart, expected in (([], OPTED_OUT), ([CUSTOMER], REGISTERED), (["beta"], OPTED_OUT)):
        async with serving(IZIN_GATE_MERCHANTS_APART=apart) as api:
            api.state.put(key_facts_of(), recipient_type="TACIR")
            assert await api.said(recipient_type="TACIR") == REGISTERED
            api.state.put(key_facts)
            assert await api.said(recipient_type="TACIR") == expected
            api.state.put(key_facts_of(opted_out=True), recipient_type="TACIR")
            api.state.put(key_facts_of())
            assert await api.said() == REGISTERED


async def test_merchant_of_some_customers_needs_no_registration():
    """After their counsel's word; an opt-out binds all the same."""
    async with serving(IZIN_GATE_UNREGISTERED_MERCHANTS=[CUSTOMER]) as api:
        assert await api.said(recipient_type="TACIR") == (True, "register-first")
        assert await api.said() == (False, "not-registered")
        (one,) = (await api.answer(recipient_type="TACIR", recipients=["-"]))["verdicts"]
        assert one["may_send"] is False
        api.state.put(key_facts_of(opted_out=True))
        assert await api.said(recipient_type="TACIR") == OPTED_OUT


async def test_stale_partition_closes_its_keys_alone(api: Api):
    """An opt-out is said still."""
    for recipient in (PHONE, OTHER):
        api.state.put(key_facts_of(), recipient=recipient)
    first, second = (api.state.partition_of(a_key(recipient=one)) for one in (PHONE, OTHER))
    assert first != second
    api.state.behind.add(first)
    verdicts = (await api.answer(recipients=[PHONE, OTHER]))["verdicts"]
    assert [one["reason"] for one in verdicts] == ["stale", "registered"]
    api.state.put(key_facts_of(PermissionReason.OPTED_OUT))
    assert await api.said() == OPTED_OUT


async def test_merchant_is_stale_with_the_partition_of_the_person(api: Api):
    """An opt-out there may not have been read."""
    api.state.put(key_facts_of(), recipient_type="TACIR")
    person = api.state.partition_of(a_key())
    assert person != api.state.partition_of(a_key(recipient_type="TACIR"))
    api.state.behind.add(person)
    assert await api.said(recipient_type="TACIR") == (False, "stale")


async def test_merchant_is_stale_where_the_person_is_unreadable(api: Api):
    """The record may be an opt-out; the other way round it does not matter."""
    api.state.put(key_facts_of(), recipient_type="TACIR")
    api.state.put(key_facts_of(PermissionReason.STALE))
    assert await api.said(recipient_type="TACIR") == (False, "stale")
    assert await api.said() == (False, "stale")
    api.state.put(key_facts_of(PermissionReason.STALE), recipient_type="TACIR")
    api.state.put(key_facts_of())
    assert await api.said() == REGISTERED


@pytest.mark.parametrize(
    ("pulled_at", "expected"),
    [
        (None, "stale"),
        (LATER - timedelta(hours=24), "registered"),
        (LATER - timedelta(hours=24, seconds=1), "stale"),
        (LATER + timedelta(minutes=5), "registered"),
        (LATER + timedelta(minutes=6), "stale"),
    ],
)
async def test_old_data_of_iys_close_the_channel(api: Api, pulled_at: object, expected: str):
    """And data from a future that no clock explains; other channels go on."""
    api.state.pulled[BRAND, Channel.MESAJ] = pulled_at  # type: ignore[assignment]
    for channel in ("MESAJ", "ARAMA"):
        api.state.put(key_facts_of(), channel=Channel(channel))
    assert (await api.said())[1] == expected
    assert await api.said(type="ARAMA") == REGISTERED


@pytest.mark.parametrize(
    "brand",
    [
        a_brand(status="stopped"),
        a_brand(suspension="a complaint"),
    ],
)
async def test_suspended_brand_sends_nothing_commercial(api: Api, brand: RegisteredBrand):
    """An opt-out is said before it, and what is exempt is sent."""
    api.state.known_brands[BRAND] = brand
    api.state.put(key_facts_of())
    assert await api.said() == (False, "suspended")
    assert await api.said(message_class="delivery") == (True, "exempt")
    api.state.put(key_facts_of(opted_out=True))
    assert await api.said() == OPTED_OUT


async def test_retailer_needs_access(api: Api):
    """The brand itself does not."""
    api.state.put(key_facts_of(retailers=[RETAILER]))
    assert await api.said() == REGISTERED
    assert await api.said(retailer_code=RETAILER) == REGISTERED
    assert await api.said(retailer_code=RETAILER + 1) == (False, "retailer-not-covered")


async def test_foreign_brand_is_as_unknown_as_none(api: Api):
    """Nobody learns which brands there are, nor who opted out of them."""
    api.state.put(key_facts_of(opted_out=True), brand_code=FOREIGN_BRAND)
    foreign = await api.answer(brand_code=FOREIGN_BRAND)
    none = await api.answer(brand_code=300001)
    assert foreign["verdicts"] == none["verdicts"]
    assert foreign["verdicts"][0] == {"recipient": PHONE, "may_send": False, "reason": "unknown"}


async def test_exempt_message_may_be_sent_whatever_else(api: Api):
    """To an address, that is."""
    api.state.put(key_facts_of(opted_out=True))
    api.state.behind |= set(range(PARTITIONS))
    api.state.pulled_at = None
    assert await api.said(message_class="invoice") == (True, "exempt")
    unread = token_of([LogPosition(TOPICS.events.name, 0, 99)])
    assert await api.said(message_class="invoice", at_least=unread) == (True, "exempt")
    assert await api.said(message_class="invoice", brand_code=FOREIGN_BRAND) == (True, "exempt")
    assert await api.said(message_class="invoice", recipients=["-"]) == (False, "not-registered")


async def test_recipients_are_normalised_by_the_law(api: Api):
    """And answered as they were given, in their order; one that is no address, with its code."""
    api.state.put(key_facts_of())
    given = ["0 (555) 000 00 01", "12", PHONE, "", "a\0b", EMAIL]
    verdicts = (await api.answer(recipients=given))["verdicts"]
    assert [one["recipient"] for one in verdicts] == given
    assert [one["reason"] == "registered" for one in verdicts] == [True, False, True] + [False] * 3
    codes = [one.get("violation") for one in verdicts]
    assert codes == [None, "H121", None, "H114", "IZIN-NUL", "H464"]
    api.state.put(key_facts_of(), channel=Channel.EPOSTA, recipient=EMAIL)
    assert await api.said(type="EPOSTA", recipients=[EMAIL.upper()]) == REGISTERED


async def test_as_of_names_the_partitions_asked_about(api: Api):
    """Of one recipient its own, of a merchant also the person's, of a list all; never of later."""
    person, merchant = (
        api.state.partition_of(a_key(recipient_type=one)) for one in ("BIREYSEL", "TACIR")
    )

    async def asked(**question: object) -> set[int]:
        positions = positions_of((await api.answer(**question))["as_of"])
        assert {one.offset for one in positions} == {api.state.read}
        assert {one.topic for one in positions} == {TOPICS.events.name, TOPICS.express.name}
        return {one.partition for one in positions}

    assert await asked() == {person}
    assert await asked(recipient_type="TACIR") == {person, merchant}
    assert await asked(recipients=[PHONE, OTHER]) == set(range(PARTITIONS))
    assert positions_of((await api.answer(recipients=["-"]))["as_of"]) == ()


async def test_token_is_reached_or_the_answer_is_stale(api: Api):
    """After a quarter of a second."""
    api.state.put(key_facts_of())
    api.state.put(key_facts_of(opted_out=True), recipient=OTHER)
    read, unread = (
        token_of([LogPosition(TOPICS.express.name, 1, api.state.read + more)]) for more in (0, 1)
    )
    assert await api.said(at_least=read) == REGISTERED
    assert await api.said(at_least=unread) == (False, "stale")
    assert await api.said(at_least=unread, recipients=[OTHER]) == OPTED_OUT
    assert set(api.state.waited) == {0.25}
    refused = await api.ask(at_least=token_of([LogPosition("other", 0, 1)]))
    assert (refused.status_code, refused.json()["title"]) == (422, "Token of another installation")


async def test_long_list_is_answered_in_order(api: Api):
    """In more than one part, with a digest over all."""
    given = [f"+90555{number:07d}" for number in range(1500)]
    for one in given[::3]:
        api.state.put(key_facts_of(), recipient=one)
    found = await api.answer(recipients=given, receipt="list")
    assert [one["recipient"] for one in found["verdicts"]] == given
    yes = [one["may_send"] for one in found["verdicts"]]
    assert yes == [number % 3 == 0 for number in range(1500)]
    (receipt,) = api.receipts.written
    lines = "".join(
        f"{BRAND}/MESAJ/BIREYSEL/{one['recipient']}\t{one['reason']}\n" for one in found["verdicts"]
    )
    assert receipt["digest"] == hashlib.sha256(lines.encode()).hexdigest()
    assert receipt["reasons"] == {"registered": 500, "not-registered": 1000}


async def test_warnings_name_brands_and_channels(api: Api):
    """For operators; it differs where a brand is closed and where it is late."""
    settings = api.gate.settings
    now = NOON + settings.iys_warns_after
    assert iys_warnings(api.state, settings, now) == {}  # type: ignore[arg-type]
    assert suspensions(api.state) == {}  # type: ignore[arg-type]
    api.state.pulled[BRAND, Channel.ARAMA] = NOON - timedelta(seconds=5)
    api.state.pulled[BRAND, Channel.MESAJ] = NOON - settings.iys_closes_after
    api.state.known_brands[FOREIGN_BRAND] = a_brand("beta", "stopped", "a complaint")
    assert iys_warnings(api.state, settings, now) == {  # type: ignore[arg-type]
        "iys 100001/ARAMA": "last pulled 3605 s ago",
        "iys 100001/MESAJ": "last pulled 90000 s ago; stale",
    }
    assert suspensions(api.state) == {"brand 200001": "suspended: a complaint"}  # type: ignore[arg-type]
    api.now[0] = now
    assert api.metric("izin_gate_iys_late_channels") == 2
    assert api.metric("izin_gate_iys_closed_channels") == 1
    for code in range(30):
        api.state.known_brands[code + 1] = a_brand("beta", suspension="audit")
    found = suspensions(api.state)  # type: ignore[arg-type]
    assert (len(found), found["other brands"]) == (21, "11 more")
