"""The checker of the campaign finds each violated guarantee.

The verdict of a campaign of the order stage, and its exit code.
How long opt-outs waited is found from the topics, less the outages of their own partitions.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from izin.consent import decide
from izin.kafka import clients
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.partitioning import partition_of
from izin.schemas.records import event_to_avro
from izin.streams.fetched_record import APPENDED_AT
from izin.streams.order import OrderStage
from izin.streams.outputs import BATCH_OFFSETS, BATCH_PART, REPARTITIONED
from izin.streams.state.state import MemoryState
from tests.chaos.hostile.records import Account
from tests.chaos.order import __main__ as rolling_restarts
from tests.chaos.order.__main__ import OrderRun, RollingRestarts, longest_wait, report
from tests.chaos.test_harness import short_figures
from tests.support.builders import (
    NOON,
    a_decision_record,
    a_key,
    a_ret,
    an_admitted_event,
    an_event,
    kafka_message,
)
from tests.support.hostile.batches import HOSTILE, UNREADABLE, RawProducer
from tests.support.order.harness import APPENDED, fetched
from tests.support.order.verdict import (
    DecidedEvent,
    OptOutDelays,
    OrderVerdict,
    Outage,
    committed_records,
    decided_events,
    examine,
)
from tests.support.published import transaction

SETTINGS = KafkaSettings(partitions=3)
TOPICS = SETTINGS.topics
CODEC = Codec()
HOME = partition_of(a_key().encode(), SETTINGS.partitions)


Log = dict[str, list[Any]]
"""By topic: committed messages, as the client gives them."""


def committed(at: tuple[str, int, int], value: bytes | None, **more: object) -> Any:  # noqa: ANN401  # a Message
    """Return a committed message."""
    topic, partition, offset = at
    given = {"key": None, "headers": [], "timestamp": (2, APPENDED)} | more
    return kafka_message(topic=topic, partition=partition, offset=offset, value=value, **given)


def a_log() -> Log:
    """Return what a faultless order stage leaves of changes of mind, a repeat and rubbish."""
    said = [
        ("ONAY", 10, "first"),
        ("RET", 20, "no"),
        ("ONAY", 15, "stale"),
        ("RET", 20, "no"),
        ("ONAY", 30, "again"),
        ("RET", 40, "no again"),
    ]
    values = [
        CODEC.encode(
            "ConsentEvent",
            event_to_avro(
                an_event(
                    status=status,
                    event_id=name,
                    consent_date=NOON + timedelta(seconds=at),
                    received_at=NOON + timedelta(seconds=60),
                )
            ),
        )
        for status, at, name in said
    ]
    log: Log = defaultdict(list)
    records = [
        fetched(topic=TOPICS.events.name, partition=HOME, offset=offset, value=value)
        for offset, value in enumerate([*values, b"rubbish"])
    ]
    for record in records:
        at = (record.topic, record.partition, record.offset)
        log[record.topic].append(committed(at, record.value))
    stage = OrderStage(topics=TOPICS, partitions=SETTINGS.partitions, codec=CODEC)
    for write in stage.fold(HOME, records, MemoryState()).writes:
        there = log[write.topic]
        at = (write.topic, write.partition or 0, len(there))
        there.append(committed(at, write.value, key=write.key))
    return log


def judged(log: Log) -> OrderVerdict:
    return examine(SETTINGS, CODEC, read=lambda _, topic: iter(log[topic]))


def drop(topic: str, number: int) -> Callable[[Log], None]:
    return lambda log: log[topic].__delitem__(number)


def double(topic: str, number: int) -> Callable[[Log], None]:
    return lambda log: log[topic].append(log[topic][number])


def swap_rows(log: Log) -> None:
    rows = log[TOPICS.desired_consents.name]
    rows[0], rows[1] = rows[1], rows[0]


def misplace(log: Log) -> None:
    elsewhere = (TOPICS.events.name, (HOME + 1) % SETTINGS.partitions, 0)
    log[TOPICS.events.name].append(committed(elsewhere, log[TOPICS.events.name][0].value()))


def test_a_faultless_log_is_found_faultless() -> None:
    """Nothing is reported where every guarantee held, and everything was read."""
    verdict = judged(a_log())
    assert verdict.faultless, str(verdict)
    expected = {"events": 7, "decisions": 5, "duplicates": 1, "dead": 1, "opt-outs": 2, "keys": 1}
    assert expected.items() <= verdict.counts.items()


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (drop(TOPICS.decisions.name, 0), "missing"),
        (drop(TOPICS.dead_letters.name, 0), "missing"),
        (misplace, "missing"),
        (double(TOPICS.decisions.name, 2), "doubled"),
        (double(TOPICS.dead_letters.name, 0), "doubled"),
        (swap_rows, "regressions"),
        (double(TOPICS.desired_consents.name, 0), "regressions"),
        (drop(TOPICS.desired_consents.name, -1), "wrong"),
        (drop(TOPICS.opt_outs.name, 0), "opt_outs"),
        (double(TOPICS.opt_outs.name, 1), "opt_outs"),
    ],
)
def test_a_broken_promise_is_seen(spoil: Callable[[Log], None], found: str) -> None:
    """Missing, doubled, reverted, wrong or unpublished events are found, by name."""
    log = a_log()
    spoil(log)
    verdict = judged(log)
    assert not verdict.faultless
    assert getattr(verdict, found), str(verdict)


def test_hostile_places_are_not_compared_and_parts_not_doubled() -> None:
    """Others account for what came of them: for a batch, letters in parts; for a RET, a row."""
    log = a_log()
    hostile = (TOPICS.events.name, HOME, 100)
    log[TOPICS.events.name].append(committed(hostile, b"anything"))
    letter = CODEC.decode("DeadLetter", log[TOPICS.dead_letters.name][0].value() or b"")
    for number in (1, 2):
        headers = [
            {"name": BATCH_OFFSETS, "value": b"100-102"},
            {"name": BATCH_PART, "value": f"{number}/2".encode()},
        ]
        part = CODEC.encode("DeadLetter", {**letter, "offset": 100, "headers": headers})
        at = (TOPICS.dead_letters.name, 0, number)
        log[TOPICS.dead_letters.name].append(committed(at, part))

    def read(_: KafkaSettings, topic: str) -> list[Any]:
        return log[topic]

    verdict = examine(SETTINGS, CODEC, read=read, hostile={hostile})
    assert verdict.faultless, str(verdict)
    double(TOPICS.dead_letters.name, -1)(log)
    assert examine(SETTINGS, CODEC, read=read, hostile={hostile}).doubled == [hostile]


@pytest.mark.broker
def test_reader_jumps_over_batches_that_cannot_be_unpacked(
    make_settings: Callable[[int], KafkaSettings],
) -> None:
    """Whatever librdkafka does about them, behind a record as behind the marker of another's."""
    settings = make_settings(len(UNREADABLE))
    topic = settings.topics.events.name
    producer, spared = clients.producer(settings), set[tuple[str, int, int]]()
    with RawProducer(settings) as raw:
        for number, name in enumerate(UNREADABLE):
            for is_behind_marker in (False, True):
                producer.produce(topic, b"read", partition=number)
                assert producer.flush(20) == 0
                if is_behind_marker:
                    abort_in(settings, topic, number)
                first = raw.produce(topic, number, HOSTILE[name]([(b"key", b"value" * 9)] * 3))
                spared |= {(topic, number, first + index) for index in range(3)}
            producer.produce(topic, b"last", partition=number)
        assert producer.flush(20) == 0
    found = defaultdict(list)
    for message in committed_records(settings, topic, without=spared):
        found[message.partition()].append(message.value())
    assert found == {number: [b"read", b"read", b"last"] for number in range(len(UNREADABLE))}


