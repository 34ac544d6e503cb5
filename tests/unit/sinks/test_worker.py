"""The figures of the metrics page.

How often the figures of the ledger are read.
Anchors leave the host, each line once, and under time stamps of an authority.

A loop survives transient errors, and ends with an error of ours.

No customer waits for one that brings more, and nothing due soon for what is not.
"""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import AsyncMock, Mock

import pytest
from cryptography.x509 import load_pem_x509_certificates
from iys_simulator.timestamp_authority import TimestampAuthority
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from izin.consent import OurError, Status
from izin.consent.forecast import DueGroup, forecast
from izin.evidence.chain import anchors_in
from izin.ledger.daily.files import StateCount
from izin.ledger.db import BULK, Notifications
from izin.ledger.history.verify import read_anchors
from izin.ledger.rate_limits import Address
from izin.ledger.reads import Lag, Margin
from izin.ledger.record import Anchor, LedgerUnavailableError
from izin.ledger.registry.complaints import ComplaintCounts
from izin.ledger.registry.granted import ListReading, LostRight
from izin.ledger.sequences import Missing
from izin.runtime.backoff import Backoff
from izin.sinks.monitor import anchors, metrics
from izin.sinks.monitor.anchors import AnchorWitnesses, WitnessError
from izin.sinks.monitor.metrics import (
    LedgerFigures,
    Metrics,
    account_figures,
    backlog_figures,
    deadline_figures,
    register_figures,
    source_figures,
)
from izin.sinks.outbound import loops
from izin.sinks.outbound.loops import (
    MAY_END,
    FailingLoops,
    keep_running,
    run_every,
    run_on_notification,
)
from izin.sinks.outbound.schedule import SOON, FairShares, OutboundLane
from tests.support.builders import BRAND, NOON, a_brake, a_count, a_sweep

NOTHING = Lag(**{one.name: 0 for one in fields(Lag)})
EMPTY = forecast((), now=NOON, records_per_second=1)
LATER = NOON + timedelta(hours=2)
OPT_OUTS = DueGroup(status=Status.RET, due_at=NOON, expires_at=None, count=3)
TOO_MANY = DueGroup(
    status=Status.ONAY, due_at=NOON, expires_at=NOON + timedelta(minutes=1), count=100
)
MARGIN = Margin(
    customer_id="acme",
    brand_code=100001,
    channel="MESAJ",
    status="RET",
    keys=3,
    missed=1,
    past_95=0,
    past_80=2,
    past_50=0,
    due_soon=2,
    parked=0,
    unknown=0,
    first_due_at=NOON - timedelta(minutes=1),
    oldest_at=NOON - timedelta(hours=1),
)
ADDRESS = Address(
    address="one",
    factor=0.5,
    paused_until=NOON,
    token_calls=4,
    token_silent_until=None,
    status_calls=400,
    history_calls=40,
    calls=100,
    failures=25,
    delisted_at=NOON,
)
GAP = Missing(
    customer_id="acme",
    origin="crm",
    gaps=2,
    numbers=7,
    first_number=41,
    since=NOON,
    given_up=0,
)
READ = ListReading(account="ada", tried_at=NOON, read_at=NOON)
LISTS = [READ, replace(READ, account="can", read_at=None), ListReading(account="eda")]
LOST = [
    LostRight(brand_code=BRAND, right="write", channel=channel, since=NOON)
    for channel in ("ARAMA", "MESAJ")
]
FILES = {"brand_code": 100001, "only_at_iys": 0, "only_here": 0}
WAITING = StateCount(state="waiting", files=2, **FILES)
COMPARED = StateCount(state="compared", files=5, **FILES | {"only_at_iys": 3})


def show_forecast(metrics: Metrics, *backlog: DueGroup) -> None:
    """Show the forecast of a ledger with ``backlog``, submitted at one record a second."""
    metrics.show(backlog_figures(NOTHING, (), forecast(backlog, now=NOON, records_per_second=1)))


