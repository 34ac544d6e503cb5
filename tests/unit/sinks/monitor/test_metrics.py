"""The figures of the metrics page.

How often the figures of the ledger are read.
"""

import asyncio
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from itertools import count
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from prometheus_client import generate_latest

from izin.consent import Status
from izin.consent.forecast import DueGroup, forecast
from izin.ledger.daily.files import StateCount
from izin.ledger.rate_limits import Address
from izin.ledger.reads import Lag, Margin
from izin.ledger.registry.complaints import ComplaintCounts
from izin.ledger.registry.granted import ListReading, LostRight
from izin.ledger.sequences import Missing
from izin.sinks.monitor import metrics
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
    assert sleep.await_args is not None
    assert sleep.await_args.args[0] == pytest.approx(rest)
