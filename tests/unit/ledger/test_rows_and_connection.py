"""PostgreSQL errors are distinguished by SQLSTATE: what a value did, and what passes by itself.

A process is silent where this one has watched it show no progress, for long enough.

SQL is commented, and migrations are numbered.

The bounds of the database's instants hold for any exchanges.

Notifications wake whoever waits, and none is lost.
Receipts as entries: the whole request under its id, an answer under its recipient's key.
What a unit of work publishes of a row.

The numbers of companies, and that the number of a natural person is never stored.

What a row becomes by a decision and by an entry of İYS.

Missing numbers of an origin's sequence, whatever order the others arrived in.
"""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from itertools import pairwise
from typing import Any

import orjson
import psycopg
import pytest
from hypothesis import given, strategies as st
from psycopg import errors

from izin.consent import (
    SKEW,
    TURKEY_CALENDAR,
    Action,
    IzinError,
    Observation,
    OriginRank,
    Registered,
    SourceError,
    State,
    decide,
)
from izin.ledger.db import BULK, ClockOffset, Notifications, statements, while_waiting
from izin.ledger.db.connection import DRIFT, translate
from izin.ledger.db.leases import Silence
from izin.ledger.db.migrate import migrations
from izin.ledger.history import entries_of, receipt_key
from izin.ledger.history.append import RECEIPT
from izin.ledger.record import (
    Brand,
    CompanyNumberError,
    ConcurrentChangeError,
    ConsentRow,
    Gap,
    LedgerFaultError,
    LedgerUnavailableError,
    NationalIdError,
    Numbers,
    RefusedValueError,
    RuledRow,
    Run,
    apply,
    body_of,
    first_row,
    item_of,
    ruling,
    runs,
    with_runs,
)
from izin.ledger.record.state_change import retry
from izin.ledger.record.submission import items_of
from izin.ledger.registry.customers import (
    Customer,
    CustomerDetails,
    PersonKind,
    is_national_id,
    is_vkn,
    refuse_national_id,
)
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro
from izin.schemas.topics import Topics
from izin.sinks.ingest.ingested_topics import _arrived
from tests.support.builders import (
    BRAND,
    CUSTOMER,
    NOON,
    PHONE,
    a_decision_record,
    a_key,
    an_admitted_event,
    an_event,
    an_iys_origin,
    kafka_message,
)
from tests.support.fast_copies.registry import MESSAGES, saved
from tests.support.published import a_decision_receipt, a_receipt

KINDS: dict[type[IzinError], tuple[str, ...]] = {
    # bytes that are no text, a number and an instant out of range, a check, a null, an index entry
    RefusedValueError: ("22021", "22003", "22008", "23514", "23502", "54000"),
    # serialization, deadlock, a lock time-out
    ConcurrentChangeError: ("40001", "40P01", "55P03"),
    # connections, disk and memory, shutdown and restart, cancelled and idle, a standby
    LedgerUnavailableError: (
        *("08006", "08003", "08P01", "53100", "53200", "53300"),
        *("57P01", "57P02", "57P03", "57014", "25P03", "25006"),
    ),
    # a table or column is missing, no right to it, an internal error
    LedgerFaultError: ("42P01", "42703", "42501", "XX000"),
}
FILES = [path.name for path in (resources.files("izin.ledger") / "sql").iterdir()]
ways = st.floats(0, 0.5)
SOON = timedelta(seconds=5)


@pytest.mark.parametrize(
    ("state", "kind"), [(state, kind) for kind, states in KINDS.items() for state in states]
)
def test_translate_tells_errors_apart_by_their_sqlstate(state: str, kind: type[IzinError]) -> None:
    """Only a refused value may put a record aside."""
    assert type(translate(errors.lookup(state)("any text"))) is kind


def test_translate_of_errors_without_a_state() -> None:
    """Psycopg refuses a text with a NUL itself; a connection may break before there is a state."""
    assert type(translate(psycopg.DataError("a text"))) is RefusedValueError
    assert type(translate(psycopg.OperationalError("a text"))) is LedgerUnavailableError
    assert type(translate(psycopg.InterfaceError("a text"))) is LedgerUnavailableError


