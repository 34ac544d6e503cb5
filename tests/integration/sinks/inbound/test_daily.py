"""İYS's file of a day is fetched, checked and compared, and what only it has enters from it."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest
from cryptography.x509 import load_pem_x509_certificates

from izin.consent import TURKEY
from izin.iys.client import DayReports
from izin.iys.errors import UnreadableError
from izin.iys.wire_format import BrandPath, read_line
from izin.ledger.daily import files, lines
from izin.ledger.daily.files import DailyFile, FileState
from izin.ledger.privacy import erasure
from izin.ledger.record import Message
from izin.schemas.timestamps import TimestampState
from izin.sinks.inbound.daily import loop
from izin.sinks.inbound.daily.loop import DailyFiles
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    InMemoryTopic,
    Izin,
    Killed,
    SinkHarness,
    a_phone,
    acts,
    ended,
)
from tests.support.builders import BRAND, CUSTOMER, PHONE, a_key
from tests.support.simulator import IYS_CODE

pytestmark = pytest.mark.database

DAY = timedelta(days=1)
LINE = f"2026-03-02 12:00:07,ab12,{a_phone(3)},BIREYSEL,MESAJ,RET,,IYS_WEB\n".encode()
DONE = """INSERT INTO daily_files (brand_code, day, state, noted_at, next_attempt_at)
SELECT %(brand)s, %(day)s::date - n, 'empty', now(), now() FROM generate_series(1, 9) AS n
ON CONFLICT DO NOTHING RETURNING day"""
QUARTER = timedelta(minutes=15)


async def noon(harness: SinkHarness, *, past: bool = True) -> date:
    """Advance the clocks to the next noon in Turkey, so that no test is cut by midnight; return
    its day. The days before are done, unless there is a ``past``.
    """
    local = harness.clock().astimezone(TURKEY)
    at = datetime.combine(local.date() + DAY, time(12), TURKEY)
    harness.advance(at - local)
    harness.iys.post("settings", reportDelay=0)
    if past:
        await harness.ledger.fetch(DONE, {"brand": BRAND, "day": at.date()})
    return at.date()


def daily_of(harness: SinkHarness, **more: object) -> tuple[DailyFiles, InMemoryTopic]:
    """Return what fetches the files, and the topic that it publishes to."""
    topic = InMemoryTopic()
    fields: dict[str, object] = {"available_from": time(6), "empty_date": "", **more}
    return DailyFiles(context=harness.context, publisher=topic, **fields), topic  # type: ignore[arg-type]


async def look(harness: SinkHarness, **more: object) -> list[Message]:
    """Do what is due; return what is published."""
    daily, topic = daily_of(harness, **more)
    await daily.look()
    return topic.messages


async def file_of(harness: SinkHarness, day: date) -> DailyFile:
    """Return the file of a day."""
    found = await files.one(harness.ledger, BRAND, day)
    assert found is not None
    return found


async def alerted(harness: SinkHarness) -> list[str]:
    """Return the days whose files alert."""
    found = await harness.monitor.check()
    return [dict(one.fields)["day"] for one in found if "daily file" in one.event]


async def a_day(harness: SinkHarness, *, pulled: bool = True) -> date:
    """Have a day of two citizens, one consent of ours and one of the portal; return it."""
    day = await noon(harness)
    await harness.register_onay()
    harness.citizen("ONAY", a_phone(2), source="IYS_WEB_YENI", then=A_SECOND * 2)
    harness.iys.citizen("RET", a_phone(2))
    harness.iys.other_writer("ONAY", a_phone(3), source="HS_ISLAK_IMZA")
    if pulled:
        await harness.pull()
    harness.advance(DAY)
    return day


@pytest.fixture
async def day(harness: SinkHarness) -> date:
    """Give a day whose movements are pulled."""
    return await a_day(harness)


def altering(change: Callable[[bytes], bytes]) -> Callable[..., Awaitable[bool]]:
    """Return what alters a file on its way."""
    unaltered = DayReports.download

    async def download(
        self: DayReports, brand: BrandPath, day: date, write: Callable[[bytes], object]
    ) -> bool:
        return await unaltered(self, brand, day, lambda chunk: write(change(chunk)))

    return download


async def test_file_of_a_day_is_whole_equal_and_stamped(
    harness: SinkHarness, izin: Izin, day: date
):
    """All that its lines say was pulled: the same SHA-384, and nothing is published."""
    roots = load_pem_x509_certificates(harness.iys.timestamp_root())
    assert not await look(harness, roots=tuple(roots))
    file = await file_of(harness, day)
    assert (file.state, file.is_equal, file.lines, file.entered) == ("compared", True, 4, 0)
    assert (file.timestamp_state, file.agreed_at) == (TimestampState.VERIFIED, None)
    calls = harness.iys.calls("agreement")
    assert not await look(harness)
    assert harness.iys.calls("agreement") == calls
    assert not await alerted(harness)
    shown = await izin("iys", "daily", "show", "--brand", BRAND, "--day", day, "--output=json")
    assert json.loads(ended(shown, 0).stdout)["hash"] == file.own_hash


async def test_days_before_a_brand_was_registered_are_late_after_a_day(harness: SinkHarness):
    """They are noted at once, and fetched soon: that is no fault which somebody must know of."""
    daily, _ = daily_of(harness)
    owner, now = harness.context.lease_owner, harness.clock()
    await files.note(harness.ledger, daily.days(now), lease_owner=owner, now=now)
    assert await alerted(harness) == []
    harness.advance(DAY + A_SECOND)
    assert await alerted(harness) != []


async def test_brand_of_the_settings_agrees_where_equal(harness: SinkHarness, day: date):
    """By itself, and once."""
    await look(harness, agree_brands=frozenset({BRAND}))
    assert await agreed_at_iys(harness, day)
    assert (await file_of(harness, day)).agreed_at is not None


async def test_line_that_only_the_file_has_shuts_the_gate(
    harness: SinkHarness, izin: Izin, tmp_path: Path
):
    """No push and no pull for a day: the opt-out enters from the file, and alerts."""
    await harness.register_onay()
    day = await noon(harness)
    await harness.pull()
    harness.citizen("RET", then=DAY)
    published = await look(harness, agree_brands=frozenset({BRAND}))
    assert [one.topic for one in published] == ["consent-events-express"]
    assert not await agreed_at_iys(harness, day)
    assert await harness.columns("registered", "may_send", "verified_by") == (
        *("RET", False, "daily"),
    )
    file = await file_of(harness, day)
    assert (file.is_equal, file.only_at_iys, file.entered) == (False, 1, 1)
    assert await alerted(harness) == [str(day)]
    where = ("--brand", BRAND, "--day", day)
    ended(await izin("iys", "daily", "agree", *where, "--execute"), 3, "does not have the hash")
    verified = ended(await izin("iys", "daily", "verify", *where, "--output=json"), 1)
    found = json.loads(verified.stdout)
    assert (found["is_whole"], found["timestamp"]) == (True, "unverified")
    (difference,) = found["differences"]
    assert (PHONE in difference["line"], "RET" in difference["line"]) == (False, True)
    listed = ended(await izin("iys", "daily", "list"), 1).output
    assert ("differs" in listed, "1/0" in listed) == (True, True)
    assert "1 lines only at İYS" in ended(await izin("iys", "daily", "verify", *where), 1).output
    shown = await izin("iys", "daily", "show", *where, "--out", tmp_path / "out", "--by=ada")
    csv = (tmp_path / "out" / f"{BRAND}-{day}.csv").read_bytes()
    assert (shown.exit_code, hashlib.sha384(csv).hexdigest()) == (1, file.hash_value)
    assert (tmp_path / "out" / f"{BRAND}-{day}.tsr").stat().st_mode & 0o777 == 0o600
    looks = await acts(harness.ledger, "look", key=f"brand/{BRAND}")
    assert [one["by"] for one in looks] == ["ada"]
    # What is pulled later is ours, and the file is compared again.
    await harness.pull()
    await files.order_fetch(harness.ledger, BRAND, day, now=harness.clock())
    assert not await look(harness)
    assert (await file_of(harness, day)).is_equal
    assert not await alerted(harness)


async def test_late_file_alerts_and_is_gone_after_seven_days(harness: SinkHarness, day: date):
    """İYS cannot make it. On the second day a person is alerted; on the eighth it is lost."""
    harness.iys.inject_fault("agreement", status=503, times=None)
    await look(harness)
    assert not await alerted(harness)
    harness.advance(DAY)
    await look(harness)
    assert await alerted(harness) == [str(day)]
    harness.iys.clear_faults()
    harness.iys.inject_fault("dayStatistics", status=422, code="H502", times=2)
    harness.advance(DAY)
    await look(harness)
    assert (await file_of(harness, day)).state == "gone"


class TornTopic(InMemoryTopic):
    """A topic whose second message is the last thing that a process does."""

    async def publish(self, messages: Iterable[Message]) -> None:
        """Keep messages, and end the process at the second."""
        await super().publish(messages)
        if len(self.messages) > 1:
            raise Killed


async def test_killed_process_leaves_no_doubles(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """Killed after publishing the second of three lines: another process continues there."""
    monkeypatch.setattr(loop, "AT_ONCE", 1)
    day = await noon(harness)
    recipients = [a_phone(number) for number in (1, 2, 3)]
    for one in recipients:
        harness.citizen("ONAY", one, source="IYS_WEB_YENI", then=A_SECOND)
    harness.advance(DAY)
    daily, _ = daily_of(harness)
    with pytest.raises(Killed):
        await replace(daily, publisher=TornTopic()).look()  # type: ignore[arg-type]
    file = await file_of(harness, day)
    assert (file.state, file.entered_lines, file.entered) == ("fetched", 1, 1)
    assert len(await look(harness)) == 2
    file = await file_of(harness, day)
    assert (file.state, file.entered_lines, file.entered) == ("compared", 3, 3)
    seen = "SELECT key FROM history WHERE kind = 'observation' ORDER BY key"
    keys = [str(a_key(recipient=one)) for one in recipients]
    assert await harness.ledger.fetch(seen) == [{"key": key} for key in keys]


async def test_unreadable_line_is_a_dead_letter(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """It may be an opt-out; the other lines enter."""
    day = await noon(harness)
    harness.iys.citizen("RET", a_phone(2))
    harness.citizen("RET", a_phone(3), then=DAY)
    read = Mock(side_effect=[UnreadableError("no CSV"), read_line(LINE, empty_date="")])
    monkeypatch.setattr(loop, "read_line", read)
    topics = [one.topic for one in await look(harness)]
    assert sorted(topics) == ["consent-events-dlq", "consent-events-express"]
    assert (await file_of(harness, day)).state == "compared"


async def agreed_at_iys(harness: SinkHarness, day: date) -> bool:
    """Return whether İYS has our agreement with a day."""
    path = BrandPath(iys_code=IYS_CODE, brand_code=BRAND)
    found = await harness.context.client.reports.agreement(path, day)
    return found is not None and found.is_agreed


async def test_agreement_is_declared_by_order_alone(harness: SinkHarness, izin: Izin, day: date):
    """Dry first; then once, with who ordered it in the history, though İYS did not answer."""
    await look(harness)
    where = ("--brand", BRAND, "--day", day)
    ended(await izin("iys", "daily", "agree", *where), 0, "cannot be taken back")
    await look(harness)
    assert not await agreed_at_iys(harness, day)
    assert (await izin("iys", "daily", "agree", *where, "--execute", "--by=ada")).exit_code == 0
    harness.advance(A_SECOND)
    harness.iys.inject_fault("agreementSave", drop="after")
    await look(harness)
    assert await agreed_at_iys(harness, day)
    assert (await file_of(harness, day)).agreed_at is None
    harness.advance(QUARTER)
    await look(harness)
    assert (await file_of(harness, day)).agreed_at is not None
    assert harness.iys.calls("agreementSave") == 1
    (act,) = await harness.ledger.fetch(
        "SELECT data, customer_id FROM history WHERE kind = 'act' AND source LIKE '%daily file%'"
    )
    assert (act["data"]["by"], act["customer_id"]) == ("ada", CUSTOMER)
    ended(await izin("iys", "daily", "agree", *where, "--execute"), 3, "before")


async def test_lines_of_erased_history_are_erased(harness: SinkHarness, day: date):
    """They are found for their person, and go with the history; İYS's hash stays."""
    await look(harness)
    (key,) = (await erasure.export(harness.ledger, a_phone(2), customer=None))["keys"]
    assert [one["line"].split(",")[5] for one in key["daily_files"]] == ["ONAY", "RET"]
    rows = await harness.ledger.fetch(
        "SELECT key, data ->> 'creation_date' AS created FROM history"
        " WHERE kind = 'observation' AND key = %(key)s",
        {"key": key["key"]},
    )
    shown = [(row["key"], row["created"]) for row in rows]
    async with harness.ledger.transaction() as connection:
        assert await lines.erase(connection, shown) == 2
    assert not await lines.find(harness.ledger, shown)
    assert len(await lines.find(harness.ledger, [(str(a_key()), shown[0][1])])) == 1
    file = await file_of(harness, day)
    assert (file.redacted, file.is_equal) == (2, True)


