"""The figures of the metrics page.

How often the figures of the ledger are read.
Anchors leave the host, each line once, and under time stamps of an authority.
"""

import asyncio
import json
import threading
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

from izin.consent import Status
from izin.consent.forecast import DueGroup, forecast
from izin.evidence.chain import anchors_in
from izin.ledger.daily.files import StateCount
from izin.ledger.history.verify import read_anchors
from izin.ledger.rate_limits import Address
from izin.ledger.reads import Lag, Margin
from izin.ledger.record import Anchor
from izin.ledger.registry.complaints import ComplaintCounts
from izin.ledger.registry.granted import ListReading, LostRight
from izin.ledger.sequences import Missing
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
    calls=100,
    failures=25,
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
