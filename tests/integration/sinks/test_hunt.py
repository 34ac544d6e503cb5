"""Faults hunted for: each test fails because of one."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from izin.consent.model import Channel, ConsentEvent
from izin.iys import Gate
from izin.iys.breaker import BreakerPolicy
from izin.iys.client import IysClient
from izin.iys.errors import CallError
from izin.iys.pacing import CallClass
from izin.iys.reading import Reader, to_turkish
from izin.iys.wire import Record, Stream
from izin.runtime.settings import SinkSettings
from izin.schemas.records import event_from_avro
from izin.sinks import worker
from izin.sinks.announce import Message
from izin.sinks.errors import ConcurrentChangeError
from izin.sinks.ledger import stops as standing
from izin.sinks.ledger.changes import Changes
from izin.sinks.pull import Puller, unheard_of
from izin.sinks.watch import Watch
from tests.builders import BRAND, PHONE, a_key, a_statement, an_event, an_iys_event
from tests.integration.sinks.house import (
    ACTIVE,
    A_SECOND,
    IYS_CODE,
    House,
    a_phone,
    onay,
    recently,
    ret,
)

pytestmark = pytest.mark.database


@dataclass
class Topic:
    """A Kafka that acknowledges all and keeps it."""

    messages: list[Message] = field(default_factory=list)

    async def publish(self, messages: Iterable[Message]) -> None:
        """Take messages."""
        self.messages += messages

    def events(self, house: House) -> list[ConsentEvent]:
        """Return the consent events that were published, for the law to decide."""
        return [
            event_from_avro(house.codec.decode("ConsentEvent", one.value)) for one in self.messages
        ]


async def pull(house: House, *streams: Stream) -> list[ConsentEvent]:
    """Pull streams; return what was published, which the law has not decided yet."""
    # İYS shows what is a second old.
    house.passes(A_SECOND * 2)
    topic = Topic()
    puller = Puller(tools=house.tools, publisher=topic, interval=timedelta(0))  # type: ignore[arg-type]
    brand = await house.brand()
    for stream in streams or tuple(Stream):
        await puller.pull_stream(brand, stream, force=True)
    return topic.events(house)


def fresh(at: datetime, **more: object) -> ConsentEvent:
    """Return an ONAY given and received at ``at``."""
    return an_event(event_id="fresh", recipient=PHONE, consent_date=at, received_at=at, **more)


async def decided(house: House, events: Iterable[ConsentEvent]) -> None:
    """Have the law decide events and the ledger ingest that."""
    for event in events:
        await house.ingest(event)


# 1. the rescue of an opt-out is outranked by, or a duplicate of, the very opt-out that it saves


def begins_a_second(house: House) -> None:
    """Have the clocks stand at the beginning of a second."""
    house.passes(A_SECOND - timedelta(microseconds=house.clock().microsecond))


async def test_an_opt_out_that_is_rescued_in_its_own_second_reaches_iys(house: House):
    """The sink decides within the second in which the opt-out was given."""
    await house.told_onay(PHONE)
    begins_a_second(house)
    at = house.clock()
    bad = ret(
        PHONE,
        event_id="ffffffff-0000-5000-8000-000000000001",
        source="HS_OUR_SHOP",  # no source of İYS's: registrable it is not, but it is a no
        consent_date=at,
        received_at=at,
    )
    await house.ingest(bad)
    entry = await house.entry()
    assert entry.duty == "rescue"
    await decided(house, [event_from_avro(one) for one in await house.published()])
    for _ in range(10):
        house.passes(timedelta(minutes=10))
        await house.submitter.opt_out()
        await house.asker.ask()
        await house.recoverer(timedelta(0)).recover()
    assert house.twin.register() == {PHONE: "RET"}


async def test_an_opt_out_that_iys_refuses_in_its_own_second_reaches_iys(house: House):
    """The same behind a refusal of İYS's, where the row is in no state that rings."""
    await house.told_onay(PHONE)
    house.passes(A_SECOND * 2)
    submitter = house.submitter
    begins_a_second(house)
    at = house.clock()
    bad = ret(
        PHONE,
        event_id="ffffffff-0000-5000-8000-000000000001",
        retailer_code=12345678,
        consent_date=at,
        received_at=at,
    )
    await house.ingest(bad)
    assert await submitter.opt_out()
    entry = await house.entry()
    assert (entry.state, entry.duty, entry.code) == ("refused", "rescue", "H180")
    await decided(house, [event_from_avro(one) for one in await house.published()])
    for _ in range(10):
        house.passes(timedelta(hours=12))
        await house.submitter.opt_out()
        await house.asker.ask()
        await house.recoverer(timedelta(0)).recover()
    assert house.twin.register() == {PHONE: "RET"}