@pytest.mark.parametrize("state", ["42P01", "42703", "42883"])
def test_missing_migration_has_a_remedy(state: str) -> None:
    """A database without our tables, columns or functions is one that was not migrated."""
    assert "izin doctor --fix" in str(translate(psycopg.errors.lookup(state)("any text")))


async def test_work_beside_a_statement_does_not_begin_once_it_is_cancelled() -> None:
    """Nothing is left that nobody awaits."""
    begun = list[str]()

    async def statement() -> None:
        await asyncio.sleep(0)
        begun.append("statement")

    async def work() -> None:
        begun.append("work")

    waiting = asyncio.create_task(while_waiting(statement(), work))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert begun == ["statement"]


def silent(watched: list[tuple[float, dict[str, int]]]) -> list[str]:
    """Return who is silent at the last of these readings."""
    silence, found = Silence(after=10.0, longest_gap=4.0), []
    for now, beats in watched:
        found = silence.of(beats, now)
    return found


@pytest.mark.parametrize(
    ("watched", "found"),
    [
        ([(now, {"1": 7}) for now in (0.0, 3.0, 6.0, 9.0)], []),
        ([(now, {"1": 7}) for now in (0.0, 3.0, 6.0, 9.0, 10.0)], ["1"]),
        ([(0.0, {"1": 7}), (4.0, {"1": 7}), (8.0, {"1": 8}), (12.0, {"1": 8})], []),
        ([(0.0, {"1": 7}), (60.0, {"1": 7}), (62.0, {"1": 7})], []),
        ([(0.0, {"1": 7}), (4.0, {}), (8.0, {"1": 7}), (11.0, {"1": 7})], []),
    ],
    ids=["nine seconds", "ten seconds", "a beat between", "not watched", "gone in between"],
)
def test_process_without_a_beat_for_ten_seconds_is_silent(
    watched: list[tuple[float, dict[str, int]]], found: list[str]
):
    """It is frozen, or its host was powered off; however slow a beat is, it ends the silence. What
    was not watched is none: this process was frozen itself, or the database was away.
    """
    assert silent(watched) == found


@pytest.mark.parametrize("file", sorted(name.removesuffix(".sql") for name in FILES))
def test_every_sql_statement_has_a_comment(file: str):
    """SQL is named and commented, so that it can be read without its caller."""
    for name, text in statements(file).items():
        assert text.startswith("--"), f"{file}.sql: {name} has no comment"


def test_migrations_are_numbered_without_a_gap():
    """They run in the order of their names; what one of them needs outside a transaction has its
    number.
    """
    numbers = [int(one.name.split("_")[0]) for one in migrations()]
    assert numbers == sorted(numbers)
    assert sorted(set(numbers)) == list(range(1, numbers[-1] + 1))
    assert len([one for one in migrations() if not one.is_outside]) == numbers[-1]


@given(
    st.floats(-1e6, 1e6),
    st.floats(-DRIFT / 2, DRIFT / 2),
    st.lists(st.tuples(st.floats(0, 10), ways, ways), min_size=1, max_size=30),
)
def test_instant_of_the_database_lies_within_its_bounds(
    ahead: float, drift: float, exchanges: list[tuple[float, float, float]]
):
    """The database's clock is ahead, drifts, and is read over slow networks."""

    def theirs(ours: float) -> float:
        return ours + ahead + drift * ours

    offset, at = ClockOffset(), 0.0
    for pause, there, back in exchanges:
        queried_at = at + pause
        at = queried_at + there + back
        offset.read(queried_at, theirs(queried_at + there), at)
        earliest, latest = offset.ours(theirs(at))
        assert earliest - 1e-6 <= at <= latest + 1e-6
        assert offset.theirs(at) >= theirs(at) - 1e-6


def test_slow_exchange_costs_no_precision():
    """The bounds of a quick exchange still hold, somewhat wider."""
    offset = ClockOffset()
    offset.read(10.0, 1010.001, 10.002)
    offset.read(11.0, 1011.3, 11.4)
    earliest, latest = offset.ours(1011.4)
    assert latest - earliest == pytest.approx(0.002, abs=0.003)


def test_clock_that_was_set_replaces_earlier_exchanges():
    """What was read before is of no use."""
    offset = ClockOffset()
    offset.read(10.0, 1010.001, 10.002)
    offset.read(11.0, 2011.001, 11.002)
    earliest, latest = offset.ours(2011.002)
    assert earliest <= 11.001 <= latest
    assert latest - earliest < 0.01


