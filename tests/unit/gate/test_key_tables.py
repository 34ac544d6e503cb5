"""Opt-outs found in the bytes of a lane: every one that the order stage would find.

When a key has last opted out, read of a decision by the offsets of its fields.

Keys that undecided opt-outs close, and when they are released.

What is asked of the law for each recipient, over HTTP.

What may stand in a question, and what is said of what may not.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, strategies as st

from izin.consent import (
    CLASSES,
    Channel,
    Consent,
    ConsentEvent,
    MessageClass,
    MessageKind,
    RecipientType,
    Status,
    decide,
)
from izin.consent.may_send import PermissionReason
from izin.gate import sources
from izin.gate.key_tables import DecisionRecords, KnownKeys, LaneTable, may_be_opt_out
from izin.gate.metrics import iys_warnings, suspensions
from izin.gate.question import FIELDS, JSON_TYPE, AskedQuestion, read_question
from izin.gate.sources import Releasing
from izin.gate.undecided import UndecidedOptOuts
from izin.kafka.clients import TopicIdentities
from izin.kafka.tables.brand_directory import RegisteredBrand
from izin.kafka.tables.packed_permissions import digest_of, whole_seconds
from izin.runtime.errors import RegistryError
from izin.runtime.http_server.problems import RequestRefusedError
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.consistency_token import LogPosition, positions_of, token_of
from izin.schemas.may_send_api import LONGEST_TEXT, MOST_RECIPIENTS, ReceiptKind
from izin.schemas.partitioning import partition_of
from izin.schemas.records import event_to_avro
from izin.streams.guard import AdmittedRecord, Guard
from tests.support.builders import (
    BRAND,
    CUSTOMER,
    EMAIL,
    NOON,
    PHONE,
    a_decision_record,
    a_key,
    a_ret,
    an_admitted_event,
    an_event,
    kafka_message,
)
from tests.support.order.harness import fetched
from tests.unit.gate.conftest import (
    FOREIGN_BRAND,
    LATER,
    PARTITIONS,
    TOPICS,
    Api,
    a_brand,
    a_question,
    key_facts_of,
    serving,
)

CODEC = Codec()
BEFORE = NOON - timedelta(days=1)
APPENDED = 2, int(NOON.timestamp() * 1000) + 60_000


class Lane:
    """A table, what it has marked, and what it could not read."""

    def __init__(self, codec: Codec = CODEC) -> None:
        self.undecided = UndecidedOptOuts()
        self.unreadable: list[int] = []
        self._table = LaneTable(
            topic="lane",
            partitions=PARTITIONS,
            codec=codec,
            undecided=self.undecided,
            unreadable=lambda _topic, record, _error: self.unreadable.append(record.offset() or 0),
        )

    def take(self, *values: bytes | None) -> int:
        """Take records of these values."""
        return self._table.take(
            [
                kafka_message(value=one, offset=offset, timestamp=APPENDED)
                for offset, one in enumerate(values)
            ]
        )

    def closes(self, event: ConsentEvent | None = None) -> bool:
        """Whether the key of an event is closed."""
        recipient = (event or an_event()).recipient
        return digest_of(a_key(recipient=recipient).encode()) in self.undecided.digests


@pytest.fixture
def lane() -> Lane:
    """Return a lane of nothing."""
    return Lane()


def encoded(event: ConsentEvent) -> bytes:
    return CODEC.encode("ConsentEvent", event_to_avro(event))


def spelt(word: str) -> list[str]:
    """Return a word in every mixture of small and capital letters."""
    return ["".join(letters) for letters in product(*((one, one.upper()) for one in word))]


@pytest.mark.parametrize("status", [*spelt("ret"), " RET ", "R\0ET", "\0ret", "RET\u2003"])
def test_every_spelling_is_an_opt_out(lane: Lane, status: str):
    """What the law reads as RET."""
    assert lane.take(encoded(an_event(status=status))) == 1
    assert lane.closes()


DAMAGE = st.sampled_from([b"", b"", b"", b"\xff", b"\x80\x80", b"\0", b"\xc3", b" ", b"R"])
DAMAGES = st.tuples(
    DAMAGE, st.sampled_from(b"Rr"), DAMAGE, st.sampled_from(b"Ee"), DAMAGE, st.just(84), DAMAGE
).map(lambda parts: b"".join(bytes([one]) if isinstance(one, int) else one for one in parts))


@given(DAMAGES)
def test_whatever_the_order_stage_admits_closes(status: bytes):
    """Also from bytes that are no text, and nothing else."""
    value = encoded(an_event(status="?" * len(status))).replace(b"?" * len(status), status)
    found = Guard(CODEC).admit(fetched(value=value))
    lane = Lane()
    lane.take(value)
    is_ret = isinstance(found, AdmittedRecord) and found.admitted.status == "RET"
    assert lane.closes() is is_ret
    assert may_be_opt_out(value) or not is_ret


@pytest.mark.parametrize("name", ["consent_date", "received_at"])
@pytest.mark.parametrize("milliseconds", [1 << 62, -(1 << 62), 0, 1_772_452_800_000_000])
def test_opt_out_with_a_wild_instant_closes(name: str, milliseconds: int):
    """Microseconds for milliseconds, or the year 0: it is an opt-out all the same."""
    event = event_to_avro(an_event(status="RET")) | {name: milliseconds}
    harness = Lane()
    harness.take(CODEC.encode("ConsentEvent", event))
    assert len(harness.undecided) == 1
    assert harness.unreadable == []


def test_others_close_nothing(lane: Lane):
    """An opt-in in which the letters are, an opt-out without a key, an erasure, a tombstone."""
    events = (
        an_event(origin="ret"),
        an_event(status="RET", type="FAX"),
        an_event(status="ERASURE", origin="ret"),
    )
    assert lane.take(None, *map(encoded, events)) == 4
    assert (len(lane.undecided), lane.unreadable) == (0, [])


def test_what_cannot_be_decoded_is_counted(lane: Lane):
    """And its neighbours are read."""
    value = encoded(an_event(status="RET"))
    assert lane.take(b"ret", value[:-1], value) == 3
    assert lane.unreadable == [0, 1]
    assert lane.closes()


def test_admission_that_fails_is_counted(monkeypatch: pytest.MonkeyPatch):
    """A fault of ours over one record keeps no others waiting."""
    lane, other = Lane(), an_event(status="RET", recipient="+905550000002")
    monkeypatch.setattr(CODEC, "decode_event", failing_on_first(CODEC.decode_event))
    assert lane.take(encoded(an_event(status="RET")), encoded(other)) == 2
    assert lane.unreadable == [0]
    assert lane.closes(other)


def failing_on_first(decode: Any) -> Any:  # noqa: ANN401  # a method of the codec
    """Return a decoder whose first event is none."""
    left: list[object] = [object()]
    return lambda value: left.pop() if left else decode(value)


def test_schema_that_is_out_of_reach_waits():
    """What is before it was taken; it comes again."""
    codec = Codec()
    decode, value = codec.decode_event, encoded(an_event(status="RET"))

    def failing(data: bytes) -> ConsentEvent:
        if data != value:
            raise RegistryError("the registry is away")
        return decode(data)

    codec.decode_event = failing  # type: ignore[method-assign]
    lane = Lane(codec)
    assert lane.take(value, value + b"ret", value) == 1
    assert lane.closes()


def test_mark_knows_the_partition_of_the_key(lane: Lane):
    """Its record may be on another one."""
    numbers = [f"+9055500000{number:02}" for number in range(20)]
    lane.take(*(encoded(an_event(status="RET", recipient=one)) for one in numbers))
    own = sum(partition_of(a_key(recipient=one).encode(), PARTITIONS) == 0 for one in numbers)
    lane.undecided.release(("lane", 0), 100)
    assert 0 < own < len(numbers)
    assert len(lane.undecided) == len(numbers) - own


@pytest.fixture
def table() -> DecisionRecords:
    """Return a table of no key."""
    return DecisionRecords(KnownKeys(), CODEC, "consent-decisions")


def an_opt_in() -> Consent:
    """Return the consent of an opt-in at noon."""
    return decide(None, an_admitted_event()).consent


@pytest.mark.parametrize(
    ("current", "status", "at", "latest"),
    [
        (None, Status.ONAY, NOON, None),
        (None, Status.RET, NOON, NOON),
        (an_opt_in(), Status.RET, NOON, NOON),
        (an_opt_in(), Status.RET, BEFORE, BEFORE),
        (decide(None, a_ret(consent_date=BEFORE)).consent, Status.ONAY, NOON, BEFORE),
    ],
    ids=["first-opt-in", "first-opt-out", "applied", "stale", "opted-in-again"],
)
def test_both_ways_to_read_agree(
    table: DecisionRecords, current: Consent | None, status: Status, at: object, latest: object
):
    """Whether the opt-out applied, was stale, or is an earlier one of the key."""
    decision = decide(current, an_admitted_event(status=status, consent_date=at))
    value = CODEC.encode("Decision", a_decision_record(decision))
    expected = None if latest is None else whole_seconds(latest)
    assert table._opted_out_at(value) == table._decoded(value) == expected


def test_what_is_no_decision_is_unreadable(table: DecisionRecords):
    """Cut short, or a tombstone."""
    value = CODEC.encode("Decision", a_decision_record(decide(None, a_ret())))
    for wrong in (value[:20], b"RET", None):
        with pytest.raises(UndecodableError):
            table._opted_out_at(wrong)


BULK, EXPRESS = TOPICS.events.name, TOPICS.express.name
IDENTITIES = TopicIdentities(
    cluster_id="cluster",
    topic_ids={BULK: "bulk", EXPRESS: "express"},
    partitions={BULK: 2, EXPRESS: 2},
)
KEY, OTHER_KEY = b"key", b"other"


@dataclass
class Follower:
    """A follower that says for which instant each partition was read to its end."""

    read_at: dict[int, float] = field(default_factory=dict)

    def complete_at(self, partition: int) -> float:
        """Return that instant."""
        return self.read_at.get(partition, float("-inf"))


class Gate:
    """Marks, what releases them, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(sources, "monotonic", lambda: self.now)
        self.undecided = UndecidedOptOuts()
        self.opt_outs = Follower()
        self.lanes = {BULK: Follower(), EXPRESS: Follower()}
        self._releasing = Releasing(self.undecided, TOPICS, IDENTITIES)

    def decide(self, partition: int, *, bulk: int = 0, express: int = 0, **other: object) -> None:
        """Have positions read, a second after whatever was before."""
        self.now += 1
        fields: dict[str, Any] = {
            "cluster_id": "cluster",
            "events_topic_id": "bulk",
            "express_topic_id": "express",
            "events_offset": bulk,
            "express_offset": express,
        }
        self._releasing.put("order-positions", partition, fields | other)

    def read(self, follower: Follower, partition: int) -> None:
        """Have a partition read to an end that was asked for a second after whatever was before."""
        self.now += 1
        follower.read_at[partition] = self.now

    def release(self) -> None:
        """Release what can be released."""
        self._releasing.release(self.opt_outs, self.lanes)  # type: ignore[arg-type]

    def decided(self, lane: str) -> Mapping[int, int]:
        """Return what is decided of a lane."""
        return self._releasing.decided(lane)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def test_key_is_released_once_what_follows_was_read(gate: Gate):
    """Not when it is decided, and not by an end that was asked for before that was seen."""
    gate.undecided.add((EXPRESS, 0), 7, KEY, 0)
    gate.read(gate.opt_outs, 0)
    gate.decide(0, express=8)
    gate.release()
    assert KEY in gate.undecided.digests
    gate.read(gate.opt_outs, 0)
    gate.release()
    assert KEY not in gate.undecided.digests
    assert len(gate.undecided) == 0


