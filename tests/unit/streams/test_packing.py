"""Every consent comes back from its bytes as it was, and the bytes are few.

Rows written from facts and read back to facts, held against the codec.
One partition's bulk is folded at a time, and none is forgotten.

Which lanes are fetched, and from where.

A worker ends where its event loop is blocked, and after SIGTERM, whatever its loop waits for.
"""

import asyncio
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import faust
import pytest
from hypothesis import given, strategies as st

from izin.consent import (
    Channel,
    Consent,
    ConsentKey,
    OriginRank,
    RecipientType,
    Status,
    UnreadableKeyError,
    decide,
)
from izin.schemas.codec import UndecodableError
from izin.schemas.fast.writer import EPOCH, MILLISECOND, writer_of
from izin.streams.engine.gate import FetchGate
from izin.streams.engine.partition_processor import Turns
from izin.streams.engine.watches import EXIT_STALLED, Watchdog
from izin.streams.fast_path.rows import FIELDS, RowReader, RowWriter
from izin.streams.state.packing import NEVER, Facts, Packing, facts_of
from tests.support.builders import an_admitted_event
from tests.support.order.harness import CODEC, row_of
from tests.support.waiting import ManualClock

ONAY = decide(None, an_admitted_event(event_id=str(UUID(int=7)))).consent
INSTANTS = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 - given a zone beside
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001 - the same
    timezones=st.just(UTC),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WRITER, READER = RowWriter(CODEC), RowReader(CODEC)
_text = writer_of("string")


@st.composite
def consents(draw: st.DrawFn) -> Consent:
    """Draw any consent at all, as often as not one that keeps the rules the packing counts on."""
    effective_at = draw(INSTANTS)
    if draw(st.booleans()):
        effective_at = effective_at.replace(microsecond=0)
    others = st.none() | st.just(effective_at) | INSTANTS
    return Consent(
        key=ConsentKey(
            brand_code=draw(st.integers(0, 10**9)),
            channel=draw(st.sampled_from(Channel)),
            recipient_type=draw(st.sampled_from(RecipientType)),
            recipient=draw(TEXTS.filter(bool) | st.just("ada/lovelace@example.com")),
        ),
        customer_id=draw(TEXTS),
        status=draw(st.sampled_from(Status)),
        effective_at=effective_at,
        origin_rank=draw(st.sampled_from(OriginRank)),
        event_id=draw(TEXTS | st.uuids().map(str) | st.uuids().map(lambda one: str(one).upper())),
        origin=draw(TEXTS),
        source=draw(st.none() | TEXTS),
        consent_date=draw(others),
        registrable=draw(st.booleans()),
        latest_onay_at=draw(others),
        latest_ret_at=draw(others),
        law_version=draw(st.integers(0, 2**40)),
    )


def back(packing: Packing, consent: Consent) -> Consent:
    return packing.unpack(consent.key.encode(), packing.pack(consent))


@given(st.lists(consents(), max_size=5), st.integers(0, 3))
def test_consent_packed_and_unpacked_is_unchanged(several: list[Consent], most: int) -> None:
    """Any consent, twice, with a table that has room for all shared fields or for few."""
    for packing in (Packing(), Packing(most=most)):
        for consent in several + several:
            found = back(packing, consent)
            assert found == consent
            assert packing.unpack_facts(packing.pack(consent)) == facts_of(consent)
            assert type(found.status) is Status
            assert type(found.origin_rank) is OriginRank
            assert type(found.key.channel) is Channel


@given(st.lists(consents(), max_size=5))
def test_table_of_shared_fields_can_be_saved(several: list[Consent]) -> None:
    """Bytes written with one table are read with the same table, saved and loaded."""
    first = Packing()
    packed = [(one.key.encode(), first.pack(one)) for one in several]
    second = Packing(first.shared())
    assert [second.unpack(key, value) for key, value in packed] == several
    assert second.shared() == first.shared()


def test_lawful_consent_takes_23_bytes() -> None:
    """Whole seconds, a consent date like the effective instant, a UUID: nothing more is stored."""
    assert len(Packing().pack(ONAY)) == 23