def abort_in(settings: KafkaSettings, topic: str, partition: int) -> None:
    """Leave the marker of a transaction that was aborted."""
    foreign = transaction(settings, "foreign")
    foreign.produce(topic, b"aborted", partition=partition)
    assert foreign.flush(20) == 0
    foreign.abort_transaction(20)


def a_run(
    *,
    verdict: OrderVerdict,
    recovered: bool = True,
    status: int = 0,
    delay: float = 1,
    wrong: tuple[str, ...] = (),
) -> OrderRun:
    return OrderRun(
        brokers=1,
        seconds=1,
        injected=[],
        ended=Counter(),
        statuses=Counter({status: 1}),
        slowest_end=1,
        stop_reasons=Counter(),
        verdict=verdict,
        began_at=0,
        delays=OptOutDelays([(delay, DecidedEvent(0, delay, (0,), is_opt_out=True))]),
        hostile=Account(fates={}, wrong=wrong),
        recovered=recovered,
    )


def rolling(*, stall: float = 1, end: float = 1, status: int = 0) -> RollingRestarts:
    return RollingRestarts(
        rounds=1, ends=[end], statuses={status}, stall=stall, verdict=OrderVerdict(), recovered=True
    )


@pytest.mark.parametrize(
    ("run", "restarts", "short"),
    [
        (a_run(verdict=OrderVerdict()), rolling(), set()),
        (a_run(verdict=OrderVerdict(missing=[("a", 0, 1)])), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict(doubled=[("a", 0, 1)])), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict(regressions=[b"k"])), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict(wrong=[b"k"])), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict(opt_outs=[b"k"])), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict(), recovered=False), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict(), status=70), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict(), wrong=("a",)), rolling(), {"order-violations"}),
        (a_run(verdict=OrderVerdict()), rolling(status=70), {"order-violations"}),
        (a_run(verdict=OrderVerdict(), delay=30.1), rolling(), {"order-opt-out-delay"}),
        (a_run(verdict=OrderVerdict()), rolling(stall=5.1), {"rolling-stall"}),
        (a_run(verdict=OrderVerdict()), rolling(end=5.1), {"rolling-end"}),
    ],
)
def test_a_campaign_with_a_broken_promise_is_short(
    run: OrderRun,
    restarts: RollingRestarts,
    short: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    """Each violation shows in the last lines and in the exit code."""
    assert short_figures("order", report([run], restarts, seed=1), tmp_path, capsys) == short


def test_longest_wait_is_from_append_to_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event appended before the workers started does not count; it need be no opt-out."""
    decided = [(0.5, 9.0), (2.0, 4.5), (3.0, 3.1)]
    monkeypatch.setattr(
        rolling_restarts,
        "decided_events",
        lambda _: [DecidedEvent(*one, (0,), is_opt_out=False) for one in decided],
    )

    assert longest_wait(KafkaSettings(), since=1.0) == 2.5


def waited(*outages: Outage) -> float:
    """Return the wait of an opt-out of the partition 3 from 100 to 160."""
    return DecidedEvent(100.0, 160.0, (3,), is_opt_out=True).wait(outages)


@pytest.mark.parametrize(
    ("outages", "seconds"),
    [
        ([], 60),
        ([Outage(110, 120)], 50),
        ([Outage(110, 120, partition=3)], 50),
        ([Outage(110, 120, partition=4)], 60),
        ([Outage(10, 99)], 60),
        ([Outage(90, 110), Outage(150, 170)], 40),
        ([Outage(110, 130), Outage(115, 120), Outage(125, 140)], 30),
        ([Outage(150)], 50),
    ],
)
def test_a_wait_is_less_its_own_outages(outages: list[Outage], seconds: float) -> None:
    """Those of other partitions count, and what overlaps is taken off once."""
    assert waited(*outages) == waited(*reversed(outages)) == seconds


def test_delays_are_summed_up() -> None:
    """Percentiles are of the sorted waits, and the late ones are counted."""
    waits = [30.1, *[1.0] * 98, 29.9]
    delays = OptOutDelays((one, DecidedEvent(0, one, (0,), is_opt_out=True)) for one in waits)
    assert [delays.at(share) for share in (0.5, 0.99, 1)] == [1.0, 29.9, 30.1]
    assert [one.readable for one in delays.late] == [30.1]
    assert OptOutDelays([]).at(1) == 0.0


def test_decided_events_are_read_from_the_topics() -> None:
    """A repartitioned event waits since its first append, in both of its partitions."""
    topics = SETTINGS.topics
    ret, onay = a_ret(), an_admitted_event()
    first, again, decided = (NOON + timedelta(minutes=one) for one in (1, 2, 3))

    def event_at(offset: int, of: object, headers: list[tuple[str, bytes]]) -> Any:  # noqa: ANN401  # a Message
        value, at = CODEC.encode("ConsentEvent", event_to_avro(of)), int(again.timestamp() * 1000)
        return committed((topics.events.name, 3, offset), value, headers=headers, timestamp=(2, at))

    moved = [
        (REPARTITIONED, f"{topics.events.name}/7/12".encode()),
        (APPENDED_AT, str(int(first.timestamp() * 1000)).encode()),
    ]
    log = {
        topics.events.name: [event_at(0, ret.event, moved), event_at(1, onay.event, [])],
        topics.decisions.name: [
            committed(
                (topics.decisions.name, 3, offset),
                CODEC.encode(
                    "Decision",
                    a_decision_record(
                        decide(None, of), topic=topics.events.name, partition=3, offset=offset
                    ),
                ),
                timestamp=(2, int(decided.timestamp() * 1000)),
            )
            for offset, of in enumerate((ret, onay))
        ],
    }
    found = list(decided_events(SETTINGS, read=lambda _, topic: log.get(topic, [])))
    assert [(one.wait(), one.partitions, one.is_opt_out) for one in found] == [
        (120.0, (3, 7), True),
        (60.0, (3,), False),
    ]