def test_what_is_not_decided_stays(gate: Gate):
    """Of the same partition at a later offset, and of the other lane."""
    gate.undecided.add((EXPRESS, 0), 8, KEY, 0)
    gate.undecided.add((BULK, 0), 3, OTHER_KEY, 0)
    gate.decide(0, express=8, bulk=3)
    gate.read(gate.opt_outs, 0)
    gate.release()
    assert KEY in gate.undecided.digests
    assert OTHER_KEY in gate.undecided.digests


def test_many_decisions_do_not_keep_a_key_closed(gate: Gate):
    """Positions that are read all the time: those are waited for that were there before."""
    gate.undecided.add((EXPRESS, 0), 0, KEY, 0)
    for offset in range(1, 5):
        gate.decide(0, express=offset)
        gate.release()
        gate.read(gate.opt_outs, 0)
        gate.decide(0, express=offset)
        gate.release()
    assert KEY not in gate.undecided.digests


def test_opt_out_that_is_read_late_is_released(gate: Gate):
    """The order stage was faster: no other positions come."""
    gate.decide(0, express=8)
    gate.release()
    gate.read(gate.opt_outs, 0)
    gate.release()
    gate.undecided.add((EXPRESS, 0), 7, KEY, 0)
    gate.release()
    assert KEY not in gate.undecided.digests


