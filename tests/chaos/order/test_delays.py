"""How long opt-outs waited is found from the topics, less the outages of their own partitions."""

from datetime import timedelta

import pytest

from izin.consent import decide
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro
from izin.streams.fetched_record import APPENDED_AT
from izin.streams.outputs import REPARTITIONED
from tests.chaos.order.test_checker import CommittedMessage
from tests.support.builders import NOON, a_decision_record, a_ret, an_admitted_event
from tests.support.order.verdict import DecidedEvent, OptOutDelays, Outage, decided_events

SETTINGS = KafkaSettings()
CODEC = Codec()


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

    def event_at(offset: int, of: object, headers: list[tuple[str, bytes]]) -> CommittedMessage:
        value = CODEC.encode("ConsentEvent", event_to_avro(of))
        return CommittedMessage(
            at=(topics.events.name, 3, offset),
            content=value,
            about=headers,
            when=int(again.timestamp() * 1000),
        )

    moved = [
        (REPARTITIONED, f"{topics.events.name}/7/12".encode()),
        (APPENDED_AT, str(int(first.timestamp() * 1000)).encode()),
    ]
    log = {
        topics.events.name: [event_at(0, ret.event, moved), event_at(1, onay.event, [])],
        topics.decisions.name: [
            CommittedMessage(
                at=(topics.decisions.name, 3, offset),
                content=CODEC.encode(
                    "Decision",
                    a_decision_record(
                        decide(None, of), topic=topics.events.name, partition=3, offset=offset
                    ),
                ),
                when=int(decided.timestamp() * 1000),
            )
            for offset, of in enumerate((ret, onay))
        ],
    }
    found = list(decided_events(SETTINGS, read=lambda _, topic: log.get(topic, [])))
    assert [(one.wait(), one.partitions, one.is_opt_out) for one in found] == [
        (120.0, (3, 7), True),
        (60.0, (3,), False),
    ]