def test_instant_that_differs_takes_eight_bytes() -> None:
    """A consent date within the second, and an earlier RET."""
    later = ONAY.effective_at + timedelta(milliseconds=250)
    earlier = ONAY.effective_at - timedelta(days=1)
    assert len(Packing().pack(replace(ONAY, consent_date=later, latest_ret_at=earlier))) == 39


def test_shared_fields_are_returned_from_an_index() -> None:
    """Only new entries of the table have to be stored."""
    packing = Packing()
    packing.pack(ONAY)
    packing.pack(replace(ONAY, origin="crm"))
    packing.pack(ONAY)
    assert len(packing.shared()) == 2
    assert packing.shared(1) == packing.shared()[1:]


def test_invalid_key_is_refused() -> None:
    """Bytes under a key that no consent has are not guessed at."""
    packing = Packing()
    with pytest.raises(UnreadableKeyError):
        packing.unpack(b"no/key", packing.pack(ONAY))


def key_fields(consent: Consent) -> bytes:
    key = consent.key
    fields = map(_text, (key.channel, key.recipient_type, key.recipient))
    return b"".join([writer_of("int")(key.brand_code), *fields])


def in_milliseconds(facts: Facts) -> Facts:
    """Return ``facts`` as a row keeps them."""
    shared, *instants, event_id = facts
    date, onay, ret, effective = (
        at if at == NEVER else at // 1000 * 1000 for at in (*instants[1:], instants[0])
    )
    return shared, effective, date, onay, ret, event_id


@given(consents())
def test_rows_match_the_codec(consent: Consent) -> None:
    """For any consent: the same bytes, and the same facts back."""
    law = replace(consent, law_version=consent.law_version % (1 << 31))
    row = row_of(law)
    assert WRITER.write(key_fields(law), *facts_of(law)) == row
    for _ in range(2):  # its shared fields are learnt, and known
        assert READER.read(row) == in_milliseconds(facts_of(law))


def test_full_cache_changes_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is bounded, and forgetting it changes nothing."""
    monkeypatch.setattr("izin.schemas.fast.cache.MAX_ENTRIES", 2)
    writer, reader = RowWriter(CODEC), RowReader(CODEC)
    for number in range(7):
        consent = replace(
            ONAY, origin=f"o{number}", consent_date=EPOCH + 1000 * number * MILLISECOND
        )
        row = row_of(consent)
        assert writer.write(key_fields(consent), *facts_of(consent)) == row
        assert reader.read(row) == facts_of(consent)


@pytest.mark.parametrize("cut", [3, 40, -1])
def test_row_of_the_wrong_length_is_undecodable(cut: int) -> None:
    """The codec reports what is wrong, as for any record."""
    row = row_of(ONAY)
    with pytest.raises(UndecodableError):
        READER.read(row[:cut])
    with pytest.raises(UndecodableError):
        READER.read(row + b"\x00")


def test_similar_origins_and_sources_are_distinguished() -> None:
    """Where one origin ends as another goes on."""
    reader = RowReader(CODEC)
    several = [
        replace(ONAY, origin=origin, source=source, consent_date=None)
        for origin in ("a", "a\x02\x00\x00\x01", "a\x00\x00\x01", "\x00\x00\x01\x00")
        for source in (None, "", "\x00", "\x00\x00\x01\x00\x00\x02")
    ]
    rows = [row_of(one) for one in several]
    for _ in range(2):
        assert [reader.read(row) for row in rows] == [facts_of(one) for one in several]


def test_row_whose_key_is_no_text_is_undecodable() -> None:
    """Bytes that are no UTF-8 are refused, though nothing else of them is read."""
    row = row_of(ONAY)
    recipient = ONAY.key.recipient.encode()
    assert READER.read(row) == facts_of(ONAY)
    with pytest.raises(UndecodableError):
        READER.read(row.replace(recipient, b"\xff" * len(recipient)))


def test_row_of_another_contract_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who changes the contract of a row has to change what reads and writes it."""
    monkeypatch.setattr("izin.streams.fast_path.rows.FIELDS", FIELDS[:-1])
    for make in (RowWriter, RowReader):
        with pytest.raises(ValueError, match="must have the fields"):
            make(CODEC)