async def test_notification_before_the_wait_is_not_lost():
    """One since the last look ends the wait at once."""
    notifications = Notifications()
    seen = notifications.count(BULK)
    notifications.wake(BULK)
    await asyncio.wait_for(notifications.wait(BULK, seen, SOON), 1)


async def test_notification_ends_the_wait():
    """Nobody waits for the interval while there is work."""
    notifications = Notifications()
    waiting = asyncio.create_task(notifications.wait(BULK, notifications.count(BULK), SOON))
    await asyncio.sleep(0)
    notifications.wake(BULK)
    await asyncio.wait_for(waiting, 1)


ID = a_receipt()["receipt_id"]


def test_list_is_one_movement_that_names_nobody() -> None:
    """With what was asked, how many got which answer, and the digest of the list."""
    (one,) = entries_of(a_receipt(basis="contract", customer_id="beta"))
    assert (one.kind, one.key, one.source) == (RECEIPT, receipt_key(ID), receipt_key(ID))
    assert (one.customer_id, one.occurred_at, one.may_repeat) == ("beta", NOON, True)
    names = ("receipt", "recipients", "basis", "campaign", "digest")
    assert [one.data[name] for name in names] == [
        *("list", 2, "contract", "spring", a_receipt()["digest"])
    ]


def test_answer_is_a_movement_of_its_recipient() -> None:
    """Beside one of the request, which has nothing that leads to the recipient."""
    whole, own = entries_of(a_decision_receipt(retailer_code=7))
    assert (own.key, own.source) == (str(a_key(recipient=PHONE)), f"{receipt_key(ID)}/0")
    assert (own.data["receipt_id"], own.data["basis"], own.data["retailer_code"]) == (
        *(ID, "order 17", 7),
    )
    assert whole.key == receipt_key(ID)
    assert PHONE not in json.dumps(json.loads(orjson.dumps(whole.data)))
    assert (whole.data["digest"], whole.data["basis"]) == (None, None)


def test_list_of_one_recipient_keeps_nothing_of_it() -> None:
    """Whoever guesses the recipient could test the digest, after an erasure too; the basis may be
    the number of an order.
    """
    (one,) = entries_of(a_receipt(recipients=1, reasons={"registered": 1}, basis="order 17"))
    assert (one.data["digest"], one.data["basis"]) == (None, None)


def test_answer_without_a_valid_address_stays_with_its_request() -> None:
    """It has no key, and names nobody."""
    _, own = entries_of(a_decision_receipt(index=3, recipient=None))
    assert (own.key, own.source) == (receipt_key(ID), f"{receipt_key(ID)}/3")
    assert own.data["basis"] is None


def test_answer_of_no_channel_is_refused() -> None:
    """It goes to the dead letters, where a person sees it."""
    with pytest.raises(SourceError):
        list(entries_of(a_decision_receipt(type="SMS")))


def test_permission_behind_a_closed_opt_in_is_published_again() -> None:
    """The opt-out before it holds again: the topic must not keep what the opt-in permitted."""
    row = first_row(a_key(), CUSTOMER, NOON)
    opted_out = row.replace(
        desired_status="RET", desired_at=NOON, desired_rank=0, latest_ret_at=NOON
    )
    changes, _ = saved(None, RuledRow(row=opted_out), NOON)
    before = changes.written(opted_out)
    closed = before.replace(desired_status="ONAY", latest_ret_at=None, state=State.EXPIRED)
    changes, messages = saved(before, RuledRow(row=before, closed=closed), NOON)
    published = [one for one in messages if one.topic == Topics().permissions.name]
    written = changes.written(before)
    expected = MESSAGES.permission_of(written, NOON, previous=False)
    assert len(published) == 2
    assert published[-1].value == expected.value
    assert written.permission_reason == before.permission_reason


VKN = "1234567890"
MERSIS = f"0{VKN}00015"
NATIONAL_ID = "10000000146"
"""Made up; its check digits are right."""


def a_customer() -> Customer:
    """Return a customer of whom nobody has said anything."""
    return Customer(
        customer_id="acme",
        name="Acme",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        brake_share=None,
        brake_at_least=None,
    )


