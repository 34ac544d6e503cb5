"""The figures of the metrics page.

How often the figures of the ledger are read.
"""

import asyncio
from dataclasses import fields, replace
from datetime import timedelta
from itertools import count
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from prometheus_client import generate_latest

from izin.consent.forecast import DueGroup, forecast
from izin.consent.model import Status
from izin.sinks.ledger.daily.files import StateCount
from izin.sinks.ledger.deadlines import Margin
from izin.sinks.ledger.rate_limits import Address
from izin.sinks.ledger.reads import Lag
from izin.sinks.ledger.registry.complaints import ComplaintCounts
from izin.sinks.ledger.registry.granted import ListReading, LostRight
from izin.sinks.ledger.sequences import Missing
from izin.sinks.monitor import metrics
from izin.sinks.monitor.metrics import LedgerFigures, Metrics
from tests.support.brakes import a_brake
from tests.support.builders import BRAND, NOON
from tests.support.sweep.builders import a_count, a_sweep

NOTHING = Lag(**{one.name: 0 for one in fields(Lag)})


def shown(*backlog: DueGroup) -> list[str]:
    """Return the page of a ledger with ``backlog``, submitted at one record a second."""
    metrics = Metrics()
    metrics.show(NOTHING, forecast(backlog, now=NOON, records_per_second=1))
    return generate_latest(metrics.registry).decode().splitlines()


def test_forecast_shows_late_and_lost_keys():
    """Before they are late or lost."""
    in_a_minute = NOON + timedelta(minutes=1)
    too_many = DueGroup(status=Status.ONAY, due_at=NOON, expires_at=in_a_minute, count=100)
    page = shown(too_many)
    assert "izin_forecast_late_keys 100.0" in page
    assert "izin_forecast_lost_keys 40.0" in page


def test_suspended_keys_are_shown_by_lane():
    """The figure returns to zero when the suspension ends."""
    metrics = Metrics()
    group = DueGroup(status=Status.RET, due_at=NOON, expires_at=None, count=3)
    metrics.show_suspended([group, group])
    page = generate_latest(metrics.registry).decode().splitlines()
    assert 'izin_suspended_keys{lane="opt-outs"} 6.0' in page
    assert 'izin_suspended_keys{lane="consents"} 0.0' in page
    metrics.show_suspended([])
    assert (
        'izin_suspended_keys{lane="opt-outs"} 0.0'
        in generate_latest(metrics.registry).decode().splitlines()
    )


def test_held_back_opt_outs_are_shown_by_source():
    """And no more once they are released."""
    metrics = Metrics()
    metrics.show_held_back([a_brake(), a_brake(source="web", held_back=2)])
    page = generate_latest(metrics.registry).decode().splitlines()
    assert 'izin_held_back_keys{brand="100001",source="crm"} 5.0' in page
    assert 'izin_held_back_keys{brand="100001",source="web"} 2.0' in page
    metrics.show_held_back([])
    assert "izin_held_back_keys{" not in generate_latest(metrics.registry).decode()


def test_complaints_are_shown_by_whether_they_are_overdue():
    """What an authority waits for."""
    metrics = Metrics()
    metrics.show_complaints(ComplaintCounts(open=3, overdue=1))
    page = generate_latest(metrics.registry).decode()
    assert 'izin_complaints{state="open"} 3.0' in page
    assert 'izin_complaints{state="overdue"} 1.0' in page