def test_key_with_two_opt_outs_waits_for_both(gate: Gate):
    """Each has its own mark."""
    gate.undecided.add((EXPRESS, 0), 1, KEY, 0)
    gate.undecided.add((BULK, 0), 1, KEY, 0)
    gate.decide(0, express=2)
    gate.read(gate.opt_outs, 0)
    gate.release()
    assert KEY in gate.undecided.digests
    gate.decide(0, express=2, bulk=2)
    gate.release()
    gate.read(gate.opt_outs, 0)
    gate.release()
    assert KEY not in gate.undecided.digests


def test_stray_opt_out_waits_for_its_own_partition(gate: Gate):
    """It was written again there, and is read there before it is released here."""
    gate.undecided.add((EXPRESS, 0), 1, KEY, 1)
    gate.read(gate.lanes[EXPRESS], 1)
    gate.decide(0, express=2)
    gate.read(gate.opt_outs, 0)
    gate.read(gate.opt_outs, 1)
    gate.read(gate.lanes[EXPRESS], 0)
    gate.read(gate.lanes[BULK], 1)
    gate.release()
    assert KEY in gate.undecided.digests
    gate.undecided.add((EXPRESS, 1), 5, KEY, 1)
    gate.read(gate.lanes[EXPRESS], 1)
    gate.release()
    assert KEY in gate.undecided.digests
    gate.decide(1, express=6)
    gate.read(gate.opt_outs, 1)
    gate.release()
    assert KEY not in gate.undecided.digests