A, B, C = ("events", 0), ("events", 1), ("express", 0)


def whose(turns: Turns, *askers: asyncio.Event) -> list[bool]:
    """Return of each whether it is its turn, in the order of asking."""
    return [turns.is_mine(one) for one in askers]


async def test_turns_come_one_by_one_in_the_order_of_asking() -> None:
    """Asking twice changes nothing; whose turn it is, is woken."""
    turns, first, second, third = Turns(), *(asyncio.Event() for _ in range(3))
    assert whose(turns, first, second, second, third) == [True, False, False, False]
    turns.give_back(first)
    assert (second.is_set(), third.is_set()) == (True, False)
    assert whose(turns, first, third, second) == [False, False, True]
    turns.give_back(second)
    turns.give_back(third)
    assert first.is_set()
    assert whose(turns, first) == [True]


async def test_turn_that_is_wanted_no_more_passes() -> None:
    """A partition that was lost while it waited holds up no other."""
    turns, first, second, third = Turns(), *(asyncio.Event() for _ in range(3))
    whose(turns, first, second, third)
    turns.give_back(second)
    turns.give_back(second)
    turns.give_back(first)
    assert whose(turns, third, second) == [True, False]
    turns.give_back(third)
    assert whose(turns, second) == [True]


async def test_turn_wanted_again_before_it_comes_is_the_last() -> None:
    """The partition came back while it waited."""
    turns, first, second, third = Turns(), *(asyncio.Event() for _ in range(3))
    whose(turns, first, second, third)
    turns.give_back(second)
    assert whose(turns, second) == [False]
    turns.give_back(first)
    assert whose(turns, third, second) == [True, False]


async def test_turn_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that takes nothing keeps one partition busy, and the others go on."""
    monkeypatch.setattr("izin.streams.engine.partition_processor._TURN_ENDS", 0.01)
    turns, first, second = Turns(), asyncio.Event(), asyncio.Event()
    assert whose(turns, first, second) == [True, False]
    await asyncio.wait_for(second.wait(), 20)
    assert whose(turns, second, first) == [True, False]
    turns.give_back(first)
    turns.give_back(second)
    await asyncio.sleep(0.02)
    assert whose(turns, first) == [True]


async def test_turn_that_is_not_taken_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose turn comes may be busy with opt-outs: the others go on meanwhile."""
    turns, first, second, third = Turns(), *(asyncio.Event() for _ in range(3))
    whose(turns, first, second, third)
    monkeypatch.setattr("izin.streams.engine.partition_processor._TURN_ENDS", 0.01)
    turns.give_back(first)
    await asyncio.wait_for(third.wait(), 20)
    assert whose(turns, third, second) == [True, False]


def test_lane_is_fetched_from_its_opening_to_its_end() -> None:
    """Not before it was sought, nor after it was closed."""
    gate = FetchGate()
    assert gate.openings([A, B]) == {}
    opening = gate.open({A: 7, C: 0})
    assert gate.openings([A, B, C]) == {}
    assert gate.take_seeks() == {A: 7, C: 0}
    assert gate.take_seeks() == {}
    assert gate.openings([A, B]) == {A: opening}
    gate.close([A])
    assert gate.openings([A, C]) == {C: opening}


def test_lane_opened_again_has_another_number() -> None:
    """Batches of the first opening are distinguished from those of the second."""
    gate = FetchGate()
    first = gate.open({A: 7})
    second = gate.open({A: 3})
    assert first != second
    assert gate.take_seeks() == {A: 3}
    assert gate.openings([A]) == {A: second}


def test_held_lane_is_fetched_again_once_released_or_opened() -> None:
    """A lane that is opened anew has nothing that waits."""
    gate = FetchGate()
    woken: list[int] = []
    gate.on_change = lambda: woken.append(1)
    gate.open({A: 0, B: 0})
    gate.take_seeks()
    gate.hold(A)
    gate.hold(B)
    assert gate.openings([A, B]) == {}
    gate.release(A)
    assert set(gate.openings([A, B])) == {A}
    gate.open({B: 0})
    gate.take_seeks()
    assert set(gate.openings([A, B])) == {A, B}
    assert len(woken) == 3


