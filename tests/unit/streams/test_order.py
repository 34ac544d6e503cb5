"""What a batch amounts to: rows, decisions, opt-outs, dead letters, re-filings.

Simple events are decided on their bytes as the law decides them.
"""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import Any, NoReturn
from unittest.mock import Mock

import pytest
from hypothesis import given, strategies as st

from izin.consent import Consent, ConsentEvent, DecisionKind
from izin.consent.model import Reason
from izin.schemas.fast.decision_writer import HeaderWriter
from izin.schemas.fast.record_format import headers_of
from izin.schemas.fast.writer import EPOCH, MILLISECOND
from izin.schemas.partitioning import partition_of
from izin.schemas.records import consent_from_avro, headers
from izin.streams import order
from izin.streams.fast_path.simple_events import (
    SimpleDecision,
    SimpleEvent,
    SimpleEventReader,
    decide_simple,
)
from izin.streams.fetched_record import APPENDED_AT, FetchedRecord
from izin.streams.guard import REDRIVEN
from izin.streams.outputs import MAX_BYTES, REPARTITIONED
from izin.streams.ownership import Effects
from izin.streams.state.packing import Packing
from izin.streams.state.state import MemoryState
from tests.support.builders import NOON, PHONE, a_key, an_event, an_iys_event, an_iys_origin
from tests.support.order.harness import (
    APPENDED,
    CODEC,
    EXPRESS,
    HOME,
    IN_FULL,
    KEY,
    PARTITIONS,
    SPOILT_TEXTS,
    TOPICS,
    OrderHarness,
    a_record,
    a_spoilt_record,
    consent_of,
    fetched,
    records_of,
)

HARNESS = OrderHarness()
ELSEWHERE = (HOME + 1) % PARTITIONS


def at(minutes: int) -> dict[str, Any]:
    """Return the dates of an event so many minutes after noon."""
    instant = NOON + timedelta(minutes=minutes)
    return {"consent_date": instant, "received_at": instant}


def changed(effects: Effects) -> Consent:
    return IN_FULL.unpack(KEY, effects.changes[KEY])


def kinds(effects: Effects) -> list[str]:
    return [one["kind"] for one in HARNESS.written(effects, TOPICS.decisions.name, "Decision")]


def rows(effects: Effects, topic: str = TOPICS.desired_consents.name) -> list[dict[str, Any]]:
    return HARNESS.written(effects, topic, "Consent")


def letter_of(effects: Effects) -> dict[str, Any]:
    """Return the only dead letter."""
    (letter,) = HARNESS.written(effects, TOPICS.dead_letters.name, "DeadLetter")
    return letter


def back_from(effects: Effects) -> FetchedRecord:
    """Return the only record that was repartitioned, as it is fetched in its partition."""
    (again,) = effects.repartitioned
    return fetched(partition=HOME, value=again.value, key=again.key, headers=again.headers)


def onay(number: int, minutes: int) -> ConsentEvent:
    """Return a numbered opt-in."""
    return an_event(event_id=str(number), **at(minutes))


def ret(number: int, minutes: int) -> ConsentEvent:
    """Return a numbered opt-out."""
    return an_event(event_id=str(number), status="RET", **at(minutes))


@pytest.mark.parametrize(
    ("events", "decided", "written", "opt_outs"),
    [
        ([onay(1, 0), onay(2, 1), ret(3, 2)], ["Apply"] * 3, ["1", "2", "3"], ["3"]),
        ([ret(1, 0), ret(2, 1), onay(3, 2), ret(4, 3)], ["Apply"] * 4, [*"1234"], ["1", "4"]),
        ([onay(1, 0), onay(2, 5)], ["Apply"] * 2, ["1", "2"], []),
        ([onay(1, 0)] * 3, ["Apply"], ["1"], []),
        (
            [an_event(status="RET", consent_date=NOON), an_iys_event(event_id="iys-1")],
            ["Apply", "Enriched"],
            ["event-1", "iys-1"],
            ["event-1"],
        ),
        ([onay(1, 9), ret(2, 3)], ["Apply", "Stale"], ["1", "1"], []),
        ([onay(1, 9), onay(2, 3)], ["Apply", "Stale"], ["1"], []),
    ],
    ids=["changes", "opt-outs", "opt-ins", "the same", "better evidence", "older RET", "older"],
)
def test_events_of_a_key_give_their_rows_decisions_and_opt_outs(
    events: list[ConsentEvent], decided: list[str], written: list[str], opt_outs: list[str]
) -> None:
    """A first RET and a RET over an ONAY are opt-outs, a newer RET over a RET is none; the same
    event again is written nowhere. An older, unknown RET moves the row: "may I send?" depends on
    it.
    """
    effects = HARNESS.fold(records_of(*events))
    assert kinds(effects) == decided
    assert [row["event_id"] for row in rows(effects)] == written
    assert [row["event_id"] for row in rows(effects, TOPICS.opt_outs.name)] == opt_outs
    assert effects.counts["opt-outs"] == len(opt_outs)
    assert effects.counts["Duplicate"] == len(events) - len(decided)
    assert {(one.key, one.partition) for one in effects.writes} == {(KEY, HOME)}
    assert consent_from_avro(rows(effects)[-1]) == changed(effects)


