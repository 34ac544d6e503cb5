"""Batches that Kafka stores and that a client may fail to unpack, on a real broker."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from izin.consent.model import Status
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.records import MAX_COPIED_BYTES
from tests.support.builders import a_key, an_event
from tests.support.hostile.batches import (
    HOSTILE,
    READABLE,
    UNREADABLE,
    ZSTD,
    BatchRefusedError,
    KeyValue,
    RawProducer,
    batch_of,
)
from tests.support.order.harness import CODEC, a_record
from tests.support.order.verdict import backlog, committed_records
from tests.support.order.workers import Worker, all_held, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

BOMB = 1 << 20
"""The bytes of each record of a batch that is small until it is unpacked."""


def opt_outs(first: int, count: int = 3) -> list[KeyValue]:
    """Return opt-outs of recipients of these numbers."""
    found: list[KeyValue] = []
    for number in range(first, first + count):
        recipient = f"+90555{number:07d}"
        event = an_event(event_id=recipient, recipient=recipient, status=Status.RET)
        found.append((a_key(recipient=recipient).encode(), a_record(event).value))
    return found


def decided(settings: KafkaSettings) -> set[bytes]:
    """Return the keys that have a row."""
    rows = committed_records(settings, settings.topics.desired_consents.name)
    return {message.key() or b"" for message in rows}


def letters(settings: KafkaSettings) -> list[Mapping[str, Any]]:
    """Return the dead letters."""
    found = committed_records(settings, settings.topics.dead_letters.name)
    return [CODEC.decode("DeadLetter", one.value() or b"") for one in found]


def test_broker_stores_what_the_lists_say(make_settings: Callable[[int], KafkaSettings]) -> None:
    """A release of Kafka that looks closer, or less closely, is noticed."""
    settings = make_settings(1)
    stored = []
    with RawProducer(settings) as raw:
        for name, make in HOSTILE.items():
            try:
                raw.produce(settings.topics.events.name, 0, make(opt_outs(0)))
            except BatchRefusedError:
                continue
            stored.append(name)
    assert sorted(stored) == sorted([*READABLE, *UNREADABLE])


def test_batch_that_cannot_be_unpacked_harms_only_itself(
    make_settings: Callable[[int], KafkaSettings],
    start_worker: Callable[[str, KafkaSettings], Worker],
) -> None:
    """What Java's client reads is decided. Each other batch is a critical dead letter with its
    offsets and its bytes, in parts where it is large; whatever is behind it is decided.
    """
    settings = make_settings(1)
    keys, places = set[bytes](), {}
    with RawProducer(settings) as raw:
        for number, name in enumerate((*READABLE, *UNREADABLE)):
            of, behind = opt_outs(100 * number), opt_outs(100 * number + 50)
            lane = (settings.topics.express, settings.topics.events)[number % 2].name
            batch = HOSTILE[name](of)
            offset = raw.produce(lane, 0, batch)
            raw.produce(lane, 0, batch_of(behind))
            keys |= {key or b"" for key, _ in [*behind, *(of if name in READABLE else ())]}
            if name in UNREADABLE:
                places[lane, offset] = batch[8:]
        large = [*opt_outs(9000), (b"x", bytes(3 * MAX_COPIED_BYTES)), *opt_outs(9100)]
        batch = HOSTILE["plain offsets repeat"](large)
        places[lane, raw.produce(lane, 0, batch)] = batch[8:]
    worker = start_worker("one", settings)
    until(lambda: all_held([worker], 1), within=60, what="owner")
    until(lambda: not backlog(settings), within=60, what="end of the backlog")
    assert decided(settings) >= keys
    assert "opt-out dead-lettered" in worker.log.read_text(encoding="utf-8")
    assert worker.end() == 0
    found = dict[tuple[str, int], bytes]()
    for one in letters(settings):
        assert one["reason"] == "unreadable-batch"
        headers = {header["name"]: header["value"].decode() for header in one["headers"]}
        first, last = map(int, headers["izin-batch-offsets"].split("-"))
        base = int.from_bytes(found.setdefault((one["topic"], first), one["value"])[:8], "big")
        if headers["izin-batch-part"].split("/")[0] != "1":
            found[one["topic"], first] += one["value"]
        assert base <= first == one["offset"] <= last
    # The broker changes offset, epoch, and instants of a batch: the records are as they were sent.
    assert {place[0] for place in found} == {lane for lane, _ in places}
    assert sorted(one[61:] for one in found.values()) == sorted(one[53:] for one in places.values())


def test_batch_that_unpacks_to_too_much_is_cut(
    make_settings: Callable[[int], KafkaSettings],
    start_worker: Callable[[str, KafkaSettings], Worker],
) -> None:
    """The opt-outs in front are decided, and those of everybody else; the rest is a critical dead
    letter.
    """
    settings = make_settings(1)
    lane = settings.topics.events.name
    with RawProducer(settings) as raw:
        of = [*opt_outs(0), *[(b"x", bytes(BOMB))] * 100, *opt_outs(50)]
        raw.produce(lane, 0, batch_of(of, ZSTD))
        raw.produce(lane, 0, batch_of(behind := opt_outs(90)))
    worker = start_worker("one", settings)
    until(lambda: all_held([worker], 1), within=60, what="owner")
    until(lambda: not backlog(settings), within=60, what="end of the backlog")
    assert worker.end() == 0
    assert decided(settings) == {key for key, _ in [*opt_outs(0), *behind]}
    *_, last = letters(settings)
    assert (last["reason"], last["partition"]) == ("unreadable-batch", 0)


def test_topic_of_dead_letters_that_is_away_delays_no_opt_out(
    make_settings: Callable[[int], KafkaSettings],
    start_worker: Callable[[str, KafkaSettings], Worker],
) -> None:
    """Behind a batch with a dead letter opt-outs are decided; the dead letter is written once it
    can be.
    """
    settings = make_settings(1)

    def limit(size: int) -> None:
        entry = ConfigEntry(
            "max.message.bytes", f"{size}", incremental_operation=AlterConfigOpType.SET
        )
        wanted = ConfigResource(
            ResourceType.TOPIC, settings.topics.dead_letters.name, incremental_configs=[entry]
        )
        admin = kafka.admin(settings)
        admin.incremental_alter_configs([wanted])[wanted].result(10)

    limit(128)  # of which a transaction's marker has room
    worker = start_worker("one", settings)
    until(lambda: all_held([worker], 1), within=60, what="owner")
    lane = settings.topics.express.name
    with RawProducer(settings) as raw:
        raw.produce(lane, 0, batch_of([(b"junk", b"junk"), *opt_outs(0)]))
        raw.produce(lane, 0, batch_of(opt_outs(50)))
    keys = {key for key, _ in [*opt_outs(0), *opt_outs(50)]}
    until(lambda: decided(settings) == keys, within=60, what="decision of the opt-outs")
    assert letters(settings) == []
    limit(1 << 20)
    until(lambda: not backlog(settings), within=60, what="end of the backlog")
    assert [one["reason"] for one in letters(settings)] == ["undecodable"]
    assert worker.end() == 0