def test_vkn_is_checked_by_its_last_digit() -> None:
    """Of ten numbers that differ in the last digit, one is right; 8450525470 is İYS's example."""
    assert [digit for digit in "0123456789" if is_vkn(VKN[:-1] + digit)] == ["0"]
    assert is_vkn("8450525470")
    assert not any(map(is_vkn, ("", "123456789", "12345678901", "12345678９0", "1234 67890")))


def test_national_id_is_known_by_its_check_digits() -> None:
    """57703411244 is İYS's example; a phone number, which begins with 0, is none."""
    assert is_national_id(NATIONAL_ID)
    assert is_national_id("57703411244")
    assert not any(map(is_national_id, ("10000000145", "05550000001", "1000000014", "")))


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("vkn", NATIONAL_ID),
        ("vkn", "100 000 00146"),
        ("mersis", NATIONAL_ID),
        ("mersis", f"{NATIONAL_ID}00012"),
        ("name", f"Ayşe Örnek {NATIONAL_ID}"),
    ],
)
@pytest.mark.parametrize("kind", [None, *PersonKind])
def test_national_id_is_refused_in_every_field(
    field: str, given: str, kind: PersonKind | None
) -> None:
    """For a natural person too; the message names the place and does not repeat the number."""
    with pytest.raises(NationalIdError, match="never stored") as refused:
        CustomerDetails(kind=kind, **{field: given})  # type: ignore[arg-type]
    assert NATIONAL_ID[:6] not in str(refused.value)


@pytest.mark.parametrize(
    ("field", "given", "said"),
    [
        ("vkn", "1234567891", "last digit"),
        ("vkn", "123456789", "10 digits"),
        ("vkn", "12345678901", "10 digits"),
        ("mersis", "012345678900015", "16 digits"),
        ("mersis", "0123456789100015", "no valid VKN"),
    ],
)
def test_number_that_cannot_be_right_is_refused(field: str, given: str, said: str) -> None:
    """With what is wrong with it."""
    with pytest.raises(CompanyNumberError, match=said):
        CustomerDetails(**{field: given})  # type: ignore[arg-type]


def test_details_keep_what_they_do_not_name() -> None:
    """Spaces and dashes between digits are left out; an empty text or 0 takes a value away."""
    said = CustomerDetails(
        kind=PersonKind.LEGAL, mersis="0123-4567-8900-0015", vkn=" 123 456 7890 ", iys_code=1
    )
    after = said.of(a_customer())
    assert (after.kind, after.mersis, after.vkn, after.iys_code) == ("legal", MERSIS, VKN, 1)
    named = CustomerDetails(name="Acme A.Ş.").of(after)
    assert (named.name, named.mersis) == ("Acme A.Ş.", MERSIS)
    emptied = CustomerDetails(mersis="", vkn="", iys_code=0).of(after)
    assert (emptied.kind, emptied.mersis, emptied.vkn, emptied.iys_code) == ("legal", *[None] * 3)


def test_text_without_a_national_id_is_returned() -> None:
    """Eleven digits within longer ones are none."""
    for text in ("Acme", f"9{NATIONAL_ID}", "+905550000001"):
        assert refuse_national_id(text, "the name") == text


NOW = NOON + timedelta(minutes=10)
ACTIVE = Brand(
    brand_code=BRAND,
    iys_code=BRAND,
    customer_id=CUSTOMER,
    name="Örnek",
    activated_at=datetime(2020, 1, 1, tzinfo=UTC),
)


def decided(entry: ConsentRow | None = None, **overrides: object) -> ConsentRow:
    """Return the row after the decision on an event with these fields."""
    decision = decide(None, an_admitted_event(**overrides))
    return apply.decided(entry, a_decision_record(decision), NOW)


def rule(row: ConsentRow, brand: Brand | None = ACTIVE, now: datetime = NOW) -> ConsentRow:
    """Return what is ruled on a row."""
    return ruling.rule_row(row, brand, now, calendar=TURKEY_CALENDAR).row


def an_entry(**columns: object) -> ConsentRow:
    """Return the row of an opt-in that is due."""
    return rule(decided()).replace(**columns)


def in_flight_row(**overrides: object) -> ConsentRow:
    """Return a row whose submission has no reply yet."""
    entry = rule(decided(**overrides))
    ret = entry.desired_status == "RET"
    return entry.replace(
        state=State.IN_FLIGHT, action=Action.NOTHING, attempts=1, onay_open=not ret, ret_open=ret
    )