async def test_file_is_polled_until_it_is_complete(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch, day: date
):
    """Not before the morning; then none yet, in progress, completed; each asked for in its turn."""
    await look(harness, available_from=time(13))
    assert await files.one(harness.ledger, BRAND, day) is None
    with monkeypatch.context() as patch:
        patch.setattr(DayReports, "agreement", AsyncMock(return_value=None))
        await look(harness)
    file = await file_of(harness, day)
    assert (file.state, "no file" in (file.error or "")) == ("waiting", True)
    harness.iys.post("settings", reportDelay=16 * 3600)
    seen = []
    for _ in range(2):
        harness.advance(QUARTER * 8)
        await look(harness)
        seen.append((await file_of(harness, day)).process_status)
        calls = harness.iys.calls("agreement")
        await look(harness)
        assert harness.iys.calls("agreement") == calls
    assert seen == ["inprogress", "completed"]


async def test_day_without_movements_needs_no_file(harness: SinkHarness):
    """Only counts are asked for, once; and those of another account's brand by that account."""
    await noon(harness, past=False)
    served = harness.context
    await harness.brand(replace(ACTIVE, account="other@example.com"))
    harness.become(account="ada@example.com", address="home")
    await look(harness)
    assert not await files.since(harness.ledger, date.min)
    harness.context = served
    harness.become(account="other@example.com", address=None)
    for _ in range(2):
        await look(harness)
        found = await files.since(harness.ledger, date.min)
        assert [one.state for one in found] == [FileState.EMPTY] * 7
        assert harness.iys.calls("dayStatistics") == 14
    assert harness.iys.calls("agreement") == 0


