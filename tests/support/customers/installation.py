"""An installation of forty customers with a hundred brands: what its ledger has, and its names.

Each customer has something of every kind. ``acme`` is ours, with two brands; all ids, names, brand
codes and recipients of the others are found by ``traces``.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from izin.consent import TURKEY, ConsentKey
from izin.ledger.daily.lines import packed
from izin.ledger.history import Movement, act, append, brand_key, customer_key, movements_of
from izin.runtime.settings import KafkaSettings
from tests.integration.sinks.sink_harness import ACTIVE, SinkHarness, onay
from tests.support.api_keys import API_KEY
from tests.support.builders import BRAND, CUSTOMER, PHONE, a_key
from tests.support.gate.receipts import a_receipt
from tests.support.simulator import PASSWORD, USERNAME

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
        found = [one for brand in brands for one in _movements(brand, now)]
        await append.append(connection, found, now=now)
    assert (len({one.customer for one in brands}), len(brands)) == (CUSTOMERS, BRANDS)
    return brands


def yesterday(now: datetime) -> date:
    """Return the day whose daily files are there, in Turkish time."""
    return now.astimezone(TURKEY).date() - timedelta(days=1)


def receipt_id(brand: OneBrand) -> str:
    """Return the id of the gate's receipt of a brand."""
    return str(a_receipt(brand.code)["receipt_id"])


def _movements(brand: OneBrand, now: datetime) -> Iterator[Movement]:
    """Yield what the history has of a brand."""
    code, customer = brand.code, brand.customer
    at = datetime.combine(yesterday(now), time(12), TURKEY).astimezone(UTC)
    seen = {"creation_date": at.isoformat(), "transaction_id": f"t{code}", "by": "pull"}
    for kind, data in (
        ("answer", {"verdict": "data", "code": f"H{code}", "how": customer}),
        ("breach", {"due_at": now.isoformat(), "of": customer}),
        ("observation", {**seen, "consent_date": at.isoformat(), "source": "HS_WEB"}),
    ):
        yield Movement(
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
    receipt = a_receipt(code, customer_id=customer, brand_code=code, **asked)
    yield from movements_of(receipt)
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