async def test_an_opt_out_that_is_rescued_by_a_clock_that_is_behind_reaches_iys(house: House):
    """The intake's clock is two seconds ahead of the sink's: honest clocks differ."""
    await house.told_onay(PHONE)
    at = house.clock() + A_SECOND * 2
    await house.ingest(ret(PHONE, source="HS_OUR_SHOP", consent_date=at, received_at=at))
    assert (await house.entry()).duty == "rescue"
    house.passes(A_SECOND * 5)
    await decided(house, [event_from_avro(one) for one in await house.published()])
    for _ in range(10):
        house.passes(timedelta(minutes=10))
        await house.submitter.opt_out()
        await house.asker.ask()
    assert house.twin.register() == {PHONE: "RET"}


# 2. an ONAY over a citizen's RET that the ledger already knows


async def test_a_pending_onay_is_not_told_over_a_newer_no_that_pull_has_shown(house: House):
    """Pull has told the ledger of the citizen's no; its decision is still on its way."""
    at = house.clock()
    await house.ingest(fresh(at, notice_version="1"))
    house.twin.order("clock", advance=3)
    house.twin.citizen(
        "RET", PHONE, source="IYS_AHS_HAT_KAPATMA", consentDate="2026-01-05 10:00:00"
    )
    await pull(house, Stream.IYS)
    entry = await house.entry()
    assert (entry.registered, entry.desired_status) == ("RET", "ONAY")
    await house.submitter.bulk()
    house.results_are_due()
    await house.settler.settle()
    entry = await house.entry()
    assert (house.twin.register(), entry.may_send) == ({PHONE: "RET"}, False)


@pytest.mark.parametrize("kind", ["single", "batch"])
async def test_a_lost_onay_is_not_told_again_over_a_no_that_pull_has_shown(house: House, kind: str):
    """An ONAY nobody attests: over the citizen's RET it waits for a person (reconsent)."""
    house.twin.citizen("RET", PHONE, consentDate="2026-01-05 10:00:00")
    house.passes(timedelta(minutes=1))
    at = house.clock() - A_SECOND
    await house.ingest(fresh(at))
    if kind == "single":
        await house.ledger.fetch(
            "UPDATE consents SET expires_at = %(soon)s RETURNING key",
            {"soon": house.clock() + timedelta(minutes=50)},
        )
        house.twin.weather("addV2", drop="before")
        assert await house.submitter.last_hour()
    else:
        house.twin.weather("batchV2", drop="before")
        assert await house.submitter.bulk()
    assert (await house.entry()).state == "unknown"
    await decided(house, await pull(house, Stream.IYS))
    entry = await house.entry()
    assert (entry.registered, entry.registered_source, entry.desired_status) == (
        "RET",
        "IYS_WEB",
        "ONAY",
    )
    for _ in range(3):
        await house.recoverer(A_SECOND * 10).recover()
        house.results_are_due()
        await house.settler.settle()
    assert house.twin.register() == {PHONE: "RET"}
    entry = await house.entry()
    assert (entry.state, entry.why, entry.may_send) == ("parked", "reconsent", False)


async def test_an_onay_that_iys_was_too_busy_for_is_not_told_over_a_no(house: House):
    """While the call waited for its turn pull showed the citizen's RET; İYS was busy; and then?"""
    house.twin.citizen("RET", PHONE, consentDate="2026-01-05 10:00:00")
    house.passes(timedelta(minutes=1))
    at = house.clock() - A_SECOND
    await house.ingest(fresh(at))
    said_no = an_iys_event(
        event_id="no",
        recipient=PHONE,
        consent_date=datetime(2026, 1, 5, 7, tzinfo=UTC),
        iys=a_statement(creation_date=at - timedelta(minutes=1)),
    )

    async def pushed() -> None:
        await house.ingest(said_no)

    house.turns.meanwhile = pushed
    house.twin.weather("batchV2", status=400, code="H123")
    assert await house.submitter.bulk()
    assert (await house.entry()).registered == "RET"
    house.passes(timedelta(minutes=1))
    assert not await house.submitter.bulk()
    house.results_are_due()
    await house.settler.settle()
    assert house.twin.register() == {PHONE: "RET"}
    assert (await house.entry()).may_send is False