@pytest.mark.parametrize(
    ("show", "lines"),
    [
        (
            lambda it: show_forecast(it, TOO_MANY),
            ["izin_forecast_late_keys 100.0", "izin_forecast_lost_keys 40.0"],
        ),
        (show_forecast, ["izin_forecast_late_keys 0.0", "izin_forecast_lost_keys 0.0"]),
        (
            lambda it: it.show(source_figures(complained=ComplaintCounts(open=3, overdue=1))),
            ['izin_complaints{state="open"} 3.0', 'izin_complaints{state="overdue"} 1.0'],
        ),
        (
            lambda it: it.show(account_figures([ADDRESS], now=NOON)),
            [
                'izin_rate_limit_left{address="one",limit="status-calls-of-the-hour"} 600.0',
                'izin_rate_limit_left{address="one",limit="token-calls-of-the-hour"} 6.0',
                'izin_rate_limit_left{address="one",limit="success-of-the-day"} 0.75',
            ],
        ),
        (
            lambda it: it.unforeseen.labels("H121").inc(),
            ['izin_iys_field_faults_total{code="H121"} 1.0'],
        ),
        (
            lambda it: it.show(register_figures(counts=[a_count(iys_onay=12)])),
            [
                'izin_register_consents{brand="100001",side="iys",status="ONAY"} 12.0',
                'izin_register_consents{brand="100001",side="ours",status="ONAY"} 10.0',
            ],
        ),
    ],
    ids=["forecast", "no backlog", "complaints", "rate limits", "field errors", "register"],
)
def test_figure_is_shown(show: Callable[[Metrics], None], lines: list[str]) -> None:
    """Late and lost keys before they are; what an authority waits for; the calls that are left; and
    each error of a field that reaches İYS, for admission should find them all.
    """
    metrics = Metrics()
    show(metrics)
    assert [one for one in lines if one not in page_of(metrics)] == []


def page_of(metrics: Metrics) -> list[str]:
    """Return the lines of the page."""
    return generate_latest(metrics.registry).decode().splitlines()


@pytest.mark.parametrize(
    ("show", "lines", "end", "absent"),
    [
        (
            lambda it: it.show(backlog_figures(NOTHING, [OPT_OUTS, OPT_OUTS], EMPTY)),
            [
                'izin_suspended_keys{lane="opt-outs"} 6.0',
                'izin_suspended_keys{lane="consents"} 0.0',
            ],
            lambda it: it.show(backlog_figures(NOTHING, [], EMPTY)),
            'izin_suspended_keys{lane="opt-outs"} 6.0',
        ),
        (
            lambda it: it.show(
                backlog_figures(NOTHING, [], EMPTY, [a_brake(), a_brake(source="web", held_back=2)])
            ),
            [
                'izin_held_back_keys{brand="100001",source="crm"} 5.0',
                'izin_held_back_keys{brand="100001",source="web"} 2.0',
            ],
            lambda it: it.show(backlog_figures(NOTHING, [], EMPTY)),
            "izin_held_back_keys{",
        ),
        (
            lambda it: it.show(deadline_figures([MARGIN], now=NOON)),
            [
                'izin_backlog_keys{brand="100001",lane="opt-outs"} 3.0',
                'izin_backlog_oldest_seconds{lane="opt-outs"} 3600.0',
                'izin_deadline_margin_seconds{lane="opt-outs"} -60.0',
                'izin_deadline_keys{lane="opt-outs",passed="missed"} 1.0',
                'izin_deadline_keys{lane="opt-outs",passed="80"} 2.0',
            ],
            lambda it: it.show(deadline_figures([], now=NOON)),
            "izin_backlog_keys{",
        ),
        (
            lambda it: it.show(source_figures([GAP])),
            [
                'izin_sequence_gaps{customer="acme",origin="crm"} 2.0',
                'izin_sequence_missing_events{customer="acme",origin="crm"} 7.0',
            ],
            lambda it: it.show(source_figures()),
            "acme",
        ),
        (
            lambda it: it.show(account_figures(lists=LISTS, lost=LOST, now=LATER)),
            [
                'izin_granted_list_stale_seconds{account="ada"} 7200.0',
                'izin_granted_list_stale_seconds{account="can"} +Inf',
                'izin_lost_rights{brand="100001",right="write"} 2.0',
            ],
            lambda it: it.show(account_figures(now=LATER)),
            "izin_lost_rights{",
        ),
        (
            lambda it: it.show(register_figures([WAITING, COMPARED])),
            [
                'izin_daily_files{brand="100001",state="waiting"} 2.0',
                'izin_daily_file_differences{brand="100001",side="iys"} 3.0',
            ],
            lambda it: it.show(register_figures([COMPARED])),
            'state="waiting"',
        ),
        (
            lambda it: it.show(
                register_figures(latest=[a_sweep(), a_sweep(brand_code=7, after=None)])
            ),
            [
                'izin_sweep_keys{brand="100001",done="queried"} 500.0',
                'izin_sweep_keys{brand="100001",done="left"} 1500.0',
            ],
            lambda it: it.show(register_figures(latest=[a_sweep(ended_at=NOON)])),
            'izin_sweep_keys{brand="100001"',
        ),
    ],
    ids=["suspended", "held back", "deadlines", "gaps", "granted", "daily files", "sweeps"],
)
def test_figure_is_shown_until_it_is_none(
    show: Callable[[Metrics], None],
    lines: list[str],
    end: Callable[[Metrics], None],
    absent: str,
) -> None:
    """What was put right, closed or compared leaves no figure behind."""
    metrics = Metrics()
    show(metrics)
    assert [one for one in lines if one not in page_of(metrics)] == []
    end(metrics)
    assert [one for one in page_of(metrics) if absent in one] == []