def test_lane_closed_before_it_was_sought_is_not_sought() -> None:
    """Its partition is no longer ours."""
    gate = FetchGate()
    gate.open({A: 7})
    gate.close([A])
    assert gate.take_seeks() == {}


class WatchdogClock(ManualClock):
    """A clock by which a watchdog checks."""

    def run(self, watchdog: Watchdog, *, checks: int, limit: float) -> None:
        """Let time pass in which the watchdog checks as often as it should: ten times a limit."""
        for _ in range(checks):
            self.now += limit / 10
            watchdog.check()


@pytest.mark.parametrize("frozen", [0, 3600])
def test_stalled_loop_ends_the_process(frozen: float) -> None:
    """Blocked for the limit: its exit code says so. What it was frozen for is no part of that."""
    clock, ended = WatchdogClock(), list[int]()
    watchdog = Watchdog(limit=20, clock=clock, end=ended.append)
    clock.run(watchdog, checks=5, limit=20)
    clock.now += frozen
    clock.run(watchdog, checks=4, limit=20)
    assert not ended
    clock.run(watchdog, checks=1, limit=20)
    assert ended == [EXIT_STALLED]


async def test_beating_loop_is_left_alone() -> None:
    """A loop that beats is left alone, however long it has run."""
    clock, ended = WatchdogClock(), list[int]()
    watchdog = Watchdog(limit=20, clock=clock, end=ended.append)
    clock.now += 100
    beating = asyncio.create_task(watchdog.beat())
    await asyncio.sleep(0)
    watchdog.check()
    beating.cancel()
    assert not ended


async def test_loop_without_progress_ends_the_process() -> None:
    """A worker that is outside of its group beats no more, although its loop is well."""
    clock, ended = WatchdogClock(), list[int]()
    outside = [False]
    watchdog = Watchdog(
        limit=1, clock=clock, end=ended.append, is_progressing=lambda: not outside[0]
    )
    beating = asyncio.create_task(watchdog.beat())
    await asyncio.sleep(0)
    clock.run(watchdog, checks=9, limit=1)
    assert not ended
    outside[0] = True
    await asyncio.sleep(0.1)
    clock.run(watchdog, checks=2, limit=1)
    beating.cancel()
    assert ended == [EXIT_STALLED]


def test_watching_thread_finds_a_stalled_loop() -> None:
    """Nothing of the watched loop is needed to end it."""
    ended = threading.Event()
    watchdog = Watchdog(limit=0.1, end=lambda _: ended.set())
    watchdog.start()
    assert ended.wait(5)
    watchdog.stop()


def test_faust_has_the_rebalancing_attributes() -> None:
    """The second watchdog of a worker depends on them."""
    assert faust.App.rebalancing is False
    assert callable(faust.App.on_rebalance_start)
    assert callable(faust.App.on_rebalance_end)


STUCK = """
import signal
import sys
import time
from izin.streams.engine.watches import BoundedShutdown

BoundedShutdown(within=float(sys.argv[1])).watch(lambda: print("stopped", flush=True))
print("listening", flush=True)
time.sleep(60)
"""


TOO_EARLY = """
import os
import signal
import time
from izin.streams.engine.watches import BoundedShutdown

shutdown = BoundedShutdown(within=0)
os.kill(os.getpid(), signal.SIGTERM)
shutdown.watch(lambda: None)
time.sleep(60)
"""


@pytest.mark.parametrize(("within", "signals"), [(0.0, 1), (60.0, 2)])
def test_hanging_process_is_ended_after_a_signal(within: float, signals: int) -> None:
    """Out of time, or a second signal: the process ends, although its main thread is blocked."""
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, str(within)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "listening\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopped\n"
        for _ in range(signals - 1):
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == EXIT_STALLED


def test_signal_before_watching_is_not_lost() -> None:
    """A worker that gets SIGTERM during its start ends."""
    done = subprocess.run([sys.executable, "-c", TOO_EARLY], timeout=60, check=False)
    assert done.returncode == EXIT_STALLED