def shown(value: Registered, minutes: int = 0, **fields: object) -> Observation:
    """Return what İYS shows some minutes after noon."""
    statement = Observation(
        value=value,
        creation_date=NOON + timedelta(minutes=minutes),
        transaction_id="0" * 64,
        verified_at=NOW,
        verified_by="pull",
    )
    return replace(statement, **fields)


def test_event_dated_ahead_waits_for_the_clock():
    """Correct clocks differ, and İYS takes no date ahead of its own (H162)."""
    at = NOW + timedelta(minutes=1)
    entry = decided().replace(desired_at=at)
    for now, wait in ((NOW, at), (at, None)):
        ruled = rule(entry, now=now)
        assert (ruled.action, ruled.next_attempt_at) == ("send", wait)


def test_first_opt_in_is_due_and_has_its_terms():
    """The term runs from the consent; nothing may be sent yet. Of an unknown brand nothing can be
    submitted, and nothing is dropped.
    """
    entry = an_entry()
    assert (entry.state, entry.action, entry.registered) == ("pending", "send", "UNKNOWN")
    assert entry.due_at < entry.expires_at
    unknown = rule(decided(), None)
    assert (unknown.state, unknown.reason) == ("parked", ruling.UNKNOWN_BRAND)


def test_older_decision_moves_only_the_latest_instants():
    """A stale RET is kept for permissions, and changes nothing that is due."""
    entry = an_entry()
    earlier = NOON - timedelta(days=1)
    after = decided(entry, event_id="old", status="RET", consent_date=earlier)
    assert after.desired_event_id == entry.desired_event_id
    assert after.latest_ret_at == earlier


def claimed(entry: ConsentRow | None = None, **overrides: object) -> ConsentRow:
    """Return the row after an event that says it comes from İYS, in a topic."""
    iys = an_iys_origin(path="push", creation_date=NOON)
    event = {"event_id": "iys", "source": "IYS_WEB", "origin": "iys", "iys": iys}
    return rule(decided(entry, **event | overrides))


def test_onay_that_an_event_claims_opens_nothing():
    """Whoever writes the topic could claim it: İYS is queried first."""
    after = claimed(status="ONAY")
    assert (after.registered, after.verified_at) == ("UNKNOWN", None)
    assert (after.action, after.reason) == ("query", "originated-at-iys")
    assert after.next_attempt_at > NOW
    assert permission_of(after).may_send is False


def permission_of(row: ConsentRow) -> ConsentRow:
    """Return the row of a key that was unknown, with its permission."""
    return MESSAGES.permission(None, row, NOW)[0]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({}, "awaiting-iys"),
        ({"state": State.REFUSED}, "void"),
        ({"state": State.EXPIRED}, "void"),
        ({"desired_rank": OriginRank.IYS}, "not-registered"),
        ({"desired_status": "RET"}, "opted-out"),
    ],
)
def test_permission_names_what_became_of_an_onay(columns: dict[str, object], reason: str):
    """A subscriber sees whether waiting helps, or a new consent is needed."""
    found = permission_of(an_entry(**columns))
    assert (found.may_send, found.permission_reason) == (False, reason)


def test_ret_that_an_event_claims_closes_and_settles_nothing():
    """No ONAY is sent over it unattested; and ours is sent unless İYS itself shows it."""
    after, later = claimed(status="RET"), NOON + timedelta(minutes=1)
    onay = decided(after, event_id="later", consent_date=later)
    ours = decided(after, event_id="ours", status="RET", consent_date=later)
    assert (after.registered, after.verified_at, after.state) == ("RET", None, "pending")
    for row in (after, rule(onay), rule(ours)):
        assert (row.action, row.reason) == ("query", "originated-at-iys")
    parked = rule(apply.observed(onay, shown(Registered.RET, source="IYS_WEB")))
    assert (parked.state, parked.reason) == ("parked", "reconsent")
    seen = apply.observed(ours, shown(Registered.RET))
    assert (seen.verified_at, rule(seen).state) == (NOW, "not_needed")
    assert claimed(seen, event_id="again", status="RET").verified_at == NOW