async def test_altered_file_is_not_stored(harness: SinkHarness, monkeypatch: pytest.MonkeyPatch):
    """A byte less, or other letters: nothing of it enters, and it is fetched again."""
    day = await a_day(harness, pulled=False)
    changes: list[Callable[[bytes], bytes]] = [
        lambda one: one[:-1],
        lambda one: one.replace(b"RET", b"xxx"),
    ]
    for change in changes:
        with monkeypatch.context() as patch:
            patch.setattr(DayReports, "download", altering(change))
            assert not await look(harness)
        file = await file_of(harness, day)
        assert (file.state, "SHA-384" in (file.error or "")) == ("waiting", True)
        harness.advance(QUARTER * 5)
    assert await look(harness)


async def test_partner_without_right_waits_until_it_is_lost(harness: SinkHarness, day: date):
    """H353: agreementControl is missing. It is not asked every minute, nor after the window."""
    harness.iys.inject_fault("dayStatistics", status=403, code="H353", times=1)
    await look(harness)
    file = await file_of(harness, day)
    assert "H353" in (file.error or "")
    assert file.next_attempt_at >= harness.clock() + QUARTER * 40
    harness.advance(DAY * 8)
    await harness.ledger.fetch(DONE, {"brand": BRAND, "day": day + DAY * 9})
    await look(harness)
    assert (await file_of(harness, day)).state == "gone"
    assert harness.iys.calls("dayStatistics") == 1
    assert await alerted(harness) == [str(day)]


async def test_fetch_orders_what_iys_shows(harness: SinkHarness, izin: Izin):
    """A day that is over, and no more than seven days ago; a worker fetches it at its next turn."""
    today = files.today_in_turkey(datetime.now(UTC))
    for ago, code in ((0, 3), (1, 0), (7, 0), (8, 3)):
        where = ("--brand", BRAND, "--day", today - DAY * ago)
        ended(await izin("iys", "daily", "fetch", *where), code)
    listed = ended(await izin("iys", "daily", "list", "--output=json"), 0)
    assert [one["day"] for one in json.loads(listed.stdout)] == [
        str(today - DAY * ago) for ago in (1, 7)
    ]