def test_many_decisions_do_not_keep_a_stray_closed(gate: Gate):
    """It waits from when it was first seen to be decided."""
    gate.undecided.add((EXPRESS, 0), 0, KEY, 1)
    gate.decide(0, express=1)
    gate.release()
    gate.read(gate.lanes[EXPRESS], 1)
    gate.decide(0, express=2)
    gate.release()
    assert KEY not in gate.undecided.digests


@pytest.mark.parametrize("other", ["cluster_id", "express_topic_id"])
def test_positions_of_another_topic_say_nothing(other: str, gate: Gate):
    """Neither what is released, nor from where a lane is read."""
    gate.undecided.add((EXPRESS, 0), 1, KEY, 0)
    gate.decide(0, express=100, bulk=50, **{other: "other"})
    gate.read(gate.opt_outs, 0)
    gate.release()
    assert KEY in gate.undecided.digests
    assert gate.decided(EXPRESS) == {}
    gate.decide(0, express=100, bulk=50)
    assert (gate.decided(EXPRESS), gate.decided(BULK)) == ({0: 100}, {0: 50})


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


def read(**overrides: object) -> AskedQuestion:
    """Return the question of a body."""
    return read_question(JSON_TYPE, json.dumps(a_question(**overrides)).encode())


def test_least_question_is_a_commercial_one():
    """About a private person, by the brand itself, without a receipt."""
    assert read() == AskedQuestion(
        brand_code=100001,
        channel=Channel.MESAJ,
        recipient_type=RecipientType.BIREYSEL,
        recipients=[PHONE],
        message_class=MessageClass.COMMERCIAL,
        is_exempt=False,
        basis=None,
        retailer_code=None,
        campaign=None,
        receipt=None,
        at_least=None,
    )
    assert read(**{one.name: None for one in FIELDS if not one.is_required}) == read()


def test_words_of_every_way_in_are_read():
    """As at the intake."""
    found = read(type="sms", recipient_type="esnaf")
    assert (found.channel, found.recipient_type) == (Channel.MESAJ, RecipientType.TACIR)


def test_every_field_is_read():
    """Texts without what no text may contain."""
    token = [LogPosition("consent-events", 0, 3)]
    found = read(
        recipient_type="TACIR",
        message_class="invoice",
        basis=" order 7\0 ",
        retailer_code=12345678,
        campaign=" ",
        receipt="list",
        at_least=token_of(token),
    )
    assert (found.recipient_type, found.message_class) == ("TACIR", "invoice")
    assert (found.basis, found.retailer_code, found.campaign) == ("order 7", 12345678, None)
    assert (found.receipt, found.at_least) == (ReceiptKind.LIST, tuple(token))


