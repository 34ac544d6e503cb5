"""An installation of forty customers with a hundred brands: what its ledger has, and its names.

Each customer has something of every kind. ``acme`` is ours, with two brands; all ids, names, brand
codes and recipients of the others are found by ``traces``.

Around the ledger are topics, what İYS lists, and files. Some events and records lie about their
customer: whoever may publish for one brand can write any customer into an event, and with it into
all that is made of the event. Whose it is, the brand says.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from izin.consent import TURKEY, Channel, ConsentEvent, ConsentKey, violation
from izin.kafka.clients import admin, committed_ends, identities, producer
from izin.ledger.daily.lines import packed
from izin.ledger.history import HistoryEntry, act, append, brand_key, customer_key, entries_of
from izin.runtime.settings import KafkaSettings
from izin.schemas.api_keys import Scope
from izin.schemas.codec import Codec
from izin.schemas.records import AvroRecord, event_to_avro, headers
from izin.schemas.topics import Topic
from tests.integration.sinks.sink_harness import ACTIVE, SinkHarness, onay
from tests.support.builders import (
    API_KEY,
    BRAND,
    CUSTOMER,
    PHONE,
    a_key,
    a_second_key,
    an_api_key,
    an_event,
)
from tests.support.order.harness import decide_all
from tests.support.published import (
    a_permission,
    a_receipt,
    an_opt_out,
    an_outcome,
    publish_key,
)
from tests.support.replay.dead_letters import a_letter_of
from tests.support.secret_keys import key_setting
from tests.support.simulator import PASSWORD, USERNAME, SimulatorAdmin

CUSTOMERS, BRANDS = 40, 100
OWN_BRANDS = (BRAND, BRAND + 1)
FOREIGN_BRAND, OFFERED_BRAND = 900001, 950001
FOREIGN_RECIPIENT = "+905590010177"
"""Of ``FOREIGN_BRAND`` alone."""
PARTNER = 700001
_TABLES = Path(__file__).parent / "forty_customers.sql"
_BRANDS = "SELECT * FROM brands ORDER BY customer_id <> 'acme', brand_code"
_DAY = """INSERT INTO daily_files (brand_code, day, state, noted_at, next_attempt_at,
    process_status, hash_value, hashed_prefix, lines, fetched_at, own_hash, only_at_iys, only_here,
    compared_at)
VALUES (%(brand)s, %(day)s, 'compared', now(), now(), 'COMPLETED', %(hash)s, '', 1, now(), %(hash)s,
    0, 0, now())"""
_PART = "INSERT INTO daily_parts VALUES (%(brand)s, %(day)s, 0, %(content)s)"
UNREGISTERED_BRAND = 940099
FOREIGN_CUSTOMER = "foreign-2"
"""Whose ``FOREIGN_BRAND`` is."""
_OWN_LETTERS = 4
_LISTED = 8
"""So many brands are at İYS, ours first."""
_INGESTED = """INSERT INTO kafka_offsets (topic, partition, next_offset, cluster_id, topic_id,
    read_until)
VALUES (%(topic)s, %(number)s, %(end)s, %(cluster)s, %(topic_id)s, now()) RETURNING topic"""
_HEADER = "telefon;kanal;durum;kaynak;tarih;marka"


@dataclass(frozen=True, slots=True, kw_only=True)
class OneBrand:
    """A brand with whose it is."""

    code: int
    iys_code: int
    customer: str
    name: str

    @property
    def is_ours(self) -> bool:
        """Whether it is a brand of ``acme``."""
        return self.customer == CUSTOMER

    @property
    def recipients(self) -> tuple[str, str]:
        """A recipient whose consent is parked, and one who opted out, as the tables have them."""
        if self.is_ours:
            return f"+90555{self.code}1", f"+90555{self.code}2"
        return f"+90559{self.code % 1000:03}0177", f"+90559{self.code % 1000:03}0288"

    def key(self, recipient: str) -> ConsentKey:
        """Return the key of a recipient of text messages."""
        return a_key(brand_code=self.code, recipient=recipient)


@dataclass(kw_only=True)
class Installation:
    """The installation, with what commands name of it."""

    harness: SinkHarness
    brands: tuple[OneBrand, ...]
    places: dict[str, Any] = field(default_factory=dict)
    """What ``{…}`` means in the lines of cuts, by name."""

    @property
    def kafka(self) -> KafkaSettings:
        """Its Kafka."""
        return self.harness.settings

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables by which commands find it."""
        return {
            "IYS_BASE_URL": self.harness.iys.address,
            "IYS_USERNAME": USERNAME,
            "IYS_PASSWORD": PASSWORD,
            "IYS_REQUESTS_PER_SECOND": "500",
            "IYS_INTEGRATOR_CODE": str(PARTNER),
            "IZIN_ACTOR": "ada",
            "IZIN_API_KEY": API_KEY,
            "IZIN_PARTITIONS": str(self.kafka.partitions),
            "IZIN_SECRET_KEYS": key_setting(1),
            "IZIN_TOPIC_PREFIX": self.kafka.topic_prefix,
            "IZIN_WEBHOOK_ALLOWED": '["127.0.0.0/8"]',
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
        }