def test_list_that_nobody_follows_is_not_shown() -> None:
    """One that was never read whole is infinitely old."""
    metrics = Metrics()
    metrics.show(account_figures(lists=LISTS, now=LATER))
    assert not any('"eda"' in line for line in page_of(metrics))


class EndedError(Exception):
    """The end of a loop."""


@pytest.mark.parametrize(("took", "rest"), [(0.1, 5), (3, 60)])
async def test_figures_that_take_long_are_read_less_often(
    monkeypatch: pytest.MonkeyPatch, took: float, rest: float
):
    """They scan what is not settled, and share the database with opt-outs."""
    nothing: Any = Mock()
    timer = count(0, took)
    one = LedgerFigures(
        ledger=nothing,
        metrics=nothing,
        topics=nothing,
        clock=nothing,
        records_per_second=1,
        interval=timedelta(seconds=5),
        timer=lambda: next(timer),
    )
    sleep = AsyncMock(side_effect=EndedError)
    monkeypatch.setattr(LedgerFigures, "read", AsyncMock())
    monkeypatch.setattr(metrics, "asyncio", Mock(wraps=asyncio, sleep=sleep))
    with pytest.raises(EndedError):
        await one.run()
    assert sleep.await_args.args[0] == pytest.approx(rest)


AUTHORITY = TimestampAuthority()
ROOTS = tuple(load_pem_x509_certificates(AUTHORITY.root_pem))
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)


class Others(BaseHTTPRequestHandler):
    """An endpoint for lines, and an authority, both of which can be away."""

    lines: ClassVar[list[str]]
    tokens: ClassVar[set[str | None]]
    away: ClassVar[set[str]]
    now: ClassVar[datetime]

    def do_POST(self) -> None:
        """Take lines, or stamp the SHA-512 in a request."""
        body = self.rfile.read(int(self.headers["content-length"]))
        reply = b""
        if self.path not in self.away and self.path == "/anchors":
            self.lines.extend(body.decode().splitlines())
            self.tokens.add(self.headers["authorization"])
        elif self.path == "/stamp":
            at = body.index(b"\x04\x40") + 2
            reply = AUTHORITY.reply(body[at : at + 64].hex(), self.now, 1)
        self.send_response(503 if self.path in self.away else 200)
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def others() -> Iterator[str]:
    """Run the others; give their address."""
    Others.lines, Others.tokens, Others.away, Others.now = [], set(), set(), NOW
    with ThreadingHTTPServer(("127.0.0.1", 0), Others) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def site() -> Iterator[AnchorWitnesses]:
    """Give the witnesses."""
    with others() as address:
        yield AnchorWitnesses(
            endpoint=f"{address}/anchors",
            token="a-token",
            authority=f"{address}/stamp",
            timestamp_every=DAY,
        )


def an_anchor(number: int, shard: int = 0) -> Anchor:
    """Return an anchor."""
    link = number.to_bytes(32, "big")
    return Anchor(id=number, shard=shard, place=number * 10, link=link, anchored_at=NOW)