def test_older_ret_moves_the_latest_ret_of_its_row() -> None:
    """The row stays an opt-in, with the instant of the opt-out before it."""
    effects = HARNESS.fold(records_of(onay(1, 9), ret(2, 3)))
    found = [(row["status"], row["latest_ret_at"]) for row in rows(effects)]
    assert found == [("ONAY", None), ("ONAY", NOON + timedelta(minutes=3))]
    decisions = HARNESS.written(effects, TOPICS.decisions.name, "Decision")
    assert [one["offset"] for one in decisions] == [0, 1]


def test_bad_record_leaves_its_batch_untouched() -> None:
    """An undecodable record between two valid ones is dead-lettered, and the two are decided."""
    good = records_of(onay(1, 0), onay(2, 3))
    bad = fetched(partition=HOME, offset=7, value=b"rubbish", key=None)
    effects = HARNESS.fold([good[0], bad, good[1]])
    letter = letter_of(effects)
    assert kinds(effects) == ["Apply", "Apply"]
    assert (letter["offset"], letter["reason"]) == (7, "undecodable")
    assert effects.counts["dead:undecodable"] == 1


def test_dead_letter_of_the_express_lane_is_an_alarm() -> None:
    """It may have been an opt-out, which its bytes cannot show; on the bulk lane it is counted."""
    rubbish = [
        fetched(topic=topic, partition=HOME, offset=offset, value=value)
        for offset, topic in enumerate((EXPRESS, "consent-events"))
        for value in (b"rubbish", None)
    ]
    effects = HARNESS.fold(rubbish)
    assert effects.alarms == [(EXPRESS, HOME, 0), (EXPRESS, HOME, 0)]
    assert effects.counts == {"dead:undecodable": 4}