def test_deadlines_and_rate_limits_are_shown():
    """Backlog, the oldest, the margin, the stages, and the calls that are left."""
    metrics = Metrics()
    margin = Margin(
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
    metrics.show_deadlines([margin], now=NOON)
    address = Address(
        address="one",
        factor=0.5,
        paused_until=NOON,
        token_calls=4,
        token_silent_until=None,
        status_calls=400,
        calls=100,
        failures=25,
    )
    metrics.show_rate_limits([address])
    page = generate_latest(metrics.registry).decode().splitlines()
    for line in (
        'izin_backlog_keys{brand="100001",lane="opt-outs"} 3.0',
        'izin_backlog_oldest_seconds{lane="opt-outs"} 3600.0',
        'izin_deadline_margin_seconds{lane="opt-outs"} -60.0',
        'izin_deadline_keys{lane="opt-outs",passed="missed"} 1.0',
        'izin_deadline_keys{lane="opt-outs",passed="80"} 2.0',
        'izin_rate_limit_left{address="one",limit="status-calls-of-the-hour"} 600.0',
        'izin_rate_limit_left{address="one",limit="token-calls-of-the-hour"} 6.0',
        'izin_rate_limit_left{address="one",limit="success-of-the-day"} 0.75',
    ):
        assert line in page
    metrics.show_deadlines([], now=NOON)
    assert "izin_backlog_keys{" not in generate_latest(metrics.registry).decode()


def test_forecast_of_empty_backlog_is_zero():
    """There is no alert on an empty ledger."""
    page = shown()
    assert "izin_forecast_late_keys 0.0" in page
    assert "izin_forecast_lost_keys 0.0" in page


def test_sequence_gaps_are_shown_until_closed():
    """A gap that closed leaves no figure behind."""
    metrics = Metrics()
    gap = Missing(
        customer_id="acme",
        origin="crm",
        gaps=2,
        numbers=7,
        first_number=41,
        since=NOON,
        given_up=0,
    )
    metrics.show_missing([gap])
    page = generate_latest(metrics.registry).decode().splitlines()
    assert 'izin_sequence_gaps{customer="acme",origin="crm"} 2.0' in page
    assert 'izin_sequence_missing_events{customer="acme",origin="crm"} 7.0' in page
    metrics.show_missing([])
    assert "acme" not in generate_latest(metrics.registry).decode()


def test_unforeseen_field_error_is_counted_by_code():
    """Admission finds every error of a field, so one that reaches İYS is an error of ours."""
    metrics = Metrics()
    metrics.unforeseen("H121")
    page = generate_latest(metrics.registry).decode().splitlines()
    assert 'izin_iys_field_faults_total{code="H121"} 1.0' in page


def test_granted_list_and_lost_rights_are_shown():
    """A list that nobody follows is not; one that was never read whole is infinitely old."""
    metrics, later = Metrics(), NOON + timedelta(hours=2)
    read = ListReading(account="ada", tried_at=NOON, read_at=NOON)
    lists = [read, replace(read, account="can", read_at=None), ListReading(account="eda")]
    lost = [
        LostRight(brand_code=BRAND, right="write", channel=channel, since=NOON)
        for channel in ("ARAMA", "MESAJ")
    ]
    metrics.show_granted(lists, lost, now=later)
    page = generate_latest(metrics.registry).decode().splitlines()
    assert 'izin_granted_list_stale_seconds{account="ada"} 7200.0' in page
    assert 'izin_granted_list_stale_seconds{account="can"} +Inf' in page
    assert 'izin_lost_rights{brand="100001",right="write"} 2.0' in page
    assert not any('"eda"' in line for line in page)
    metrics.show_granted([], [], now=later)
    assert b"izin_lost_rights{" not in generate_latest(metrics.registry)


def test_daily_files_are_shown_by_state_and_side():
    """And a state that no file is in any more is not shown."""
    metrics = Metrics()
    fields = {"brand_code": 100001, "only_at_iys": 0, "only_here": 0}
    late = StateCount(state="waiting", files=2, **fields)
    done = StateCount(state="compared", files=5, **fields | {"only_at_iys": 3})
    metrics.show_daily_files([late, done])
    page = generate_latest(metrics.registry).decode().splitlines()
    assert 'izin_daily_files{brand="100001",state="waiting"} 2.0' in page
    assert 'izin_daily_file_differences{brand="100001",side="iys"} 3.0' in page
    metrics.show_daily_files([done])
    assert 'state="waiting"' not in generate_latest(metrics.registry).decode()


def test_open_sweeps_and_the_last_counts_are_shown():
    """A sweep that has ended shows nothing more."""
    metrics = Metrics()
    metrics.show_sweeps([a_sweep(), a_sweep(brand_code=7, after=None, ended_at=NOON)])
    metrics.show_register([a_count(iys_onay=12)])
    page = generate_latest(metrics.registry).decode()
    assert 'izin_sweep_keys{brand="100001",done="queried"} 500.0' in page
    assert 'izin_sweep_keys{brand="100001",done="left"} 1500.0' in page
    assert 'izin_sweep_keys{brand="7"' not in page
    for side, consents in (("iys", 12.0), ("ours", 10.0)):
        shown = f'izin_register_consents{{brand="100001",side="{side}",status="ONAY"}} {consents}'
        assert shown in page


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
