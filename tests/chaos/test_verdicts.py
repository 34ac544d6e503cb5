"""The checks of gate, inbound, late, outbox, webhooks, words: each finds what is wrong, no more."""

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from hashlib import sha384
from math import inf
from random import Random
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from benchmarks.webhooks.receiver import ReceivedWebhook
from izin.consent import Status
from izin.iys.wire_format.json_reader import to_turkish
from izin.schemas.words import fold, status_of
from tests.chaos.gate import __main__ as gate
from tests.chaos.gate.traffic import Answer, GivenYes, PublishedEvent
from tests.chaos.inbound import __main__ as inbound
from tests.chaos.late import __main__ as late
from tests.chaos.outbox import __main__ as outbox
from tests.chaos.webhooks import __main__ as webhooks
from tests.chaos.words import __main__ as words
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.builders import NOON, a_key
from tests.support.hostile.inputs import a_movement
from tests.support.proxy import Loss

KEY = str(a_key())
KNOWN_WITHIN = 4.0


def event(status: Status, minute: int, second: float, *, lost: bool = False) -> PublishedEvent:
    """Return an event that was acknowledged when it was published, or never."""
    return PublishedEvent(
        event_id="event-1",
        key=KEY,
        status=status,
        at=NOON + timedelta(minutes=minute),
        published_at=second,
        acknowledged_at=inf if lost else second,
    )


def saved(status: Status, minute: int, saved_at: float) -> gate.SavedMovement:
    """Return a movement at İYS."""
    return gate.SavedMovement(str(status), to_turkish(NOON + timedelta(minutes=minute)), saved_at)


OPT_IN = event(Status.ONAY, 0, 0)
OPT_OUT = event(Status.RET, 1, 10)
AGAIN = event(Status.ONAY, 2, 20)
HELD = saved(Status.ONAY, 0, 1)
WITHDRAWN = saved(Status.RET, 1, 11)
HELD_AGAIN = saved(Status.ONAY, 2, 21)


@pytest.mark.parametrize(
    ("asked_at", "events", "movements", "token", "fault"),
    [
        (5, [OPT_IN], [HELD], None, None),
        (13, [OPT_IN, OPT_OUT], [HELD], None, None),
        (15, [OPT_IN, OPT_OUT], [HELD], None, "after an opt-out"),
        (15, [OPT_IN, event(Status.RET, 1, 10, lost=True)], [HELD], None, None),
        (11, [OPT_IN, OPT_OUT], [HELD], OPT_OUT, "after the token's opt-out"),
        (18, [OPT_IN, OPT_OUT, AGAIN], [HELD], None, "after an opt-out"),
        (30, [OPT_IN, OPT_OUT, AGAIN], [HELD, WITHDRAWN, HELD_AGAIN], None, None),
        (30, [OPT_IN, OPT_OUT, AGAIN], [HELD, WITHDRAWN, HELD_AGAIN], OPT_OUT, None),
        (30, [OPT_IN, OPT_OUT, AGAIN], [HELD, WITHDRAWN], None, "İYS held no consent"),
        (30, [OPT_IN, OPT_OUT, AGAIN], [HELD, saved(Status.ONAY, 2, 32)], None, "İYS held no"),
        (30, [OPT_IN, event(Status.RET, -1, 10)], [HELD], None, None),
        (30, [OPT_IN, event(Status.RET, -1, 10)], [HELD], event(Status.RET, -1, 10), None),
        (30, [OPT_IN], [HELD, WITHDRAWN], None, "İYS held no consent"),
        (5, [OPT_IN], [], None, "İYS held no consent"),
    ],
    ids=[
        "registered",
        "opted-out-too-late-to-be-known",
        "opted-out-and-known",
        "opt-out-not-acknowledged",
        "opted-out-and-asked-with-its-token",
        "opted-in-again-later-than-asked",
        "opted-in-again",
        "opted-in-again-and-asked-with-a-token",
        "opted-in-again-and-not-registered",
        "registered-later-than-answered",
        "stale-opt-out",
        "stale-opt-out-and-asked-with-its-token",
        "opted-out-at-iys",
        "never-registered",
    ],
)
def test_a_wrong_yes_is_found(
    asked_at: float,
    events: list[PublishedEvent],
    movements: list[gate.SavedMovement],
    token: PublishedEvent | None,
    fault: str | None,
):
    """By what was acknowledged, published and saved before; a yes takes a second here."""
    yes = GivenYes(gate="gate-0", key=KEY, asked_at=asked_at, answered_at=asked_at + 1, token=token)
    found = gate.fault_of(yes, events, movements, known_within=KNOWN_WITHIN)
    if fault is None:
        assert found is None
    else:
        assert found is not None
        assert fault in found


