"""What is around the ledger of forty customers: topics, what İYS lists, and files."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from izin.consent import TURKEY, Channel, ConsentEvent, violation
from izin.runtime.kafka import admin, committed_ends, producer
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import identities
from izin.schemas.api_keys import Scope
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro, headers
from izin.schemas.topics import Topic
from tests.integration.sinks.sink_harness import ACTIVE, SinkHarness
from tests.support.api_keys import a_second_key, an_api_key, publish_key
from tests.support.builders import BRAND, PHONE, an_event
from tests.support.customers import lies
from tests.support.customers.installation import (
    FOREIGN_BRAND,
    OFFERED_BRAND,
    PARTNER,
    OneBrand,
)
from tests.support.order.deciding import decide_all
from tests.support.replay.dead_letters import a_letter_of
from tests.support.simulator import PASSWORD, USERNAME, SimulatorAdmin
from tests.support.subscribers.published import a_permission, an_outcome

_OWN_LETTERS = 4
_LISTED = 8
"""So many brands are at İYS, ours first."""
_INGESTED = """INSERT INTO kafka_offsets (topic, partition, next_offset, cluster_id, topic_id,
    read_until)
VALUES (%(topic)s, %(number)s, %(end)s, %(cluster)s, %(topic_id)s, now()) RETURNING topic"""
_HEADER = "telefon;kanal;durum;kaynak;tarih;marka"


def fill_topics(kafka: KafkaSettings, brands: Sequence[OneBrand]) -> None:
    """Fill the topics: events with the decisions on them, permissions, outcomes, dead letters, API
    keys; ours come first.
    """
    topics, now = kafka.topics, datetime.now(UTC)
    client, codec = producer(kafka), Codec()
    lies.publish(kafka, lies.of_others(brands))

    def write(topic: Topic, key: object, record: dict[str, Any], **where: int) -> None:
        named = headers(record=topic.record, event_id=str(key), source="/izin/test", at=now)
        value = codec.encode(topic.record, record)
        client.produce(topic.name, value, str(key).encode(), headers=named, **where)
        client.poll(0)

    for one in brands:
        whose = {"brand_code": one.code, "customer_id": one.customer}
        write(topics.brands, one.code, whose | _brand_fields(one))
        fresh = {"type": str(Channel.MESAJ), "last_pulled_at": now, "pulled_until": now}
        write(topics.freshness, f"{one.code}/MESAJ", whose | fresh)
        for recipient, status in zip(
            (PHONE, *one.recipients), ("ONAY", "ONAY", "RET"), strict=True
        ):
            key, event = one.key(recipient), _event(one, recipient, status)
            write(topics.events, key, event_to_avro(event))
            write(topics.permissions, key, a_permission(key, now, **whose))
            named = {"outcome_id": f"o-{event.event_id}", "event_id": event.event_id}
            write(topics.outcomes, key, an_outcome(key, **whose, **named))
    for one in (*brands[:1] * (_OWN_LETTERS - 1), *brands[1:]):
        event = _event(one, one.recipients[0], "ONAY")
        wrong = [violation("source", "H113")]
        place = {"topic": topics.events.name, "timestamp": int(now.timestamp() * 1000)}
        letter = a_letter_of(event, "poison", wrong, **place)
        write(topics.dead_letters, event.event_id, letter, partition=0)
    assert client.flush(20) == 0
    lies.publish_letters(kafka, lies.of_others(brands))
    scopes = frozenset(map(str, Scope))
    publish_key(kafka, an_api_key(name="key-acme", scopes=scopes))
    theirs = {"name": "key-foreign-2", "customers": frozenset({"foreign-2"})}
    publish_key(kafka, a_second_key(scopes=scopes, **theirs)[1])
    decide_all(kafka, at_once=1000)


def _brand_fields(one: OneBrand) -> dict[str, Any]:
    return {
        "iys_code": one.iys_code,
        "name": one.name,
        "activated_at": ACTIVE.activated_at,
        "loading_deadline": None,
        "status": "active",
        "suspension": None if one.is_ours else f"by {one.customer}",
    }


def _event(one: OneBrand, recipient: str, status: str) -> ConsentEvent:
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
    return an_event(
        customer_id=one.customer,
        brand_code=one.code,
        recipient=recipient,
        status=status,
        event_id=f"{status.lower()}-of-{one.customer}-{one.code}-{recipient[-2:]}",
        origin=f"crm-{one.customer}",
        consent_date=at,
        received_at=at,
    )


def fill_simulator(iys: SimulatorAdmin, brands: Sequence[OneBrand]) -> None:
    """Have İYS list our brands and some of others, one of which is not registered here."""
    iys.post("accounts", username=USERNAME, password=PASSWORD, iysCode=PARTNER, isIntegrator=True)
    grants = [{"integratorCode": PARTNER, "rights": {"MESAJ": "write"}}]
    for one in brands[:_LISTED]:
        of_brand = {"brandCode": one.code, "iysCode": one.iys_code, "name": one.name}
        iys.post("brands", **of_brand, grants=grants)
    iys.post(
        "brands",
        brandCode=OFFERED_BRAND,
        iysCode=FOREIGN_BRAND,
        name="Yabancı yeni marka",
        grants=grants,
    )


def fill_files(folder: Path) -> Mapping[str, Path]:
    """Write what commands read: an address book of ours, one with a row of another, and a list of
    recipients.
    """
    at = (datetime.now(TURKEY) - timedelta(hours=3)).strftime("%d.%m.%Y %H:%M:%S")
    ours = [f"0555 100 02 {number};MESAJ;ONAY;HS_WEB;{at};{BRAND}" for number in (31, 32)]
    theirs = f"0555 100 02 33;MESAJ;ONAY;HS_WEB;{at};{FOREIGN_BRAND}"
    content = {
        "book": [_HEADER, *ours],
        "mixed": [_HEADER, *ours, theirs],
        "addresses": ["Telefon", PHONE, "+905551000011", "+905551000012", "+905550000009"],
    }
    paths = {name: folder / f"{name}.csv" for name in content}
    for name, path in paths.items():
        path.write_text("\n".join((*content[name], "")), "utf-8")
    return paths


async def note_ingested(harness: SinkHarness) -> None:
    """Have the ledger say that it has taken every decision."""
    kafka = harness.settings
    topic = kafka.topics.decisions.name
    known = await asyncio.to_thread(identities, admin(kafka), [topic])
    for number, end in (await asyncio.to_thread(committed_ends, kafka, topic)).items():
        place = {"topic": topic, "topic_id": known.topic_ids[topic], "cluster": known.cluster_id}
        await harness.ledger.fetch(_INGESTED, place | {"number": number, "end": end})
