"""Which stream is pulled when, how fresh that makes each channel, and what outages cost."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from structlog.typing import EventDict

from izin.consent import Channel
from izin.iys.client import IysClient
from izin.iys.wire_format import BrandPath, JsonReader, MovementPage, Stream
from izin.ledger import stream_progress, suspensions
from izin.ledger.db import Connection
from izin.ledger.record import Brand, ConcurrentChangeError, RefusedValueError
from izin.ledger.stream_progress import WINDOW
from izin.ledger.sweep import sweeps
from izin.runtime.settings import SinkSettings
from izin.schemas.records import event_from_avro
from izin.sinks.inbound.movements import ObservedMovement, Puller, ReportedMovements
from tests.integration.sinks.inbound.test_pull import freshness
from tests.integration.sinks.sink_harness import (
    A_MINUTE,
    A_SECOND,
    ACTIVE,
    InMemoryTopic,
    SinkHarness,
    a_phone,
)
from tests.support.builders import BRAND, PHONE
from tests.support.hostile.inputs import a_movement

pytestmark = pytest.mark.database

HALF_A_MINUTE = timedelta(seconds=30)
AN_HOUR = timedelta(hours=1)
BRANDS = 10
Changes = Callable[[str, Stream, str | None], Awaitable[MovementPage | None]]


def answer_pulls(monkeypatch: pytest.MonkeyPatch, changes: Changes) -> None:
    """Have İYS answer pulls by ``changes``, of a brand's path, a stream and a cursor."""

    async def method(
        _: IysClient, brand: BrandPath, stream: Stream, after: str | None
    ) -> MovementPage | None:
        return await changes(str(brand), stream, after)

    monkeypatch.setattr(IysClient, "changes", method)