# 3. a success of an earlier request after a resend


async def test_a_success_of_an_old_save_opens_nothing_though_the_batch_was_handed_in_twice(
    house: House,
):
    """Another writer (an earlier ledger) told this very ONAY; the citizen has said no since."""
    await house.brand_in_loading()
    event = onay(PHONE, minutes=60)
    await house.told_onay(PHONE)
    house.twin.citizen("RET", PHONE)
    # A new ledger that knows none of it: the brand is loaded anew.
    async with house.ledger.transaction() as connection:
        await connection.execute("DELETE FROM submission_items")
        await connection.execute("DELETE FROM submissions")
        await connection.execute("DELETE FROM consents")
        await connection.execute("DELETE FROM outbox")
        await connection.execute("DELETE FROM kafka_offsets")
    house.states.clear()
    house.offset = 0
    house.passes(timedelta(days=8))  # no pull shows it any more
    house.twin.order("brands", brandCode=BRAND, iysCode=IYS_CODE, name="Örnek", activatedAt=None)
    await house.ingest(event)
    house.twin.weather("batchV2", drop="before")
    assert await house.submitter.bulk()
    assert await house.recoverer().recover()
    house.results_are_due()
    assert await house.settler.settle()
    for _ in range(3):
        house.passes(timedelta(minutes=5))
        await house.asker.ask()
    entry = await house.entry()
    assert house.twin.register() == {PHONE: "RET"}
    assert (entry.registered, entry.may_send) == ("RET", False)


# 4. what nobody pulls