@pytest.mark.parametrize("message_class", MessageClass)
def test_exempt_class_always_has_a_receipt(message_class: MessageClass):
    """Of the one recipient, or of the list, unless another is wanted."""
    is_exempt = message_class in EXEMPT
    given = {"message_class": str(message_class)}
    assert read(**given).is_exempt is is_exempt
    assert read(**given).receipt == ("decision" if is_exempt else None)
    several = {**given, "recipients": [PHONE, PHONE]}
    assert read(**several).receipt == ("list" if is_exempt else None)
    assert read(**several, receipt="decision").receipt == "decision"


@pytest.mark.parametrize(
    ("given", "status", "named"),
    [
        ({"brand_code": None}, 422, "/brand_code is a number"),
        ({"brand_code": "100001"}, 422, "/brand_code is a number"),
        ({"brand_code": True}, 422, "/brand_code is a number"),
        ({"brand_code": 2**31}, 422, "/brand_code is a number"),
        ({"retailer_code": 0}, 422, "/retailer_code is a number"),
        ({"type": None}, 422, "/type is one of ARAMA, MESAJ, EPOSTA"),
        ({"type": "fax"}, 422, "/type is one of"),
        ({"type": "✓"}, 422, "/type is one of"),
        ({"type": ["MESAJ"]}, 422, "/type is one of"),
        ({"recipient_type": ""}, 422, "/recipient_type is one of BIREYSEL, TACIR"),
        ({"message_class": "otp"}, 422, "/message_class is one of"),
        ({"receipt": "all"}, 422, "/receipt is one of list, decision"),
        ({"recipients": PHONE}, 422, "/recipients is a list"),
        ({"recipients": []}, 422, "/recipients is a list"),
        ({"recipients": [PHONE, 905]}, 422, "/recipients/1 is no text"),
        ({"recipients": ["-"] * (MOST_RECIPIENTS + 1)}, 413, "send at most 100000"),
        ({"campaign": 1}, 422, "/campaign is a text"),
        ({"basis": "x" * (LONGEST_TEXT + 1)}, 422, "/basis is a text of at most 200"),
        ({"at_least": 1}, 422, "/at_least is no token"),
        ({"at_least": "x"}, 422, "/at_least is no token"),
        ({"brand": 1}, 422, "1 of the body's fields are unknown; there are at_least, basis"),
    ],
)
def test_what_cannot_be_used_is_named(given: dict[str, object], status: int, named: str):
    """The field, and not what was sent."""
    with pytest.raises(RequestRefusedError) as refused:
        read(**given)
    assert refused.value.text.status == status
    assert named in refused.value.text.detail


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/plain", b"{}", 415),
        ("", b"{}", 415),
        (JSON_TYPE, b"{", 400),
        (JSON_TYPE, b'{"a": NaN}', 400),
        (JSON_TYPE, b'{"recipients": ["\\ud800"]}', 400),
        (JSON_TYPE, b'{"recipients": ["\xff"]}', 400),
        (JSON_TYPE, b"[]", 422),
        (JSON_TYPE, b"null", 422),
    ],
)
def test_body_that_is_no_object_is_refused(kind: str, body: bytes, status: int):
    """Also half of a surrogate pair, and bytes that are no UTF-8."""
    with pytest.raises(RequestRefusedError) as refused:
        read_question(kind, body)
    assert refused.value.text.status == status


def test_content_type_may_have_parameters():
    """In any case."""
    body = json.dumps(a_question()).encode()
    assert read_question("Application/JSON; charset=utf-8", body) == read()


@given(st.dictionaries(st.sampled_from([one.name for one in FIELDS]), JSON))
def test_any_json_is_read_or_refused(given: dict[str, object]):
    """Nothing else is raised."""
    with suppress(RequestRefusedError):
        read(**given)


def test_body_with_too_many_values_is_refused_before_it_is_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fifteen megabytes of empty texts would hold the loop for a second, and half a gigabyte."""
    monkeypatch.setattr("izin.gate.question.orjson.loads", Mock(side_effect=AssertionError))
    for body in (b'{"recipients":[' + b'"",' * 5_000_000 + b'""]}', b"[" * 5_000_000):
        with pytest.raises(RequestRefusedError) as refused:
            read_question(JSON_TYPE, body)
        assert refused.value.text.status == 413