def add(file: Path, *anchors: Anchor) -> None:
    """Append anchors as the sink does."""
    with file.open("a", encoding="utf-8") as lines:
        lines.writelines(one.to_line() for one in anchors)


async def test_each_line_reaches_the_endpoint_once(site: AnchorWitnesses, tmp_path: Path) -> None:
    """Also those that were written while it was away, and after a restart."""
    file, plain = tmp_path / "anchors.jsonl", replace(site, authority=None)
    add(file, an_anchor(1), an_anchor(2))
    await plain.reach(file, NOW)
    Others.away = {"/anchors"}
    add(file, an_anchor(3))
    with pytest.raises(WitnessError, match="did not take the anchors"):
        await plain.reach(file, NOW)
    Others.away = set()
    add(file, an_anchor(4))
    with file.open("a", encoding="utf-8") as lines:
        lines.write('{"id": 5')  # a line that is being written
    for _ in range(2):
        await replace(plain).reach(file, NOW)
    assert [json.loads(line)["id"] for line in Others.lines] == [1, 2, 3, 4]
    assert Others.tokens == {"Bearer a-token"}


async def test_newest_head_of_each_chain_is_stamped_once_a_day(
    site: AnchorWitnesses, tmp_path: Path
) -> None:
    """The stamp stands in the file, leads to the authority, and is no anchor to who skips it."""
    file = tmp_path / "anchors.jsonl"
    add(file, an_anchor(1), an_anchor(2), an_anchor(3, shard=1))
    await site.reach(file, NOW)
    add(file, an_anchor(4))
    await site.reach(file, NOW + DAY / 2)
    known = {one.id: one.timestamped_at for one in read_anchors(file, ROOTS)}
    assert known == {1: None, 2: NOW, 3: NOW, 4: None}
    assert {one.timestamped_at for one in read_anchors(file)} == {None}
    Others.now = NOW + DAY
    for at in (NOW + DAY, NOW + 3 * DAY):
        await site.reach(file, at)
    known = {one.id: one.timestamped_at for one in read_anchors(file, ROOTS)}
    assert known == {1: None, 2: NOW, 3: NOW, 4: NOW + DAY}
    assert sum('"timestamp"' in line for line in Others.lines) == 2
    assert len(anchors_in(file)) == 4


async def test_authority_that_is_away_keeps_no_line_from_the_endpoint(
    site: AnchorWitnesses, tmp_path: Path
) -> None:
    """Nor does a reply that is no time stamp count as one."""
    file = tmp_path / "anchors.jsonl"
    add(file, an_anchor(1))
    Others.away = {"/stamp"}
    with pytest.raises(WitnessError, match="/stamp did not take"):
        await site.reach(file, NOW)
    assert len(Others.lines) == 1
    wrong = replace(site, authority=site.authority.replace("/stamp", "/other"))
    with pytest.raises(WitnessError, match="no time stamp of the anchors"):
        await wrong.reach(file, NOW)
    assert [one.timestamped_at for one in read_anchors(file, ROOTS)] == [None]


def test_line_behind_one_that_a_crash_cut_off_stands_alone(tmp_path: Path) -> None:
    """A time stamp as well as an anchor: readers skip the incomplete one."""
    file = tmp_path / "anchors.jsonl"
    file.write_text('{"shard": 1, "pl', "utf-8")
    anchors.append_lines(file, ["a whole line\n"])
    assert file.read_text("utf-8").splitlines() == ['{"shard": 1, "pl', "a whole line"]


INTERVAL = timedelta(seconds=5)


async def test_loop_continues_after_a_transient_error():
    """PostgreSQL restarts, and the loop goes on."""
    stopping, tries = asyncio.Event(), []

    async def step() -> bool:
        tries.append(1)
        if len(tries) == 1:
            raise LedgerUnavailableError("restarting")
        stopping.set()
        return True

    await asyncio.wait_for(
        run_on_notification(
            "x",
            step,
            notifications=Notifications(),
            channel=BULK,
            at_most=INTERVAL,
            stopping=stopping,
        ),
        5,
    )
    assert len(tries) == 2