def test_poison_in_the_fold_is_dead_lettered_without_effects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A record on which the decision stumbles is a dead letter, and a RET among them an alarm."""
    decide = order.decide
    monkeypatch.setattr(
        order,
        "decide",
        lambda current, admitted: (
            decide(current, admitted) if admitted.event.event_id != "2" else 1 / 0
        ),
    )
    effects = HARNESS.fold(records_of(onay(1, 0), ret(2, 1), onay(3, 2)))
    assert kinds(effects) == ["Apply", "Apply"]
    assert effects.counts["dead:poison"] == 1
    assert effects.alarms == [("consent-events", HOME, 1)]
    assert changed(effects).event_id == "3"


def test_failing_state_raises() -> None:
    """A state that cannot be read stops the worker: nothing is dead-lettered for it."""

    class Broken(MemoryState):
        def packed(self, key: bytes) -> NoReturn:
            raise OSError(f"the disk is gone: {key!r}")

    with pytest.raises(OSError, match="disk"):
        HARNESS.fold(records_of(an_event()), Broken())


def test_ret_with_too_much_evidence_takes_effect_without_it() -> None:
    """An opt-out is not lost because its evidence is too large to be written twice."""
    effects = HARNESS.fold(records_of(an_event(status="RET", evidence={"page": "x" * MAX_BYTES})))
    (decision,) = HARNESS.written(effects, TOPICS.decisions.name, "Decision")
    assert (decision["kind"], decision["event"]["evidence"]) == ("Apply", {})
    assert effects.counts["opt-outs"] == 1


HUGE = "x" * (MAX_BYTES - 2000)
OVERSIZED: dict[str, dict[str, Any]] = {
    name: {name: HUGE}
    for name in (
        "customer_id",
        "recipient_raw",
        "source",
        "origin",
        "origin_ref",
        "actor",
        "correlation_id",
        "cause",
        "import_id",
        "notice_version",
        "evidence_hash",
        "event_id",
    )
} | {
    "recipient": {"recipient": f"{PHONE[:4]}{' ' * (MAX_BYTES - 2000)}{PHONE[4:]}"},
    "retailer_access": {"retailer_access": tuple(range(10_000_000, 10_200_000))},
    "iys": {"iys": an_iys_origin(transaction_id=HUGE), "source": "IYS_WEB"},
}


@pytest.mark.parametrize("name", OVERSIZED)
def test_oversized_ret_takes_effect_without_its_texts(name: str) -> None:
    """An opt-out is not lost because its outputs would be too large: it is decided, and flagged."""
    effects = HARNESS.fold(records_of(an_event(status="RET", **OVERSIZED[name])))
    assert effects.counts["opt-outs"] == 1
    assert not effects.alarms
    (decision,) = HARNESS.written(effects, TOPICS.decisions.name, "Decision")
    assert decision["kind"] == "Apply"
    assert [one["code"] for one in decision["violations"]][-1] == "IZIN-TEXT-SIZE"
    assert all(len(one.value) < 200_000 for one in effects.writes)
    assert decision["consent"]["registrable"] == (name not in {"source", "retailer_access"})


@pytest.mark.parametrize("name", OVERSIZED)
@pytest.mark.parametrize("headers", [[], [("big", HUGE.encode())]], ids=["", "headers"])
def test_oversized_ret_is_repartitioned_without_its_texts(
    name: str, headers: list[tuple[str, bytes]]
) -> None:
    """In the partition of its key it takes effect, from its first append on."""
    event = an_event(status="RET", **OVERSIZED[name])
    records = records_of(event, partition=ELSEWHERE, headers=headers)
    effects = HARNESS.fold(records, partition=ELSEWHERE)
    (again,) = effects.repartitioned
    assert len(again.key or b"") + len(again.value) + len(again.headers) <= MAX_BYTES
    assert HARNESS.fold([back_from(effects)]).counts["opt-outs"] == 1


@pytest.mark.parametrize("name", ["origin_ref", "evidence"])
@pytest.mark.parametrize("partition", [HOME, (HOME + 1) % PARTITIONS], ids=["home", "elsewhere"])
def test_onay_too_large_to_write_is_refused(name: str, partition: int) -> None:
    """It would stop its partition for ever: the broker never takes it. That is its source's fault,
    not ours: it is no poison, of which there may be only so much.
    """
    huge = {"page": "x" * MAX_BYTES} if name == "evidence" else "x" * MAX_BYTES
    records = records_of(an_event(**{name: huge}), partition=partition)
    effects = HARNESS.fold(records, partition=partition)
    letter = letter_of(effects)
    assert (effects.counts, effects.suspects) == ({"dead:refused": 1}, {})
    assert (letter["reason"], letter["violations"][0]["code"]) == ("refused", "IZIN-OVERSIZED")
    assert (len(effects.writes), effects.alarms) == (1, [])
    assert (effects.changes, effects.repartitioned) == ({}, [])


@pytest.mark.parametrize("name", SPOILT_TEXTS)
def test_bytes_that_are_no_text_harm_their_record_alone(name: str) -> None:
    """They are written nowhere, on the fast path either; its RET takes effect, its ONAY does not.

    What many events share is learned from the first of them.
    """
    before, after = records_of(an_event(event_id="1"), an_event(event_id="3", **at(9)), key=KEY)
    for status, counted in (("RET", "opt-outs"), ("ONAY", "dead:undecodable")):
        spoilt = a_spoilt_record(name, key=KEY, status=status, **at(3))
        effects = HARNESS.fold([before, spoilt, after])
        assert effects.counts[counted] == 1
        assert changed(effects).event_id == "3"
        for topic, record in ((TOPICS.decisions, "Decision"), (TOPICS.opt_outs, "Consent")):
            HARNESS.written(effects, topic.name, record)


def test_record_in_another_partition_is_repartitioned() -> None:
    """A producer that keys its own way loses nothing: same bytes, right partition, marked."""
    (record,) = records_of(an_event(), partition=ELSEWHERE, headers=[("ce_id", b"1")], offset=5)
    effects = HARNESS.fold([record], partition=ELSEWHERE)
    (again,) = effects.repartitioned
    assert (again.topic, again.partition, again.key) == (record.topic, HOME, KEY)
    assert again.value == record.value
    assert dict(headers_of(again.headers)) == {
        "ce_id": b"1",
        REPARTITIONED: f"consent-events/{ELSEWHERE}/5".encode(),
        APPENDED_AT: str(APPENDED).encode(),
    }
    assert (effects.writes, effects.changes) == ([], {})


def test_record_repartitioned_twice_is_dead_lettered() -> None:
    """Nothing goes round in circles; a RET among them is an alarm."""
    marked = {"partition": ELSEWHERE, "headers": [(REPARTITIONED, b"a/1/2")]}
    records = records_of(an_event(), an_event(status="RET"), **marked)
    effects = HARNESS.fold(records, partition=ELSEWHERE)
    assert effects.counts["dead:repartitioned-twice"] == 2
    assert effects.alarms == [("consent-events", ELSEWHERE, 1)]
    assert (effects.repartitioned, effects.suspects) == ([], {})


def test_repartitioned_undated_ret_counts_from_its_first_append() -> None:
    """A detour of two hours does not let an undated opt-out override a newer opt-in."""
    undated = an_event(event_id="1", status="RET", consent_date=None, received_at=None)
    records = records_of(undated, partition=ELSEWHERE, timestamp=APPENDED - 2 * 3_600_000)
    back = back_from(HARNESS.fold(records, partition=ELSEWHERE))
    assert changed(HARNESS.fold([back, *records_of(onay(2, 90), offset=1)])).status == "ONAY"


def test_redriven_record_keeps_its_first_append_when_repartitioned() -> None:
    """It may be moved once, as any other, and counts from then and not from now."""
    first = str(APPENDED - 2 * 3_600_000).encode()
    headers = [(REDRIVEN, b"0/5"), (APPENDED_AT, first)]
    records = records_of(an_event(), partition=ELSEWHERE, headers=headers)
    effects = HARNESS.fold(records, partition=ELSEWHERE)
    assert headers_of(effects.repartitioned[0].headers)[-1] == (APPENDED_AT, first)
    assert HARNESS.fold([back_from(effects)]).counts == {"Apply": 1}


@pytest.mark.interpreted
def test_key_in_the_state_is_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second event of a key costs no murmur2."""
    hashed = Mock(wraps=partition_of)
    monkeypatch.setattr(order, "partition_of", hashed)
    HARNESS.fold(records_of(an_event(event_id="1"), an_event(event_id="2", **at(1))))
    hashed.assert_called_once_with(KEY, PARTITIONS)