async def fill_ledger(harness: SinkHarness) -> tuple[OneBrand, ...]:
    """Fill the ledger: of each customer and brand something of every kind; return the brands."""
    await harness.brand(replace(ACTIVE, brand_code=OWN_BRANDS[1], name="İkinci"))
    await harness.ingest(onay())
    tables = _TABLES.read_text("utf-8").replace("{shared}", PHONE)
    tables = tables.replace("{prefix}", harness.settings.topic_prefix)
    async with harness.ledger.transaction() as connection:
        await connection.execute(tables)  # type: ignore[arg-type]
    now = harness.clock()
    brands = tuple(
        OneBrand(
            code=row["brand_code"],
            iys_code=row["iys_code"],
            customer=row["customer_id"],
            name=row["name"],
        )
        for row in await harness.ledger.fetch(_BRANDS)
    )
    async with harness.ledger.transaction() as connection:
        found = [one for brand in brands for one in _entries(brand, now)]
        await append.append(connection, found, now=now)
    assert (len({one.customer for one in brands}), len(brands)) == (CUSTOMERS, BRANDS)
    return brands


def yesterday(now: datetime) -> date:
    """Return the day whose daily files are there, in Turkish time."""
    return now.astimezone(TURKEY).date() - timedelta(days=1)


def receipt_id(brand: OneBrand) -> str:
    """Return the id of the gate's receipt of a brand."""
    return str(a_receipt(brand.code)["receipt_id"])


def _entries(brand: OneBrand, now: datetime) -> Iterator[HistoryEntry]:
    """Yield what the history has of a brand."""
    code, customer = brand.code, brand.customer
    at = datetime.combine(yesterday(now), time(12), TURKEY).astimezone(UTC)
    seen = {"creation_date": at.isoformat(), "transaction_id": f"t{code}", "by": "pull"}
    for kind, data in (
        ("answer", {"verdict": "data", "code": f"H{code}", "how": customer}),
        ("breach", {"due_at": now.isoformat(), "of": customer}),
        ("observation", {**seen, "consent_date": at.isoformat(), "source": "HS_WEB"}),
    ):
        yield HistoryEntry(
            kind=kind,
            customer_id=customer,
            key=str(brand.key(PHONE)),
            event_id=f"event-of-{customer}",
            status="RET",
            source=f"{kind}/{code}",
            occurred_at=now,
            data=data,
        )
    asked = {"campaign": f"of {customer}", "asked_by": f"key-{customer}", "asked_at": now}
    yield from entries_of(a_receipt(code, customer_id=customer, brand_code=code, **asked))
    for about in (brand_key(code), customer_key(customer)):
        name = f"look at {customer} {code}"
        yield act(name, about, by="ada", now=now, before={}, after={}, customer_id=customer)


async def fill_days(harness: SinkHarness, brands: tuple[OneBrand, ...]) -> None:
    """Have a daily file of each brand, with one line that our own file of the day has too."""
    day = yesterday(harness.clock())
    days, parts = [], []
    for one in brands:
        noon = f"{day} 12:00:00"
        line = f"{noon},t{one.code},{PHONE},BIREYSEL,MESAJ,RET,{noon},HS_WEB\n".encode()
        values = {"brand": one.code, "day": day, "hash": hashlib.sha384(line).hexdigest()}
        days.append(values)
        parts.append(values | {"content": packed(line)})
    async with harness.ledger.transaction() as connection, connection.cursor() as cursor:
        await cursor.executemany(_DAY, days)
        await cursor.executemany(_PART, parts)


async def names(harness: SinkHarness, brands: tuple[OneBrand, ...]) -> Mapping[str, object]:
    """Return what commands name: ours, and what is another's."""
    found: dict[str, object] = {
        "brand": BRAND,
        "shared": PHONE,
        "parked": brands[0].recipients[0],
        "opted_out": brands[0].recipients[1],
        "their_brand": FOREIGN_BRAND,
        "their_recipient": FOREIGN_RECIPIENT,
        "their_key": brands[2].key(FOREIGN_RECIPIENT),
        "day": yesterday(harness.clock()),
        "month": f"{harness.clock():%Y-%m}",
        "receipt": receipt_id(brands[0]),
    }
    for table, column in (("complaints", "complaint"), ("legal_holds", "hold")):
        query = f"SELECT min(id) AS id FROM {table} WHERE customer_id = 'acme'"
        (row,) = await harness.ledger.fetch(query)
        found[column] = row["id"]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Lie:
    """Something of a brand that names another customer."""

    brand: OneBrand
    named: str
    recipient: str

    def event(self, status: str = "RET") -> ConsentEvent:
        """Return an event of the recipient, as it was published."""
        at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=20)
        return an_event(
            customer_id=self.named,
            brand_code=self.brand.code,
            recipient=self.recipient,
            status=status,
            event_id=f"lie-{self.recipient[-5:]}",
            origin="crm" if self.brand.is_ours else f"crm-{self.brand.customer}",
            consent_date=at,
            received_at=at,
        )

    def records(self, kafka: KafkaSettings) -> Iterator[tuple[Topic, AvroRecord]]:
        """Yield what an order stage and sinks of an earlier release made of it."""
        topics, key, now = kafka.topics, self.brand.key(self.recipient), datetime.now(UTC)
        whose = {"customer_id": self.named}
        yield topics.permissions, a_permission(key, now, **whose)
        named = {"event_id": self.event().event_id, "outcome_id": f"o-lie-{self.recipient[-5:]}"}
        yield topics.outcomes, an_outcome(key, **whose, **named)
        yield topics.opt_outs, an_opt_out(key, now, **whose, event_id=self.event().event_id)