QUERIED = {"transaction_id": None, "verified_by": "statuses"}
ABSENT = shown(Registered.NOT_ONAY, minutes=5, **QUERIED)


@pytest.mark.parametrize(
    ("seen", "registered"),
    [
        ([shown(Registered.RET, 2), shown(Registered.ONAY, 1)], "RET"),
        ([shown(Registered.ONAY, 1), shown(Registered.RET, 2)], "RET"),
        ([shown(Registered.RET), shown(Registered.ONAY)], "RET"),
        ([shown(Registered.ONAY), shown(Registered.RET)], "RET"),
        (
            [shown(Registered.ONAY, 5, **QUERIED), shown(Registered.RET, 4, verified_by="add")],
            "RET",
        ),
        ([ABSENT, shown(Registered.RET, 1)], "RET"),
        ([ABSENT, shown(Registered.RET, 1), shown(Registered.ONAY, 3)], "RET"),
        ([ABSENT, shown(Registered.RET, 1), shown(Registered.ONAY, 6)], "ONAY"),
    ],
    ids=[
        *("any order", "in order", "same second", "same second, in order", "reply after query"),
        *("opt-out explains absence", "opt-in before the query", "opt-in after the query"),
    ],
)
def test_latest_of_what_iys_shows_is_registered(seen: list[Observation], registered: str):
    """By İYS's clock, whatever order they come in. It has no finer resolution than a second, and an
    opt-out is never undone by accident; a query has our clock, and cannot be compared. The multiple
    query shows only that it is no opt-in.
    """
    row = an_entry()
    for one in seen:
        row = apply.observed(row, one)
    assert row.registered == registered
    if seen[:1] == [ABSENT] and registered == "RET":
        assert row.registered_at == NOON + timedelta(minutes=5)


def test_observed_onay_from_the_future_outranks_no_later_ret():
    """A provider's clock, or İYS's, may be wrong by a year; it counts from when we saw it."""
    ahead = shown(Registered.ONAY, creation_date=NOW + timedelta(days=365))
    held = apply.observed(an_entry(), ahead)
    assert (held.registered, held.registered_at) == ("ONAY", NOW)
    later = shown(
        Registered.RET,
        creation_date=NOW + timedelta(seconds=1),
        verified_at=NOW + timedelta(seconds=2),
    )
    assert apply.observed(held, later).registered == "RET"
    close = shown(Registered.ONAY, creation_date=NOW + SKEW)
    assert apply.observed(an_entry(), close).registered_at == NOW + SKEW


def test_movement_completes_a_queried_value():
    """The multiple query has no dates; the entry that is pulled later does. A citizen's opt-in
    is then no newer than an opt-out of ours between both, which is sent.
    """
    asked = apply.observed(decided(status="RET"), shown(Registered.ONAY, 5, **QUERIED))
    before = NOON - timedelta(minutes=1)
    entry = shown(Registered.ONAY, minutes=-1, consent_date=before, source="IYS_WEB")
    after = apply.observed(asked, entry)
    assert (after.registered_consent_date, after.registered_at) == (before, before)
    assert (rule(after).action, rule(after).reason) == ("send", "opt-out")


def test_row_in_flight_keeps_its_state():
    """Nothing is ruled while a call is out, whatever is observed meanwhile."""
    assert rule(apply.observed(in_flight_row(), shown(Registered.ONAY))).state == "in_flight"


def test_opt_out_is_retried_within_seconds():
    """An opt-out never waits as long as bulk does."""
    for status, wait in (("RET", timedelta(seconds=3)), ("ONAY", timedelta(minutes=15))):
        row = in_flight_row(status=status).replace(attempts=30)
        assert retry(row, NOW, "x", None).next_attempt_at == NOW + wait


def test_stored_request_body_round_trips():
    """The items are read back, so that the same body is sent again."""
    item = item_of(an_entry(retailer_code=55550127, retailer_access=(55550127,)))
    assert items_of(body_of([item])) == (item,)
    assert item.consent_date == NOON
    assert item.recipient == PHONE == a_key().recipient


def test_row_replace_equals_dataclasses_replace():
    """``ConsentRow.replace`` is only faster."""
    entry = an_entry()
    assert entry.replace(state=State.PARKED, reason="x") == replace(
        entry, state=State.PARKED, reason="x"
    )
    assert entry.state == "pending"