async def test_streams_take_turns_and_one_that_is_behind_has_half(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """None waits for a second turn of another; the one with more pages has every second turn."""
    for number in range(1, BRANDS):
        await harness.brand(replace(ACTIVE, brand_code=BRAND + number))
    asked: list[tuple[str, Stream]] = []
    endless = (str(ACTIVE.path), Stream.IYS)

    async def changes(path: str, stream: Stream, after: str | None) -> MovementPage | None:
        asked.append((path, stream))
        if asked[-1] != endless:
            return None
        page = {"after": str(len(asked)), "list": [a_movement(PHONE)]}
        return MovementPage.read(JsonReader(page))

    answer_pulls(monkeypatch, changes)
    puller = harness.puller(InMemoryTopic(), interval=HALF_A_MINUTE)
    others = 2 * BRANDS - 1
    for turn in range(2 * others + 1):
        assert await puller.pull_next(behind_first=turn % 2 == 1)
    counted = Counter(asked)
    assert counted.pop(endless) in {others, others + 1, others + 2}
    assert set(counted.values()) == {1}
    assert len(counted) == others
    asked.clear()
    for turn in range(4):
        assert await puller.pull_next(behind_first=turn % 2 == 1)
    assert set(asked) == {endless}, "no other is due within the interval"


async def test_failed_pull_waits_and_only_as_long_as_it_must(harness: SinkHarness):
    """A closed subscription needs a person, and each call counts against the address."""
    puller = harness.puller(InMemoryTopic(), interval=AN_HOUR)

    async def called() -> int:
        await turns(puller)
        return harness.iys.calls("changes")

    harness.iys.inject_fault("changes", status=503, times=2)
    assert await called() == 2
    harness.advance(A_SECOND * 10)
    harness.iys.inject_fault("changes", status=403, code="H521", times=2)
    assert await called() == 4
    harness.advance(A_SECOND * 10)
    assert await called() == 4
    harness.advance(A_MINUTE * 15)
    assert await called() == 6


async def streams_pause_for_a_right(harness: SinkHarness) -> Puller:
    """Have the streams of four brands refused for a missing right, which pauses them."""
    for number in range(1, 4):
        await harness.brand(replace(ACTIVE, brand_code=BRAND + number))
        harness.iys.brand(brandCode=BRAND + number)
    harness.iys.inject_fault("changes", status=403, code="H353", times=8)
    puller = harness.puller(InMemoryTopic(), interval=AN_HOUR)
    assert await turns(puller) == 8
    assert await turns(puller) == 0
    found = await stream_progress.read(harness.ledger)
    assert all("H353" in (one.failure or "") for one in found)
    return puller


async def turns(puller: Puller) -> int:
    """Pull all that is due; return how many turns that took."""
    count = 0
    while await puller.pull_next():
        count += 1
    return count


async def test_first_stream_that_is_read_again_wakes_the_others(harness: SinkHarness):
    """A right that returned for one returned for all that failed for the same."""
    puller = await streams_pause_for_a_right(harness)
    await harness.pull(Stream.IYS)
    assert await turns(puller) == 8, "itself too, for this pull has no interval"
    assert {one.failure for one in await stream_progress.read(harness.ledger)} == {None}


async def test_returned_right_wakes_the_streams_of_its_brand(harness: SinkHarness):
    """Once a person says so, or retries, or İYS takes a record: a citizen's opt-out is not late."""
    puller = await streams_pause_for_a_right(harness)
    await harness.ledger.fetch("UPDATE stream_cursors SET failure = brand_code::text RETURNING 1")
    await harness.set_rights(Channel)
    assert await turns(puller) == 2
    async with harness.ledger.transaction() as connection:
        await connection.execute(
            "UPDATE stream_cursors SET failing_since = now(), failure = 'H353', next_at = %s"
            " WHERE brand_code = %s",
            (harness.clock() + AN_HOUR, BRAND),
        )
    await harness.suspend("H353", channel="MESAJ")
    await suspensions.recheck_now(harness.ledger, BRAND, by="ada", now=harness.clock())
    assert await turns(puller) == 2


async def test_page_that_the_ledger_refuses_stops_no_other_stream(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch, logged: list[EventDict]
):
    """It is tried again after the interval, with an alert each time."""
    record = ReportedMovements.record

    async def refuse(
        reported: ReportedMovements,
        connection: Connection,
        brand: Brand,
        seen: Sequence[ObservedMovement],
        *,
        now: datetime,
    ) -> None:
        if seen:
            raise RefusedValueError("22021")
        await record(reported, connection, brand, seen, now=now)

    monkeypatch.setattr(ReportedMovements, "record", refuse)
    harness.citizen("RET", then=A_SECOND * 2)
    await turns(harness.puller(InMemoryTopic(), interval=HALF_A_MINUTE))
    assert [one["event"] for one in logged if one["log_level"] == "critical"] == ["page refused"]
    pulled = "SELECT stream FROM stream_cursors WHERE last_pulled_at IS NOT NULL"
    assert await harness.ledger.fetch(pulled) == [{"stream": "HS"}]


async def test_cursor_that_iys_refuses_is_given_up(harness: SinkHarness):
    """What was read before changes nothing, and what came since is read."""
    harness.iys.citizen("RET")
    first = await harness.pull(Stream.IYS)
    harness.iys.citizen("RET", a_phone(2))
    harness.iys.inject_fault("changes", status=422, code="H506")
    assert await harness.pull(Stream.IYS) == []
    again = await harness.pull(Stream.IYS)
    assert [one.recipient for one in again] == [PHONE, a_phone(2)]
    assert again[0].event_id == first[0].event_id


async def test_channel_without_a_right_is_not_called_fresh(harness: SinkHarness):
    """İYS leaves it out of its pages; when it returns, it is fresh once both streams are read."""
    await harness.suspend("H353", channel="MESAJ")
    await harness.pull()
    assert {one["type"] for one in await freshness(harness)} == {"ARAMA", "EPOSTA"}
    await harness.resume("MESAJ", "ONAY")
    known = len(await freshness(harness))
    await harness.pull(Stream.IYS)
    assert len(await freshness(harness)) == known
    await harness.pull(Stream.HS)
    assert {one["type"] for one in (await freshness(harness))[known:]} == set(Channel)


async def test_page_asked_for_before_a_right_returned_is_read_again(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """It may lack the channel that has returned, so the stream is not read to its end."""
    await harness.suspend("H353", channel="MESAJ")
    await harness.pull(Stream.HS)

    async def changes(_: str, __: Stream, ___: str | None) -> None:
        await harness.resume("MESAJ", "ONAY")

    answer_pulls(monkeypatch, changes)
    with pytest.raises(ConcurrentChangeError):
        await harness.puller(InMemoryTopic()).pull_page(await harness.brand(), Stream.IYS)
    assert await freshness(harness) == []


async def test_right_lost_for_longer_than_the_window_is_a_gap(
    harness: SinkHarness, logged: list[EventDict]
):
    """The brand was pulled all the time, without the channel: a sweep queries its keys."""
    await harness.register_onay()
    await harness.suspend("H353", channel="MESAJ")
    await harness.pull()
    harness.advance(WINDOW - AN_HOUR)
    await harness.pull()
    harness.advance(AN_HOUR * 2)
    await harness.pull()
    await harness.resume("MESAJ", "ONAY")
    await harness.pull()
    (sweep,) = await sweeps.latest(harness.ledger)
    assert (sweep.reason, sweep.keys, sweep.ended_at) == ("gap", 1, None)
    assert "stream gap exceeded what iys shows" in {one["event"] for one in logged}


async def test_without_push_a_pull_brings_an_opt_out_within_a_minute(harness: SinkHarness):
    """Of the hour that İYS hides it, with the settings as they are given."""
    harness.iys.post("settings", hiddenWindow=3600)
    topic, settings = InMemoryTopic(), SinkSettings()
    puller = harness.puller(topic, interval=settings.pull_interval)
    harness.start_second()
    harness.iys.citizen("RET")
    waited = timedelta(0)
    while not topic.messages and waited < AN_HOUR * 2:
        await turns(puller)
        harness.advance(A_SECOND * 10)
        waited += A_SECOND * 10
        if waited == A_SECOND * 10:
            harness.advance(AN_HOUR - A_SECOND * 20)
            waited += AN_HOUR - A_SECOND * 20
    assert AN_HOUR - A_SECOND * 10 < waited <= AN_HOUR + A_MINUTE
    assert (await harness.row()).registered == "RET"


async def test_outage_of_six_days_loses_no_opt_out(harness: SinkHarness):
    """Neither pushed nor pulled: the window still has them, oldest first. One is of a merchant's
    closed line, which İYS shows without a date (reference 2.7).
    """
    await harness.pull()
    expected = [a_phone(99)]
    harness.citizen(
        "RET", expected[0], recipientType="TACIR", source="IYS_AHS_HAT_KAPATMA", then=A_MINUTE
    )
    for number in range(24):
        expected.append(a_phone(number))
        harness.citizen("RET", expected[-1], then=timedelta(hours=6))
    topic = InMemoryTopic()
    await turns(harness.puller(topic, interval=HALF_A_MINUTE))
    assert await harness.ledger.fetch(
        "SELECT recipient, registered FROM consents ORDER BY registered_at"
    ) == [{"recipient": one, "registered": "RET"} for one in expected]
    assert len(topic.messages) == len(expected)
    closed, *others = (
        event_from_avro(harness.codec.decode("ConsentEvent", one.value)) for one in topic.messages
    )
    assert closed.consent_date is None
    assert all(one.consent_date for one in others)