def test_replay_folds_to_the_same_bytes() -> None:
    """Nothing of the fold hangs on the clock or on chance."""
    records = records_of(*_many(60, seed=1))
    assert HARNESS.fold(records) == HARNESS.fold(records)


def test_events_folded_again_change_no_state() -> None:
    """At-least-once input gives the same state: every event again is a duplicate or stale."""
    records, state = records_of(*_many(60, seed=2)), MemoryState()
    state.apply(HARNESS.fold(records, state).changes, 1)
    assert not HARNESS.fold(records, state).changes


@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 40), max_size=4))
def test_any_interleaving_of_lanes_gives_the_same_state(seed: int, cuts: list[int]) -> None:
    """Any interleaving of express and bulk, in any batches, gives the same state."""
    events = _many(40, seed=7)
    whole = MemoryState()
    whole.apply(HARNESS.fold(records_of(*events), whole).changes, 1)
    Random(seed).shuffle(events)
    lanes = [
        a_record(one, partition=HOME, topic=EXPRESS if n % 3 else TOPICS.events.name)
        for n, one in enumerate(events)
    ]
    state, edges = MemoryState(), [0, *sorted(cuts), len(lanes)]
    for start, end in pairwise(edges):
        state.apply(HARNESS.fold(lanes[start:end], state).changes, end)
    assert consent_of(state, KEY) == consent_of(whole, KEY)


def _many(count: int, *, seed: int) -> list[ConsentEvent]:
    random = Random(seed)
    return [
        an_iys_event(event_id=f"iys-{number}")
        if random.random() < 0.1
        else an_event(
            event_id=f"{number}",
            status=random.choice(("ONAY", "RET")),
            **at(random.randrange(5)),
        )
        for number in range(count)
    ]


READER = SimpleEventReader(CODEC)


def read(event: ConsentEvent, **fields: object) -> SimpleEvent | None:
    return READER.read(a_record(event, **{"key": KEY} | fields))