def test_a_movement_of_the_simulator_is_read():
    """Its instant is in milliseconds there."""
    row = {
        "brandCode": 100001,
        "type": "MESAJ",
        "recipientType": "BIREYSEL",
        "recipient": "+905550000001",
        "status": "RET",
        "occurredAt": 11_000,
        "consentDate": to_turkish(NOON + timedelta(minutes=1)),
    }
    assert gate.movements_of([row]) == {KEY: [WITHDRAWN]}


def test_a_gate_that_says_something_else_is_found():
    """Another answer, another reason, and none at all."""
    yes, no = Answer(may_send=True, reason="registered"), Answer(may_send=False, reason="void")
    late = Answer(may_send=False, reason="stale")
    assert gate.disagreements({"gate-0": {"a": yes, "b": no}}, {"a": yes, "b": no}) == []
    assert len(gate.disagreements({"gate-0": {"a": no}, "gate-1": {"a": yes}}, {"a": yes})) == 1
    assert len(gate.disagreements({"gate-0": {"b": late}}, {"b": no})) == 1
    assert len(gate.disagreements({"gate-0": {}}, {"a": yes})) == 1


@pytest.mark.parametrize(
    ("changes", "figures", "failures"),
    [
        ({}, (0, 100), ()),
        ({"wrong": ("a yes",)}, (1, 100), ()),
        ({"granted": 0}, (0, 0), ()),
        ({"consenting": 0, "granted": 0}, (0, 0), ()),
        ({"unexplained": ("a key differs",)}, (0, 100), ("a key differs",)),
    ],
    ids=["right", "wrong-yes", "always-no", "nobody-to-ask", "difference"],
)
def test_a_campaign_is_short_for_each_fault(
    changes: dict[str, Any], figures: tuple[float, float], failures: tuple[str, ...]
):
    """A gate that always says no fails the run, as one does that says yes too often."""
    unseen: dict[str, Any] = dict.fromkeys(gate.GateVerdict.__dataclass_fields__, 0)
    right = {"reasons": {"registered": 2}, "failures": {}, "consenting": 4, "granted": 4}
    verdict = gate.GateVerdict(**unseen | right | {"wrong": (), "unexplained": ()} | changes)
    campaign: Any = SimpleNamespace(injected={}, recipients=4, refused=1, seed=1)
    found = gate.report(campaign, verdict, seconds=1)
    assert (tuple(found.figures.values()), tuple(found.failures)) == (figures, failures)


def test_every_fault_has_a_weight_and_a_target() -> None:
    """One without would never be injected, or hit nothing."""
    assert set(gate.WEIGHTS) == set(gate.PARTS) == set(gate.GateFault) > gate.KILLS


PULLED = inbound.RecordedFact(event_id="a", what="pull/IYS/a")
DAILY = inbound.RecordedFact(event_id="a", what="daily/IYS/a")
APPLIED = inbound.RecordedFact(event_id="a", what="Apply")
STALE = inbound.RecordedFact(event_id="a", what="Stale")


@pytest.mark.parametrize(
    ("facts", "missing", "double"),
    [
        ([PULLED, APPLIED], [], []),
        ([PULLED, APPLIED, STALE, DAILY], [], []),
        ([APPLIED], ["a"], []),
        ([PULLED], ["a"], []),
        ([DAILY, APPLIED], ["a"], []),
        ([PULLED, PULLED, APPLIED], [], ["a"]),
        ([PULLED, APPLIED, APPLIED], [], ["a"]),
    ],
    ids=[
        "once",
        "repeated",
        "not-pulled",
        "undecided",
        "file-only",
        "twice-pulled",
        "applied-twice",
    ],
)
def test_movement_that_is_missing_or_double_is_found(
    facts: list[inbound.RecordedFact], missing: list[str], double: list[str]
):
    """A repetition that was found stale is none: it changed nothing."""
    found = inbound.judge({"a"}, facts, {}, {})
    assert (found.missing, found.double, found.differing) == (missing, double, [])


def test_key_of_which_the_ledger_says_something_else_is_found():
    """Another status, and one that only one of both has."""
    found = inbound.judge((), (), {"a": "RET", "b": "ONAY", "c": "RET"}, {"a": "RET", "b": "RET"})
    assert [one.partition(":")[0] for one in found.differing] == ["b", "c"]