def lies(brands: Sequence[OneBrand]) -> tuple[Lie, ...]:
    """Return a lie of a brand of ours, of another's, and of one that is not registered."""
    theirs = next(one for one in brands if one.code == FOREIGN_BRAND)
    nobodys = replace(theirs, code=UNREGISTERED_BRAND, customer="foreign-nobody")
    return (
        Lie(brand=brands[0], named=FOREIGN_CUSTOMER, recipient="+905551000019"),
        Lie(brand=theirs, named=CUSTOMER, recipient="+905590010377"),
        Lie(brand=nobodys, named=CUSTOMER, recipient="+905590990377"),
    )


def of_others(brands: Sequence[OneBrand]) -> tuple[Lie, ...]:
    """Return those that name ours. What an event of our own brand names, is ours: the archive has
    it in the bytes of its decision, and a plan in what it repairs.
    """
    return tuple(one for one in lies(brands) if not one.brand.is_ours)


def publish(kafka: KafkaSettings, lying: Sequence[Lie]) -> None:
    """Publish lies: events, and what was made of them."""
    topics = kafka.topics
    _write(
        kafka,
        (
            (topic, one, record)
            for one in lying
            for topic, record in (
                (topics.events, event_to_avro(one.event())),
                *one.records(kafka),
            )
        ),
    )


def publish_letters(kafka: KafkaSettings, lying: Sequence[Lie]) -> None:
    """Publish dead letters of what is another's, behind all others."""
    place = {
        "topic": kafka.topics.events.name,
        "timestamp": int(datetime.now(UTC).timestamp() * 1000),
    }
    _write(
        kafka,
        (
            (kafka.topics.dead_letters, one, a_letter_of(one.event(), "poison", **place))
            for one in lying
        ),
        partition=0,
    )


def _write(
    kafka: KafkaSettings, records: Iterable[tuple[Topic, Lie, AvroRecord]], **where: int
) -> None:
    client, codec = producer(kafka), Codec()
    for topic, one, record in records:
        key = str(one.brand.key(one.recipient))
        about = headers(
            record=topic.record, event_id=f"lie {key}", source="/izin/test", at=datetime.now(UTC)
        )
        value = codec.encode(topic.record, record)
        client.produce(topic.name, value, key.encode(), headers=about, **where)
    assert client.flush(20) == 0


def fill_topics(kafka: KafkaSettings, brands: Sequence[OneBrand]) -> None:
    """Fill the topics: events with the decisions on them, permissions, outcomes, dead letters, API
    keys; ours come first.
    """
    topics, now = kafka.topics, datetime.now(UTC)
    client, codec = producer(kafka), Codec()
    publish(kafka, of_others(brands))

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
    publish_letters(kafka, of_others(brands))
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
        iys.post("brands", **of_brand, grants=grants, retailers=[10000001])
    iys.post(
        "brands",
        brandCode=OFFERED_BRAND,
        iysCode=FOREIGN_BRAND,
        name="Yabancı yeni marka",
        grants=grants,
    )


def fill_files(folder: Path) -> Mapping[str, Path]:
    """Write what commands read: an address book of ours, one with a row of another, a list of
    recipients, and one of retailers, which is empty.
    """
    at = (datetime.now(TURKEY) - timedelta(hours=3)).strftime("%d.%m.%Y %H:%M:%S")
    ours = [f"0555 100 02 {number};MESAJ;ONAY;HS_WEB;{at};{BRAND}" for number in (31, 32)]
    theirs = f"0555 100 02 33;MESAJ;ONAY;HS_WEB;{at};{FOREIGN_BRAND}"
    content = {
        "book": [_HEADER, *ours],
        "mixed": [_HEADER, *ours, theirs],
        "addresses": ["Telefon", PHONE, "+905551000011", "+905551000012", "+905550000009"],
        "retailers": ["[]"],
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