async def test_a_brand_behind_another_address_of_the_account_is_pulled(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """Two processes of one account, each behind an address of its own: each pulls its brands."""
    await house.brand(replace(ACTIVE, egress_address="two"))
    pulled: list[str] = []
    sink = SinkSettings(pull_interval=timedelta(seconds=1), poll_interval=timedelta(seconds=0.1))
    tasks = []
    for address in ("one", "two"):
        holder = replace(house.tools.holder, account="ada", address=address)
        puller = Puller(
            tools=replace(house.tools, holder=holder),
            publisher=Topic(),  # type: ignore[arg-type]
            interval=timedelta(seconds=1),
        )
        tasks.append(asyncio.create_task(worker._pull(puller, sink)))
        await asyncio.sleep(1)
    await asyncio.sleep(3)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    rows = await house.ledger.fetch("SELECT pulled_at FROM cursors")
    assert house.twin.calls("changes") > 0
    assert rows and all(row["pulled_at"] for row in rows)


async def test_a_no_given_while_the_right_to_read_was_lost_is_heard_when_it_is_given_back(
    house: House,
):
    """İYS leaves out of a partner's page what he may not read, and the cursor moves on."""
    await house.told_onay(PHONE)
    await pull(house)
    what = {"brandCode": BRAND, "iysCode": IYS_CODE, "name": "Örnek"}
    what["activatedAt"] = "2020-01-01 00:00:00"
    house.twin.order("brands", **what, rights={"ARAMA": "write", "EPOSTA": "write"})
    await standing.keep_rights(
        house.ledger, BRAND, (Channel.ARAMA, Channel.EPOSTA), by="ada", now=house.clock()
    )
    house.twin.citizen("RET", PHONE)
    house.twin.citizen("ONAY", a_phone(2), type="ARAMA", source="IYS_WEB_YENI")
    house.passes(timedelta(minutes=1))
    house.twin.citizen("ONAY", a_phone(3), type="ARAMA", source="IYS_WEB_YENI")
    await decided(house, await pull(house))
    house.twin.order(
        "brands", **what, rights={"ARAMA": "write", "EPOSTA": "write", "MESAJ": "write"}
    )
    await standing.keep_rights(house.ledger, BRAND, tuple(Channel), by="ada", now=house.clock())
    for _ in range(3):
        house.passes(timedelta(minutes=15))
        await decided(house, await pull(house))
    entry = await house.entry()
    assert house.twin.register()[PHONE] == "RET"
    assert (entry.registered, entry.may_send) == ("RET", False)


# 5. a word of İYS's


async def test_a_status_that_is_pending_at_iys_ends_no_process(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """BEKLIYOR is in İYS's own texts."""
    house.twin.citizen("ONAY", PHONE, source="IYS_WEB_YENI")
    house.passes(timedelta(minutes=1))
    at = house.clock() - A_SECOND * 120
    await house.ingest(fresh(at))
    assert await house.submitter.bulk()
    house.results_are_due()
    assert await house.settler.settle()
    assert (await house.entry()).duty == "ask"
    whole = Record.read

    def pending(reader: Reader) -> Record:
        return replace(whole(reader), status="BEKLIYOR")

    monkeypatch.setattr(Record, "read", pending)
    await house.asker.ask()


# 6. an opt-out behind bulk


async def test_a_lost_opt_out_is_taken_up_while_bulk_rests(house: House):
    """İYS does not take batches for hours; single adds it takes."""
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    house.twin.weather("addV2", drop="before")
    assert await house.submitter.opt_out()
    assert (await house.entry()).state == "unknown"
    people = [a_phone(number) for number in range(2, 40)]
    await house.ingest(*(onay(person) for person in people))
    house.twin.weather("batchV2", drop="before", times=None)
    one_by_one = replace(house.submitter, batch_size=1)
    while await one_by_one.bulk():
        pass
    for _ in range(8):  # an hour and more, in which each try fails
        house.passes(timedelta(minutes=10))
        await one_by_one.bulk()
    assert house.tools.client.gate("add_batch") is Gate.SHUT
    assert house.tools.client.gate("add") is Gate.OPEN
    await house.recoverer(A_SECOND * 30).recover()
    assert house.tools.client.gate("add_batch") is Gate.SHUT
    assert house.twin.register()[PHONE] == "RET"


async def test_bulk_that_was_lost_spends_nothing_that_is_kept_for_opt_outs(house: House):
    """A lost batch of a stopped brand is only read: by questions of the class of bulk."""
    people = [a_phone(number) for number in range(5)]
    await house.ingest(*(onay(person) for person in people))
    house.twin.weather("batchV2", drop="before")
    assert await house.submitter.bulk()
    await house.brand(replace(ACTIVE, status="stopped"))
    before = len(house.turns.classes)
    recoverer = house.recoverer()
    await recoverer.recover()
    assert house.twin.calls("status") == 5
    assert CallClass.RET not in house.turns.classes[before:]


# 7. an older yes, uploaded late by another writer, over our no


async def test_an_old_yes_that_another_writer_uploads_late_does_not_undo_our_no(house: House):
    """The opt-out came to us and İYS had nothing to withdraw; then the portal writes a yes that
    was given before it.
    """
    await house.ingest(ret(PHONE, minutes=30))
    assert await house.submitter.opt_out()
    assert (await house.entry()).state == "not_needed"
    house.passes(A_SECOND * 5)
    older = to_turkish(recently(120))
    item = {"brandCode": BRAND, "type": "MESAJ", "recipient": PHONE, "status": "ONAY"}
    house.twin.order(
        "writers", writer="portal", movements=[{**item, "consentDate": older, "source": "HS_WEB"}]
    )
    await decided(house, await pull(house, Stream.HS))
    for _ in range(5):
        house.passes(timedelta(minutes=15))
        await house.submitter.opt_out()
        await house.asker.ask()
        await decided(house, await pull(house))
    assert (await house.entry()).desired_status == "RET"
    assert house.twin.register() == {PHONE: "RET"}


# 8. a gap that pull cannot close


async def test_a_no_behind_a_gap_that_pull_cannot_close_is_not_passed_over_in_silence(
    house: House,
):
    """The brand was stopped (or its subscription closed) for eight days; İYS shows seven."""
    await house.told_onay(PHONE)
    house.passes(timedelta(hours=1))
    await pull(house)
    house.twin.citizen("RET", PHONE)
    house.passes(timedelta(days=8))
    await decided(house, await pull(house))
    for _ in range(5):
        house.passes(timedelta(minutes=15))
        await decided(house, await pull(house))
        await house.asker.ask()
    watch = Watch(ledger=house.ledger, clock=house.clock, interval=timedelta(minutes=1))
    entry = await house.entry()
    assert entry.may_send is False or await watch.look()


# 9. one account's fault and another account's brands


async def test_a_fault_of_one_account_stops_no_brand_of_another(house: House):
    """Ada's password has expired; Bob's opt-outs go on."""
    bobs = BRAND + 1
    await house.brand(replace(ACTIVE, account="ada"))
    await house.brand(replace(ACTIVE, brand_code=bobs, iys_code=200002, account="bob"))
    await house.ingest(onay(PHONE))
    tools = replace(house.tools, holder=replace(house.tools.holder, account="ada"))
    house.twin.weather("batchV2", status=401, code="H251")
    submitter = house.submitter
    assert await replace(submitter, tools=tools, teller=replace(house.teller, tools=tools)).bulk()
    found = await standing.stops(house.ledger)
    assert [(one.brand_code, one.reach) for one in found] == [(BRAND, "account")]


# 10. a stop that is mended


async def test_whatever_iys_says_of_a_record_shows_that_a_stop_is_mended(house: House):
    """The subscription is open again; the one record that is tried is refused for itself (H178):
    opt-outs wait no minute more for each such record.
    """
    await house.told_onay(PHONE)
    async with house.ledger.transaction() as connection:
        await standing.stop(
            connection,
            ACTIVE,
            channel="*",
            status="*",
            code="H521",
            why="closed",
            reach="provider",
            now=house.clock(),
        )
    people = [a_phone(number) for number in range(2, 8)]
    await house.ingest(ret(PHONE), *(onay(person) for person in people))
    for person in people:
        house.twin.citizen("ONAY", person, source="IYS_WEB_YENI")  # newer than ours: H178
    house.passes(timedelta(minutes=2))
    minutes = 0
    while house.twin.register()[PHONE] == "ONAY" and minutes < 10:
        await house.submitter.bulk()
        await house.submitter.opt_out()
        house.passes(timedelta(minutes=1))
        minutes += 1
    assert minutes <= 1


# 11. a batch whose first answer comes after three days


async def test_results_are_given_up_after_three_days_of_asking_not_of_being_away(house: House):
    """İYS was away for four days; the list was handed in again; its first result is "enqueue"."""
    await house.brand_in_loading()
    house.twin.order("brands", brandCode=BRAND, iysCode=IYS_CODE, name="Örnek", activatedAt=None)
    await house.ingest(onay(PHONE))
    house.twin.weather("batchV2", drop="before")
    assert await house.submitter.bulk()
    house.twin.order("settings", resultDelay=3000)
    assert await house.recoverer(timedelta(days=4)).recover()
    house.results_are_due()
    assert await house.settler.settle()
    assert (await house.entry()).state != "accepted"
    # A no comes now; nothing is to be withdrawn, İYS says; and then the yes lands.
    await house.ingest(
        ret(PHONE, consent_date=house.clock(), received_at=house.clock(), event_id="no")
    )
    for _ in range(8):
        house.passes(timedelta(minutes=10))
        await house.submitter.opt_out()
        await house.settler.settle()
    assert house.twin.register().get(PHONE) != "ONAY"


# 12. results that are refused for good


async def test_results_that_iys_refuses_for_good_are_given_up(house: House):
    """Opt-outs were told by the thousand; their results may not be had (the brand is another
    account's now); everything else works. A no must not wait for it for ever.
    """
    people = [a_phone(number) for number in range(60)]
    await house.ingest(*(onay(person, minutes=60) for person in people))
    assert await house.submitter.bulk()
    house.results_are_due()
    assert await house.settler.settle()
    await house.ingest(*(ret(person) for person in people))
    house.twin.order("settings", resultDelay=10**7)  # İYS never processes it
    assert await house.submitter.opt_out()
    assert house.twin.calls("batchV2") == 2
    house.twin.order("settings", resultDelay=300)
    house.twin.weather("resultV2", status=403, code="H353", times=None)
    for _ in range(6):
        house.passes(timedelta(days=1))
        await house.settler.settle()
        await house.asker.ask()
        await house.submitter.opt_out()
    assert set(house.twin.register().values()) == {"RET"}


# 13. a refusal that is of a record and names none


async def test_a_refusal_for_a_retailer_that_names_no_item_costs_nobody_else(house: House):
    """As a single add words it (H180, without an index), for a list."""
    people = [a_phone(number) for number in range(8)]
    await house.ingest(*(onay(person) for person in people))
    house.twin.weather("batchV2", status=403, code="H180")
    assert await house.submitter.bulk()
    assert {(await house.entry(person)).state for person in people} == {"awaiting_result"}


# 14. two bring a key at the same time


async def test_a_key_that_pull_brings_at_the_same_time_ends_no_process(house: House):
    """The ingester reads again, and is not ended by it."""
    changes = Changes(house.tools.announcer, now=house.clock())
    async with house.ledger.transaction() as connection:
        changes.put(None, unheard_of(a_key(recipient=PHONE), ACTIVE, house.clock()))
        await changes.write(connection)
        ingesting = asyncio.create_task(house.ingest(onay(PHONE)))
        await asyncio.sleep(1)
    with pytest.raises(ConcurrentChangeError):
        await ingesting


# 15. by single add


async def test_a_single_add_that_iys_has_saved_before_opens_nothing(house: House):
    """The receipt is years old, in a manner: the citizen has said no since."""
    event = fresh(house.clock() - timedelta(minutes=30))
    await house.ingest(event)
    soon = {"soon": house.clock() + timedelta(minutes=50)}
    await house.ledger.fetch("UPDATE consents SET expires_at = %(soon)s RETURNING key", soon)
    assert await house.submitter.last_hour()
    assert (await house.entry()).state == "accepted"
    house.twin.citizen("RET", PHONE)
    house.passes(timedelta(minutes=20))
    async with house.ledger.transaction() as connection:
        for table in ("submission_items", "submissions", "consents", "outbox", "kafka_offsets"):
            await connection.execute(f"DELETE FROM {table}")
    house.states.clear()
    house.offset = 0
    await house.ingest(event)
    await house.ledger.fetch("UPDATE consents SET expires_at = %(soon)s RETURNING key", soon)
    assert await house.submitter.last_hour()
    for _ in range(3):
        house.passes(timedelta(minutes=1))
        await house.asker.ask()
    entry = await house.entry()
    assert house.twin.register() == {PHONE: "RET"}
    assert entry.may_send is False


# 16. before an old success is read back


async def test_an_old_success_opens_nothing_before_it_is_read_back(house: House):
    """İYS says that it saved this before; whether it still stands is asked, and until then?"""
    event = onay(PHONE, minutes=60)
    await house.told_onay(PHONE)
    house.twin.citizen("RET", PHONE)
    async with house.ledger.transaction() as connection:
        for table in ("submission_items", "submissions", "consents", "outbox", "kafka_offsets"):
            await connection.execute(f"DELETE FROM {table}")
    house.states.clear()
    house.offset = 0
    await house.ingest(event)
    assert await house.submitter.bulk()
    house.results_are_due()
    assert await house.settler.settle()
    entry = await house.entry()
    assert (entry.duty, entry.why) == ("ask", "told-before")
    assert await house.permissions(PHONE) == [False]
    assert entry.may_send is False


# 17. nobody is told that a stream cannot be pulled


async def test_a_stream_that_cannot_be_pulled_rings(house: House):
    """İYS does not take our cursor any more, or leaves no right to read: for a week."""
    await house.told_onay(PHONE)
    await pull(house)
    house.twin.weather("changes", status=422, code="H506", times=None)
    watch = Watch(ledger=house.ledger, clock=house.clock, interval=timedelta(minutes=1))
    for _ in range(7):
        house.passes(timedelta(days=1))
        await pull(house)
    assert await watch.look()


# 18. absence is no proof


async def test_an_unattested_onay_over_an_absence_is_not_told_unasked(house: House):
    """İYS's many statuses told NOT_ONAY: there may be a citizen's RET, and there is."""
    people = [PHONE, a_phone(2)]
    for person in people:
        house.twin.citizen("RET", person, consentDate="2026-01-05 10:00:00")
    await house.ingest(*(ret(person, minutes=30) for person in people))
    assert await house.submitter.opt_out()
    assert (await house.entry()).registered == "NOT_ONAY"
    await house.ingest(*(onay(person, minutes=10) for person in people))
    await house.asker.ask()
    await house.submitter.bulk()
    house.results_are_due()
    await house.settler.settle()
    assert house.twin.register()[PHONE] == "RET"


# 19. a refused opt-out whose rescue was lost rings


async def test_an_opt_out_that_waits_for_its_rescue_rings(house: House):
    """The event is on its way for five days."""
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    house.twin.weather("addV2", status=422, code="H113")
    assert await house.submitter.opt_out()
    entry = await house.entry()
    assert (entry.state, entry.duty) == ("refused", "rescue")
    house.passes(timedelta(days=10))
    watch = Watch(ledger=house.ledger, clock=house.clock, interval=timedelta(minutes=1))
    assert await watch.look()


# 20. a paused process


async def test_who_wakes_after_a_refusal_tells_nothing_that_another_has_told_meanwhile(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """İYS refuses a batch for one record; the process is paused before it can write that down;
    another takes the batch up, tells it, and the person says no; then the first one wakes.
    """
    people = [a_phone(number) for number in range(1, 4)]
    await house.ingest(*(onay(person) for person in people))
    tools = replace(house.tools, holder=replace(house.tools.holder, owner="7"))
    other = replace(
        house.recoverer(timedelta(0)), tools=tools, teller=replace(house.teller, tools=tools)
    )
    call = IysClient.add_batch
    first = True

    async def paused(*args: Any, **named: Any) -> Any:
        nonlocal first
        if not first:
            return await call(*args, **named)
        first = False
        house.twin.weather("batchV2", status=422, code="H120")
        try:
            return await call(*args, **named)
        except CallError:
            house.passes(timedelta(seconds=61))
            assert await other.recover()
            house.results_are_due()
            assert await house.settler.settle()
            await house.ingest(
                ret(people[0], consent_date=house.clock(), received_at=house.clock())
            )
            house.passes(A_SECOND * 2)
            assert await house.submitter.opt_out()
            assert house.twin.register()[people[0]] == "RET"
            raise

    monkeypatch.setattr(IysClient, "add_batch", paused)
    submitter = house.submitter
    with suppress(ConcurrentChangeError):
        assert await submitter.bulk()
    assert house.twin.calls("batchV2") == 2
    rows = await house.ledger.fetch(
        "SELECT 1 FROM submission_items WHERE state = 'open' AND status = 'ONAY'"
    )
    assert not rows


# 21. opt-outs in a batch of which nothing is heard


async def test_opt_outs_of_a_batch_that_never_settles_are_told_again_in_time(house: House):
    """İYS took the list on a Monday and says "enqueue" for ever; three business days are three
    days then.
    """
    monday = house.clock() + timedelta(days=(7 - house.clock().weekday()) % 7 + 7)
    house.passes(monday.replace(hour=9, minute=0) - house.clock())
    people = [a_phone(number) for number in range(60)]
    for person in people:
        house.twin.citizen("ONAY", person, source="IYS_WEB_YENI", consentDate="2026-01-05 10:00:00")
    await house.ingest(*await shown_onay(house, people))
    at = house.clock()
    await house.ingest(
        *(ret(person, consent_date=at, received_at=at, event_id=person) for person in people)
    )
    house.twin.order("settings", resultDelay=10**7)
    assert await house.submitter.opt_out()
    assert house.twin.calls("batchV2") == 1
    house.twin.order("settings", resultDelay=300)
    due = (await house.entry(people[0])).due_at
    assert due is not None
    while house.clock() < due - timedelta(hours=1):
        house.passes(timedelta(minutes=55))
        # İYS's clock runs ahead of the one by which its token calls are counted.
        await house.ledger.fetch("UPDATE budgets SET token_calls = '{}' RETURNING 1")
        while await house.settler.settle():
            pass
        await house.asker.ask()
        await house.submitter.opt_out()
    assert set(house.twin.register().values()) == {"RET"}


async def shown_onay(house: House, people: list[str]) -> list[ConsentEvent]:
    """Return what pull shows of citizens' consents."""
    return await pull(house, Stream.IYS)