def decided(state: list[ConsentEvent], event: ConsentEvent) -> SimpleDecision | None:
    """Return the simple decision of ``event`` over those before it."""
    packing, packed = Packing(), None
    for one in [*state, event]:
        event_read = read(one)
        found = decide_simple(event_read, packed, packing)
        if found is not None:
            packed = found.pack(packing)
    return found


@pytest.mark.parametrize(
    "event",
    [
        an_event(source="HS_KARAR", status="RET"),
        an_event(source="HS_2015"),
        an_event(source=None),
        an_event(recipient="0555 000 00 01"),
        an_event(status="onay"),
        an_event(date_basis="received"),
        an_event(date_basis="day"),
        an_event(date_basis="minute", status="RET"),
        an_event(consent_date=None),
        an_event(received_at=None),
        an_event(consent_date=NOON + timedelta(minutes=1), received_at=NOON),
        an_event(received_at=NOON + timedelta(hours=4)),
        an_event(retailer_code=11111111),
        an_event(customer_id=""),
        an_event(event_id=""),
        an_iys_event(),
        an_event(evidence={"much": "e" * 70_000}),
        an_event(evidence={"purpose": "marketing"}),
    ],
)
def test_event_that_needs_judgement_is_not_simple(event: ConsentEvent) -> None:
    """Each guard of the fast path fires."""
    assert read(event) is None


@pytest.mark.parametrize("key", [None, b"any", b"100001/MESAJ/BIREYSEL/", b"\xff/x"])
def test_event_with_another_key_is_not_simple(key: bytes | None) -> None:
    """Where the record's key is not the canonical one, the law makes it."""
    assert read(an_event(), key=key) is None


def test_repartitioned_event_is_not_simple() -> None:
    """Its first append counts, which is in a header; so it is with a redriven one."""
    assert read(an_event(), headers=[(APPENDED_AT, b"1")]) is None
    assert read(an_event(), headers=[(REDRIVEN, b"0/5"), (APPENDED_AT, b"1")]) is None


def test_unreadable_event_is_not_simple() -> None:
    """No value, another schema, or a record cut short."""
    whole = a_record(key=KEY)
    for value in (None, b"\xc3\x01" + b"\x07" * 40, (whole.value or b"")[:-2]):
        assert READER.read(a_record(key=KEY, value=value)) is None


def test_event_of_the_same_second_is_not_decided() -> None:
    """Within one second more than the instant counts."""
    assert decided([an_event(event_id="1")], an_event(event_id="2", status="RET")) is None


def test_same_event_is_a_duplicate() -> None:
    """Published again it changes nothing; with any difference the law decides."""
    event = an_event(event_id="1")
    found = decided([event], event)
    assert (found.kind, found.reason) == (DecisionKind.DUPLICATE, Reason.SAME_EVENT)
    assert decided([event], replace(event, origin="crm")) is None
    assert decided([event], replace(event, consent_date=NOON + MILLISECOND)) is None


def test_older_event_that_moves_the_state_is_not_decided() -> None:
    """An earlier RET under a later ONAY moves the latest RET, and so the state."""
    earlier = an_event(event_id="2", status="RET", consent_date=NOON - timedelta(days=1))
    assert decided([an_event(event_id="1")], earlier) is None


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources and brands in any number do not fill the memory, and are still read."""
    monkeypatch.setattr("izin.schemas.fast.cache.MAX_ENTRIES", 2)
    reader, marking = SimpleEventReader(CODEC), HeaderWriter("Decision")
    for number in range(1, 8):
        event = an_event(customer_id=f"c{number}", brand_code=number)
        assert reader.read(a_record(event, key=a_key(brand_code=number).encode())) is not None
        assert reader.read(a_record(event, key=f"{number}/nonsense".encode())) is None
        at = NOON + timedelta(days=number, seconds=number)
        expected = headers(record="Decision", event_id="1", source=f"/{number}", at=at)
        seconds = (at - EPOCH) // timedelta(seconds=1)
        assert headers_of(marking.headers(b"1", marking.shared(f"/{number}", seconds))) == expected
    assert len(reader._contents) <= 2
    assert len(reader._prefixes) <= 2


def test_event_received_after_its_append_is_not_simple() -> None:
    """Beyond the permitted skew the append counts, as the law defines."""
    latest = EPOCH + (APPENDED + 5 * 60 * 1000) * MILLISECOND
    assert read(an_event(received_at=latest)) is not None
    assert read(an_event(received_at=latest + MILLISECOND)) is None