def test_movements_of_citizens_alone_are_expected():
    """One event each, however often İYS lists it."""
    ours = {**a_movement("+905550000001"), "source": "HS_WEB"}
    rows = [a_movement("+905550000001"), a_movement("+905550000001"), ours]
    assert len(inbound.expected_events(rows, ACTIVE, NOON)) == 1


RIGHT = inbound.judge({"a"}, [PULLED, APPLIED], {}, {})


@pytest.mark.parametrize(
    ("verdict", "figures", "failures"),
    [
        (RIGHT, (0, 0, 0), 0),
        (inbound.judge({"a"}, [], {}, {}), (1, 0, 0), 0),
        (inbound.judge({"a"}, [PULLED, PULLED, APPLIED], {}, {}), (0, 1, 0), 0),
        (inbound.judge({"a"}, [PULLED, APPLIED], {}, {"k": "RET"}), (0, 0, 1), 0),
        (replace(RIGHT, failed=["sink-0 ended"]), (0, 0, 0), 1),
        (inbound.judge((), (), {}, {}), (0, 0, 0), 1),
    ],
    ids=["right", "missing", "double", "differs", "ended", "nobody-acted"],
)
def test_campaign_is_short_for_each_fault(
    verdict: inbound.InboundVerdict, figures: tuple[int, ...], failures: int
):
    """Also where a process ended by itself, and where nothing happened."""
    campaign: Any = SimpleNamespace(citizens=1, seed=1, injected=Counter())
    found = inbound.report(campaign, verdict, seconds=1)
    assert (tuple(found.figures.values()), len(found.failures)) == (figures, failures)


def test_interrupted_file_that_is_not_whole_is_found() -> None:
    """Cut off, doubled, or altered."""
    content = b"line\n" * inbound.OPTED_IN
    digest = sha384(b"head\n" + content).hexdigest()
    fields: Any = {"lines": inbound.OPTED_IN, "hashed_prefix": b"head\n", "hash_value": digest}
    file: Any = SimpleNamespace(**fields)
    contents = (content, content * 2, content.replace(b"l", b"L", 1))
    assert [len(inbound.wrong_about_file(file, one)) for one in contents] == [0, 2, 1]


def test_interrupted_sweep_that_counts_a_page_twice_is_found() -> None:
    """In its row, or in the history alone."""
    sweep: Any = SimpleNamespace(counts=SimpleNamespace(queried=inbound.OPTED_IN))
    assert [
        len(inbound.wrong_about_sweep(sweep, inbound.OPTED_IN + more)) for more in (0, 1000)
    ] == [0, 1]


@pytest.mark.parametrize(
    ("visible", "faults"),
    [
        (["0/0/1"], []),
        ([], ["0/0/1 is committed, its records are visible [0, 0] times", "committed 0 times"]),
        (["0/0/1", "0/0/0"], ["0/0/0 is aborted", "0/0 was committed 2 times"]),
        (["0/0/1", "0/0/1"], ["0/0/1 is committed, its records are visible [2, 2] times"]),
        (["0/0/1", "7/7/7"], ["7/7/7 is nobody's"]),
    ],
    ids=["as-believed", "lost", "aborted", "doubled", "unknown"],
)
def test_verdict_finds_what_is_not_as_believed(visible: list[str], faults: list[str]) -> None:
    """A check that cannot fail says nothing."""
    keys = [f"{own}/{part}".encode() for own in visible for part in range(2)]
    found = late.wrong([a_writer()], keys)
    assert len(found) == len(faults)
    assert all(one in other for one, other in zip(faults, found, strict=True))


def test_verdict_finds_a_transaction_that_was_ended_early() -> None:
    """The part that was written before the late end is visible, the other one is not."""
    assert late.wrong([a_writer()], [b"0/0/1/0"]) == (
        "0/0/1 is committed, its records are visible [1, 0] times",
    )


def a_writer() -> late.LateWriter:
    """Return a writer whose only transaction was committed at the second attempt."""
    unused: Any = None
    return late.LateWriter(
        number=0,
        settings=unused,
        bootstrap_servers="",
        proxy=unused,
        random=unused,
        ends={"0/0/0": late.End.ABORTED, "0/0/1": late.End.COMMITTED},
        wanted={"0/0"},
    )


def test_losses_and_answers_are_in_the_report() -> None:
    """In the table and in JSON, with the seed that repeats them."""
    verdict = late.LateVerdict(
        transactions=2,
        losses=Counter({Loss.LATE: 2}),
        partitions_added_late=1,
        late_answers=Counter({47: 2}),
        wrong=(),
    )
    found = late.report(verdict, seed=5, seconds=1)
    assert found.tables[0] == "seed 5: 2 transactions in 1 s"
    data = json.loads(json.dumps(dict(found.data)))
    assert (data["losses"], data["late_answers"]) == ({"delivered late": 2}, {"error 47": 2})


