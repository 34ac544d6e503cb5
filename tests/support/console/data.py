"""A ledger that has something for every screen of the console. Whom it names nobody is.

The sinks run against the simulator on some days of the last two weeks, as workers would have, so
that rows and history are what they write. What would take a fault of a server, or what other
processes write, is in ``data.sql``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from izin.consent import Channel, ConsentEvent
from izin.ledger import brands
from izin.ledger.automatic_suspension.counting import SuspensionLimits, set_limits
from izin.ledger.console import accounts
from izin.ledger.console.accounts import AccountRole
from izin.ledger.history import HistoryEntry, append, entries_of
from izin.ledger.record import Brand
from izin.ledger.registry import (
    api_keys,
    application_items,
    complaints,
    customers,
    suspension_orders,
)
from izin.ledger.registry.application_items import ApplicationItem, NewItem
from izin.ledger.registry.complaints import ComplaintOutcome, NewComplaint
from izin.ledger.registry.customers import CustomerDetails, PersonKind
from izin.ledger.registry.suspension_orders import Part, Target
from izin.ledger.webhooks import deliveries, registry as subscribers
from tests.integration.sinks.sink_harness import ACTIVE, SinkHarness
from tests.support.builders import BRAND, CUSTOMER, PHONE, a_phone, an_api_key, an_event
from tests.support.published import a_receipt

SECOND_BRAND = BRAND + 1
OTHER, NEW = "deneme", "yeni"
"""Two more customers: one with a brand of its own, one that is being onboarded."""
OTHER_BRAND, NEW_BRAND = 200001, 300001
ADMIN, READER, ONE_CUSTOMER = "ayse@example.com", "okur@example.com", "ortak@example.com"
"""Accounts: one that may do everything, one that may only look, one that sees ``OTHER`` alone."""
PASSWORD = "yalniz-denemeler-icin"
_DAYS = (16, 12, 9, 6, 3, 1)
"""Days ago on which something happens; no term of the first is still open on the last."""
BEGINS = timedelta(days=-20)
"""Where its clock is to be when the sinks are put together."""
_SOURCES = ("HS_WEB", "HS_MOBIL", "HS_CAGRI_MERKEZI")
_SQL = Path(__file__).with_name("data.sql")
_MAIL = "kisi{}@example.com"


async def fill(harness: SinkHarness) -> None:
    """Fill the empty ledger of ``harness``, whose brand the simulator has."""
    # Its clock, like the others, shows a time before the present: ``BEGINS``.
    harness.context.client.breakers._all_open_until = -inf
    harness.iys.brand(brandCode=SECOND_BRAND, name="Örnek Ev")
    await _register(harness)

    async def registered(brand: Brand = ACTIVE) -> Brand:
        return brand

    # Pulling would register it again, each time.
    harness.brand = registered  # type: ignore[method-assign]
    for day in _DAYS:
        await _pass_day(harness, day)
    await _set_clocks(harness, timedelta(hours=-5))
    await _make_work(harness)
    await _set_clocks(harness, timedelta(hours=-2))
    await _begin_today(harness)
    await _publish(harness)
    await _enter_what_people_do(harness)
    async with harness.ledger.transaction() as connection:
        await connection.execute(_SQL.read_text("utf-8"))  # type: ignore[arg-type]  # from a file of ours


async def _set_clocks(harness: SinkHarness, ahead: timedelta) -> None:
    harness.clock.ahead = ahead
    # Tokens expire with each change, and few may be asked for within an hour of the real time.
    await harness.ledger.execute("UPDATE rate_limits SET token_calls = '{}'")
    harness.iys.post("clock", offset=ahead.total_seconds())


def _given(
    harness: SinkHarness,
    status: str,
    recipient: str,
    *,
    hours: float = 1,
    **more: Any,  # noqa: ANN401  # fields of an event
) -> ConsentEvent:
    """Return what a recipient said some hours before it came."""
    at = (harness.clock() - timedelta(hours=hours)).replace(microsecond=0)
    brand = more.get("brand_code", BRAND)
    return an_event(
        **{
            "event_id": f"{status}-{brand}-{more.get('type')}-{recipient}-{at:%Y%m%d%H%M%S}",
            "status": status,
            "recipient": recipient,
            "consent_date": at,
            "received_at": at + timedelta(seconds=2),
            "notice_version": "2026-1",
            "evidence": {"sayfa": "https://example.com/uye-ol"} if status == "ONAY" else {},
        }
        | more
    )


async def _register(harness: SinkHarness) -> None:
    """Register customers and brands, as an operator does."""
    ledger, now = harness.ledger, harness.clock()
    for customer, name, kind in (
        (CUSTOMER, "Örnek Perakende A.Ş.", PersonKind.LEGAL),
        (OTHER, "Deneme Turizm Ltd. Şti.", PersonKind.LEGAL),
        (NEW, "Yeni Ayakkabı", PersonKind.CRAFTSMAN),
    ):
        details = CustomerDetails(kind=kind)
        await customers.add(ledger, customer, name, details=details, by=ADMIN, now=now)
    brand = partial(brands.upsert, ledger, harness.context.topic_messages, by=ADMIN, now=now)
    other = replace(ACTIVE, brand_code=OTHER_BRAND, iys_code=OTHER_BRAND, customer_id=OTHER)
    for one in (
        replace(ACTIVE, name="Örnek Giyim"),
        replace(ACTIVE, brand_code=SECOND_BRAND, name="Örnek Ev"),
        replace(other, name="Deneme Tatil"),
        replace(
            other,
            brand_code=NEW_BRAND,
            iys_code=NEW_BRAND,
            customer_id=NEW,
            name="Yeni Ayakkabı",
            activated_at=None,
        ),
    ):
        await brand(one)


async def _pass_day(harness: SinkHarness, day: int) -> None:
    """Have consents come and be registered, and some recipients opt out by several paths."""
    await _set_clocks(harness, timedelta(days=-day))
    await harness.ingest(*_consents(harness, day * 100))
    await harness.drain(harness.bulk, harness.settle)
    for recipient in _after(day, range(3)):
        harness.citizen("RET", recipient, then=timedelta(seconds=20))
    await harness.pull_and_ingest()
    await harness.ingest(
        *(
            _given(harness, "RET", one, source="HS_MESAJ", origin="sms")
            for one in _after(day, (4, 5))
        ),
        _given(harness, "RET", a_phone(day * 100 + 6), type="ARAMA", source="HS_CAGRI_MERKEZI"),
        _given(harness, "RET", _MAIL.format(day * 100 + 5), type="EPOSTA", source="HS_EPOSTA"),
    )
    await harness.drain(harness.opt_out, harness.settle)
    if day == _DAYS[0]:
        await harness.suspend("H353", channel="EPOSTA", status="RET")
        await harness.ingest(_given(harness, "RET", _MAIL.format(day * 100 + 1), type="EPOSTA"))
    if day == _DAYS[-1]:
        # What was suspended for more than three business days is sent too late: a breach.
        await harness.resume("EPOSTA", "RET")
        await harness.drain(harness.opt_out, harness.settle)
        await harness.suspend("H353", channel="ARAMA", status="RET")
        late = (a_phone(_DAYS[2] * 100 + number) for number in (4, 8, 12))
        await harness.ingest(
            *(_given(harness, "RET", one, type="ARAMA", hours=24 * 8) for one in late)
        )


def _after(day: int, numbers: Iterable[int]) -> list[str]:
    return [a_phone(day * 100 + number) for number in numbers]


def _consents(harness: SinkHarness, first: int) -> Iterator[ConsentEvent]:
    for number in range(first, first + 20):
        source = _SOURCES[number % len(_SOURCES)]
        origin = "crm" if number % 3 else "web"
        brand = SECOND_BRAND if number % 4 == 3 else BRAND
        more = {"source": source, "origin": origin, "hours": 1 + number % 5}
        yield _given(harness, "ONAY", a_phone(number), **more, brand_code=brand)
        if number % 2:
            yield _given(harness, "ONAY", _MAIL.format(number), **more, type="EPOSTA")
        else:
            yield _given(harness, "ONAY", a_phone(number), **more, type="ARAMA")


async def _make_work(harness: SinkHarness) -> None:
    """Have records wait for a person, each kind for its reason."""
    await harness.ingest(_given(harness, "ONAY", PHONE, hours=30))
    await harness.drain(harness.bulk, harness.settle)
    harness.citizen("RET", PHONE, then=timedelta(seconds=9))
    await harness.pull_and_ingest()
    # They opted out at İYS, and a newer consent comes without its proof.
    opted_out = (PHONE, *_after(_DAYS[3], range(3)), *_after(_DAYS[4], range(2)))
    await harness.ingest(
        *(
            _given(harness, "ONAY", one, hours=0.001, source="HS_FIZIKSEL_ORTAM")
            for one in opted_out
        )
    )
    await harness.ingest(
        *(_given(harness, "ONAY", a_phone(9000 + n), brand_code=400001) for n in range(4)),
        *(_given(harness, "ONAY", a_phone(9010 + n), customer_id=OTHER) for n in range(2)),
    )
    await harness.ingest(_given(harness, "RET", a_phone(9020), brand_code=SECOND_BRAND))


async def _begin_today(harness: SinkHarness) -> None:
    """Have a backlog, a batch whose result is not there, one without reply, and a source whose
    opt-outs are held back.
    """
    await harness.lose_batch(*(_given(harness, "ONAY", a_phone(9100 + n)) for n in range(4)))
    await harness.submit_bulk(*(_given(harness, "ONAY", a_phone(9200 + n)) for n in range(9)))
    await _set_clocks(harness, timedelta(0))
    await set_limits(
        harness.ledger,
        CUSTOMER,
        SuspensionLimits(share=5, at_least=3),
        by=ADMIN,
        now=harness.clock(),
    )
    some = [a_phone(number) for number in range(_DAYS[1] * 100 + 8, _DAYS[1] * 100 + 19)]
    await harness.ingest(*(_given(harness, "RET", one, origin="kampanya") for one in some))
    await harness.ingest(
        *(
            _given(harness, "ONAY", a_phone(9300 + n), hours=0.1 + n, brand_code=BRAND + n % 2)
            for n in range(60)
        ),
        *(_given(harness, "ONAY", _MAIL.format(9300 + n), type="EPOSTA") for n in range(20)),
        _given(harness, "ONAY", a_phone(9400), brand_code=OTHER_BRAND, customer_id=OTHER),
    )


async def _publish(harness: SinkHarness) -> None:
    """Empty the outbox as the publisher does, and have a subscriber take the opt-outs."""
    ledger, now = harness.ledger, harness.clock()
    rows = await ledger.fetch("DELETE FROM outbox RETURNING *")
    published = [
        HistoryEntry(
            kind="delivery",
            customer_id=row["customer_id"],
            key=row["key"],
            source=f"outbox/{row['id']}",
            occurred_at=row["occurred_at"] + timedelta(seconds=0.3),
            data={"topic": row["topic"], "partition": 0, "offset": row["id"]},
        )
        for row in rows
    ]
    async with ledger.transaction() as connection:
        await append.append(connection, published, now=now)
    await _subscribe(harness)


async def _subscribe(harness: SinkHarness) -> None:
    ledger, now, topic = harness.ledger, harness.clock(), harness.settings.topics.opt_outs.name
    numbers = []
    for name, customer in (("crm", CUSTOMER), ("eposta-araci", CUSTOMER), ("tatil-crm", OTHER)):
        new = subscribers.NewSubscriber(
            name=name,
            url=f"https://{name}.example.com/izin",
            filter=subscribers.EventFilter(customer_id=customer),
            parallel=8,
            secret="whsec_" + "A" * 44,
        )
        cursor = subscribers.DeliveryCursor(
            lane="express", topic=topic, partition=0, cluster_id="c", topic_id="t", next_offset=0
        )
        added = await subscribers.add(ledger, new, [cursor], by=ADMIN, now=now)
        numbers.append(added.id)
    lease = deliveries.lease_name(numbers[0])
    await ledger.execute(
        "INSERT INTO leases (name, owner, epoch) VALUES (%(name)s, '1', 1)", {"name": lease}
    )
    opted_out = await ledger.fetch(
        "SELECT key, received_at FROM consents WHERE desired_status = 'RET' ORDER BY received_at"
    )
    receipts = [
        deliveries.DeliveryReceipt(
            subscriber_id=numbers[0],
            customer_id=CUSTOMER,
            type="consent.opted-out",
            topic=topic,
            partition=0,
            offset=offset,
            webhook_id=f"msg_{offset}",
            key=row["key"],
            attempts=1,
            status=200,
            delivered=int((row["received_at"].timestamp() + 0.2 + offset % 7 / 10) * 1_000_000),
        )
        for offset, row in enumerate(opted_out)
    ]
    group = deliveries.DeliveryGroup(
        subscriber_id=numbers[0], epoch=1, acknowledgements=receipts, caught_up_at=now
    )
    assert not await deliveries.write(ledger, [group], now=now)


async def _enter_what_people_do(harness: SinkHarness) -> None:
    """Enter complaints, orders, keys, accounts, and what a new customer has given so far."""
    ledger, now, messages = harness.ledger, harness.clock(), harness.context.topic_messages
    for place, days in enumerate((-2, 1, 9, None)):
        complaint = NewComplaint(
            brand_code=BRAND,
            channel=Channel.MESAJ,
            recipient=PHONE if place == 1 else a_phone(_DAYS[0] * 100 + place),
            sent_at=now - timedelta(days=5, hours=place),
            sender="ORNEK",
            content="Hafta sonu indirimi başladı. Çıkış: RET yaz 1234'e gönder.",
            reference=None if days is None else f"2026/{1200 + place}",
            due_at=None if days is None else now + timedelta(days=days),
        )
        entered = await complaints.add(ledger, complaint, by=ADMIN, now=now - timedelta(days=4))
    note = "Onay kaydı sunuldu; başvuru sahibi şikâyetinden vazgeçti."
    outcome = ComplaintOutcome.WITHDRAWN
    await complaints.close(ledger, entered.id, outcome=outcome, note=note, by=ADMIN, now=now)
    target, reason = Target(brand_code=SECOND_BRAND), "Gönderim sağlayıcısı değişiyor"
    order = (ledger, messages, target, [Part.GATE])
    await suspension_orders.suspend(*order, reason=reason, by=ADMIN, now=now)
    key = an_api_key(name="crm", scopes=frozenset({"publish"}), created_at=now)
    await api_keys.create(ledger, messages, key, by=ADMIN, now=now)
    given = [
        NewItem(item=ApplicationItem.SIGNATURE, value="alone"),
        NewItem(item=ApplicationItem.OPT_OUT_NUMBER, value="08500000000"),
    ]
    await application_items.put(ledger, NEW, given, by=ADMIN, now=now)
    asked = a_receipt(1, asked_at=now, index=0, recipient=PHONE, may_send=False, recipients=1)
    async with ledger.transaction() as connection:
        found = list(entries_of(asked | {"reason": "opted-out", "reasons": {"opted-out": 1}}))
        await append.append(connection, found, now=now)
    for name, role, whose in (
        (ADMIN, AccountRole.ADMIN, None),
        (READER, AccountRole.READER, None),
        (ONE_CUSTOMER, AccountRole.OPERATOR, [OTHER]),
    ):
        await accounts.save(ledger, name, role, whose, by="izin up", now=now)