async def test_loop_ends_with_an_error_of_ours():
    """Nothing that is not understood may be submitted."""

    async def step() -> bool:
        raise OurError("a bug")

    with pytest.raises(OurError, match="a bug"):
        await run_every("x", step, every=INTERVAL, stopping=asyncio.Event())


@pytest.mark.parametrize(
    ("stable", "waits"),
    [(3600.0, [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]), (-1.0, [0.2] * 7)],
    ids=["in a row", "each after it had worked"],
)
async def test_loop_waits_no_longer_than_an_opt_out_may(
    monkeypatch: pytest.MonkeyPatch, stable: float, waits: list[float]
):
    """After a long outage, and after many short ones."""
    failures = len(waits)

    async def work() -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise LedgerUnavailableError("away")

    async def no_wait(_: float) -> None:
        return

    monkeypatch.setattr(loops, "_STABLE", stable)
    monkeypatch.setattr(asyncio, "sleep", no_wait)
    with capture_logs() as logs:
        await keep_running("x", work)
    assert [log["after"] for log in logs] == waits


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OurError("a bug")])
async def test_loop_beside_sending_is_run_again_after_any_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception
):
    """It stands in what is wrong, by its name, until it has run for a while without one."""
    monkeypatch.setattr(loops, "_FAULT_BACKOFF", Backoff(timedelta(0), timedelta(0)))
    now, seen = [0.0], []
    failing = FailingLoops(lambda: now[0])

    async def work() -> None:
        seen.append(dict(failing.faults()))
        if len(seen) <= 2:
            raise error
        now[0] = loops._SOUND
        assert not failing.faults()

    with capture_logs() as logs:
        await asyncio.wait_for(keep_running("anchors", work, failing), 5)
    named = {"anchors": f"{type(error).__name__}: {error}"}
    assert seen == [{}, named, named]
    assert [(log["event"], log["loop"]) for log in logs] == [("loop failed", "anchors")] * 2


@pytest.mark.parametrize("name", sorted(MAY_END))
async def test_loop_that_sends_ends_with_a_fault_of_ours(name: str):
    """What keeps two processes from sending the same does too."""
    failing = FailingLoops()

    async def work() -> None:
        raise OurError("a bug")

    with pytest.raises(OurError, match="a bug"):
        await keep_running(name, work, failing)
    assert failing.faults() == {}


def a_lane(
    customer: str = "acme", brand: int = 1, channel: str = "MESAJ", **fields: object
) -> OutboundLane:
    """Return a lane whose first record is due in three days."""
    due = {"due_at": NOON + timedelta(days=3), **fields}
    return OutboundLane(customer_id=customer, brand_code=brand, channel=channel, **due)  # type: ignore[arg-type]


def served(lanes: list[OutboundLane], turns: int) -> list[OutboundLane]:
    """Return the lanes of so many turns, if all always have work."""
    shares = FairShares()
    found = [shares.take(lanes, NOON) for _ in range(turns)]
    return [one for one in found if one is not None]


def test_customers_get_equal_turns_whatever_their_brands():
    """A customer of one brand gets as many turns as one of three brands with three channels."""
    many = [a_lane("large", brand, channel) for brand in (1, 2, 3) for channel in "AME"]
    turns = Counter(one.customer_id for one in served([*many, a_lane("small", 9)], 40))
    assert turns == {"large": 20, "small": 20}


def test_brands_and_channels_of_a_customer_take_turns():
    """Of one customer, each brand gets equal turns, and each of its channels."""
    lanes = [a_lane(brand=1), a_lane(brand=2, channel="ARAMA"), a_lane(brand=2)]
    turns = Counter((one.brand_code, one.channel) for one in served(lanes, 40))
    assert turns == {(1, "MESAJ"): 20, (2, "ARAMA"): 10, (2, "MESAJ"): 10}


def test_lane_due_soon_goes_first():
    """A consent that is submitted too late is void, whatever customer it is of."""
    soon = a_lane("late", 7, due_at=NOON + SOON)
    assert served([a_lane(), soon, a_lane("other", 8)], 3) == [soon] * 3
    assert not a_lane(due_at=NOON + SOON + timedelta(seconds=1)).is_soon(NOON)
    assert not a_lane(due_at=None).is_soon(NOON)


def test_no_lanes_give_no_turn():
    """There may be nothing to submit."""
    assert FairShares().take([], NOON) is None