def a_webhook(own: str, offset: int) -> ReceivedWebhook:
    """Return an event of one recipient."""
    data = {
        "brand_code": 100001,
        "type": "MESAJ",
        "recipient": "+905550000001",
        "topic": "t",
        "partition": 0,
        "offset": offset,
    }
    return ReceivedWebhook("/", {"webhook-id": own}, orjson.dumps({"data": data}), 0.0)


@pytest.mark.parametrize(
    ("came", "faults"),
    [
        ([("a", 1), ("b", 2)], []),
        ([("a", 1), ("a", 1), ("b", 2)], []),
        ([("a", 1)], ["('t', 0, 2) was never taken"]),
        ([("b", 2), ("a", 1)], ["1 came after 2"]),
        ([("a", 1), ("c", 1), ("b", 2)], ["('t', 0, 1) came as ['a', 'c']"]),
        ([("a", 1), ("b", 2), ("d", 3)], ["('t', 0, 3) was never written", "came as ['d']"]),
    ],
    ids=["as-written", "repeated", "lost", "out-of-order", "another-id", "never-written"],
)
def test_verdict_finds_what_is_wrong(came: list[tuple[str, int]], faults: list[str]) -> None:
    """A check that cannot fail says nothing."""
    subscriber = webhooks.FailingSubscriber(Random(1), 0)
    for own, offset in came:
        subscriber(a_webhook(own, offset))
    found = webhooks.differences(subscriber, {("t", 0, 1): "a", ("t", 0, 2): "b"})
    assert len(found) == len(faults)
    assert all(one in other for one, other in zip(faults, found, strict=True))


def test_failures_are_in_the_report() -> None:
    """By kind, in the table and in JSON."""
    verdict = webhooks.WebhookVerdict(
        events=1, deliveries=1, repeated=0, failures=Counter({"late": 2}), unexplained=()
    )
    campaign: Any = SimpleNamespace(injected=Counter(), subscribers=1, seed=1)
    found = webhooks.report(campaign, verdict, seconds=1)
    assert "2 × late" in found.tables
    assert orjson.loads(orjson.dumps(dict(found.data)))["failures"] == {"late": 2}


def test_verdict_finds_an_event_that_overtakes_a_refused_one() -> None:
    """The recipient's earlier event must be taken first."""
    subscriber = webhooks.FailingSubscriber(Random(1), 1, share=1.0)
    subscriber.random.choice = lambda some: some[0]  # type: ignore[method-assign]
    subscriber(a_webhook("a", 1))
    subscriber(a_webhook("b", 2))
    assert subscriber.faults == ["('100001/MESAJ/+905550000001', 't'): 2 came before 1 was taken"]


def test_generated_words_invent_no_consent():
    """And lose no opt-out; what docs and tests use is read as before, or has a reason."""
    found = words.run(pairs=5000, seed=21)
    assert (found.invented, found.lost, found.broken) == ([], [], [])
    assert min(found.consents, found.opt_outs, found.stopped, len(found.changed)) > 0
    figures = words.report(found, seed=21).figures
    assert (figures["words"], figures["words-invented"], figures["words-lost"]) == (5000, 0, 0)


def test_word_that_is_read_by_its_letters_is_found(monkeypatch: pytest.MonkeyPatch):
    """As it was before: whatever stood beside them was left out."""
    monkeypatch.setattr(words, "said", lambda _name, word, **_: status_of(fold(word)))
    found = words.run(pairs=2000, seed=21)
    assert found.invented
    assert words.report(found, seed=21).figures["words-invented"] == len(found.invented)


def test_verdict_on_an_outbox_finds_what_is_lost_invented_or_two():
    """Written twice under one id is once."""
    published = [("a", "1"), ("a", "1"), ("b", "2"), ("b", "3"), ("undone-1", "4")]
    found = outbox.verdict(["a", "b", "late"], published, attempts=9)
    assert (found.commits, found.repeated) == (3, 2)
    assert (found.missing, found.undone, found.ids) == (["late"], ["undone-1"], ["b"])
    campaign: Any = SimpleNamespace(injected=Counter({outbox.OutboxFault.KILL: 2}))
    report = outbox.report(campaign, found, seed=1, idle=20, seconds=1)
    assert "2 × kill -9 of the relay" in report.tables
    assert {name: value for name, value in report.figures.items() if value} == {
        "outbox-commits": 3,
        "outbox-missing": 1,
        "outbox-undone": 1,
        "outbox-ids": 1,
    }