def test_absence_from_a_query_keeps_a_known_opt_out():
    """The multiple query shows only ONAY: absence after a citizen's RET is that RET, and an older
    consent of ours must not be sent over it.
    """
    known = apply.observed(an_entry(), shown(Registered.RET, minutes=5, source="IYS_WEB"))
    at = NOW + timedelta(minutes=1)
    asked = apply.observed(known, shown(Registered.NOT_ONAY, 9, verified_at=at, **QUERIED))
    assert asked.registered_state == known.registered_state
    assert (asked.verified_by, asked.verified_at) == ("statuses", at)
    assert rule(asked).action == "query"


LATER = NOON + timedelta(minutes=1)
NUMBERS = st.lists(st.sets(st.integers(-5, 30), min_size=1), min_size=1, max_size=5)


def after(*batches: dict[int, datetime]) -> Numbers:
    """Return what is known after `batches` of numbers with their instants."""
    first, *others = map(runs, batches)
    found = with_runs(Numbers(first=first[0].first, last=first[0].last), first)
    for one in others:
        found = with_runs(found, one)
    return found


def at(*numbers: int, instant: datetime = NOON) -> dict[int, datetime]:
    return dict.fromkeys(numbers, instant)


@given(NUMBERS)
def test_gaps_are_the_numbers_that_did_not_arrive(batches: list[set[int]]):
    """In any order and batch, and repeated too."""
    found = after(*(at(*one) for one in [*batches, batches[0]]))
    came = set().union(*batches)
    missing = [number for gap in found.gaps for number in range(gap.first, gap.last + 1)]
    assert (found.first, found.last) == (min(came), max(came))
    assert missing == sorted(set(range(min(came), max(came) + 1)) - came)
    assert all(one.last + 1 < other.first for one, other in pairwise(found.gaps))


def test_consecutive_numbers_are_one_run():
    """A run has the instant of its earliest record."""
    assert runs({3: LATER, 4: NOON, 7: LATER}) == [Run(3, 4, NOON), Run(7, 7, LATER)]


def test_gap_has_the_instant_of_the_number_after_it():
    """What is left of a gap stays as old."""
    assert after(at(1), at(9, instant=LATER)).gaps == (Gap(2, 8, LATER),)
    split = after(at(1), at(9, instant=LATER), at(5, instant=LATER + timedelta(hours=1)))
    assert split.gaps == (Gap(2, 4, LATER), Gap(6, 8, LATER))
    assert sum(gap.size for gap in split.gaps) == 6


def test_late_number_closes_its_gap():
    """It is missing no more."""
    assert after(at(1, 2), at(4), at(3)) == Numbers(first=1, last=4)


def test_lower_number_extends_the_sequence_downwards():
    """A lane that is read later may have what an origin began with."""
    assert after(at(10, 11), at(7)).gaps == (Gap(8, 9, NOON),)


def test_gaps_are_bounded_and_given_up_numbers_counted():
    """Numbers that are not consecutive cost no more than a bound."""
    numbers = Numbers(first=0, last=0)
    for step in range(1, 6):
        run = Run(10 * step, 10 * step, NOON + timedelta(seconds=step))
        numbers = numbers.with_run(run, most=2)
    assert [gap.first for gap in numbers.gaps] == [31, 41]
    assert numbers.given_up == 27
    assert numbers.with_run(Run(5, 5, LATER), most=2) == numbers


def test_record_without_a_number_is_skipped():
    """Malformed values, tombstones and events without a number are not counted."""
    codec = Codec()

    def message_of(**fields: object) -> Any:  # noqa: ANN401  # a Message
        return kafka_message(value=codec.encode("ConsentEvent", event_to_avro(an_event(**fields))))

    messages = [
        message_of(sequence=2, origin="crm"),
        kafka_message(value=b"rubbish"),
        kafka_message(),
        message_of(sequence=None),
        message_of(sequence=3, origin="crm", status="perhaps"),
        message_of(sequence=1, origin="web\0"),
        message_of(sequence=1, customer_id="other"),
    ]
    assert _arrived(messages, codec) == {
        ("acme", "crm"): [Run(2, 3, NOON)],
        ("other", "web"): [Run(1, 1, NOON)],
    }
    assert NOON.tzinfo is UTC
