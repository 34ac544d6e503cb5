"""Every alert fires where somebody must act and is silent otherwise, as promtool evaluates it; and
every metric that asks for an act has one.
"""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.support.servers.prometheus import tool

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
_LOADED: Mapping[str, Any] = yaml.safe_load(RULES.read_text("utf-8"))
ALERTS: Mapping[str, Mapping[str, Any]] = {
    rule["alert"]: rule for group in _LOADED["groups"] for rule in group["rules"]
}

Series = Mapping[str, str]


class AlertCase(NamedTuple):
    """Series with which an alert fires, and others with which it does not, ``at`` an instant."""

    fires: Series
    silent: Series
    labels: Mapping[str, str] = {}
    """Beside those of the rule."""
    at: str = "20m"
    interval: str = "15s"


def gauge(name: str, fires: float, silent: float, **more: Any) -> AlertCase:  # noqa: ANN401  # as AlertCase has them
    """Return the case of a gauge that has one value throughout, or the other."""
    return AlertCase({name: f"{fires}+0x400"}, {name: f"{silent}+0x400"}, **more)


def growth(name: str, **more: Any) -> AlertCase:  # noqa: ANN401  # as AlertCase has them
    """Return the case of a counter that grows, or stands."""
    return AlertCase({name: "0+1x400"}, {name: "7+0x400"}, **more)


def first(name: str, **more: Any) -> AlertCase:  # noqa: ANN401  # as AlertCase has them
    """Return the case of a counter that is not there before its first event, of minutes ago or of
    long ago.
    """
    return AlertCase({name: "_x70 1+0x400"}, {name: "1+0x400"}, **more)


_EXPRESS = 'izin_webhook_delivery_seconds_bucket{lane="express",le="%s"}'
_ARRIVED = "izin_synthetic_opt_out_arrived_timestamp_seconds"
CASES: Mapping[str, AlertCase] = {
    "IzinOptOutsDoNotFlow": AlertCase({_ARRIVED: "1000+0x400"}, {_ARRIVED: "0 0 0 0+60x400"}),
    "IzinOptOutsNotWatched": AlertCase({"up": "1+0x400"}, {_ARRIVED: "0+15x400"}),
    "IzinProcessDown": gauge('up{job="izin-order"}', 0, 1, labels={"job": "izin-order"}),
    "IzinServerAway": AlertCase(
        {'izin_fault{fault="kafka"}': "1+0x400"},
        {'izin_fault{fault="kafka"}': "1 1 _x400"},
        labels={"fault": "kafka"},
    ),
    "IzinNotReady": AlertCase(
        {'izin_fault{job="izin-gate",fault="gate state"}': "1+0x400"},
        {'izin_fault{job="izin-gate",fault="gate state"}': "1x8 _x400"},
        labels={"job": "izin-gate", "fault": "gate state"},
    ),
    "IzinOrderStalled": AlertCase(
        {"izin_order_partitions_ready": "3+0x400", "izin_order_partitions_assigned": "4+0x400"},
        {"izin_order_partitions_ready": "4+0x400", "izin_order_partitions_assigned": "4+0x400"},
    ),
    "IzinExpressLags": AlertCase(
        {'izin_order_lag{lane="express"}': "1+0x400"},
        {'izin_order_lag{lane="express"}': "0 5 0 0 9 0 0+0x400"},
    ),
    "IzinBulkLags": AlertCase(
        {'izin_order_lag{lane="bulk"}': "1+100x400"},
        {'izin_order_lag{lane="bulk"}': "100000-100x400"},
        at="40m",
    ),
    "IzinLaneHeldBack": gauge(
        'izin_order_open_transaction_seconds{lane="express"}', 6, 5, labels={"lane": "express"}
    ),
    "IzinDeadLetters": first(
        'izin_order_dead_letters_total{reason="undecodable"}', labels={"reason": "undecodable"}
    ),
    "IzinPayloadNotMapped": first('izin_intake_records_total{outcome="dead_letter"}'),
    "IzinDecisionQuarantined": first('izin_quarantined_decisions_total{reason="row",is_ret="no"}'),
    "IzinIngestPaused": gauge("izin_ingest_partitions_paused", 1, 0),
    "IzinOutboxWaits": AlertCase(
        {"izin_outbox_rows": "3+0x400"}, {"izin_outbox_rows": "3 3 0 3 3 0 0+0x400"}
    ),
    "IzinLedgerFiguresOld": AlertCase(
        {"izin_ledger_read_timestamp_seconds": "900+0x400"},
        {"izin_ledger_read_timestamp_seconds": "0+15x400"},
    ),
    "IzinTermMissed": gauge("izin_overdue_keys", 1, 0),
    "IzinOptOutsNearTerm": gauge('izin_deadline_keys{lane="opt-outs",passed="80"}', 1, 0),
    "IzinConsentsNearTerm": gauge('izin_deadline_keys{lane="consents",passed="95"}', 1, 0),
    "IzinMarginBelowDay": gauge(
        'izin_deadline_margin_seconds{lane="consents"}', 80000, 90000, labels={"lane": "consents"}
    ),
    "IzinBacklogGrows": AlertCase(
        {'izin_backlog_keys{brand="100001",lane="consents"}': "20000+10x900"},
        {'izin_backlog_keys{brand="100001",lane="consents"}': "20000-10x900"},
        at="3h",
    ),
    "IzinForecastLate": gauge("izin_forecast_late_keys", 1, 0),
    "IzinOptOutsSuspended": gauge('izin_suspended_keys{lane="opt-outs"}', 1, 0),
    "IzinConsentsSuspended": gauge('izin_suspended_keys{lane="consents"}', 1, 0),
    "IzinHeldBack": gauge(
        'izin_held_back_keys{brand="100001",source="crm"}',
        *(1, 0),
        labels={"brand": "100001", "source": "crm"},
    ),
    "IzinNeedsPerson": AlertCase(
        {'izin_ledger_keys{waits_for="parked"}': "5+1x400"},
        {'izin_ledger_keys{waits_for="parked"}': "500-1x400"},
        at="26h",
        interval="10m",
    ),
    "IzinComplaintOverdue": gauge('izin_complaints{state="overdue"}', 1, 0),
    "IzinGateStale": growth('izin_gate_verdicts_total{reason="stale"}'),
    "IzinGateUndecided": AlertCase(
        {"izin_gate_undecided_opt_outs": "2+0x400"},
        {"izin_gate_undecided_opt_outs": "2 0 3 0 1 0 0+0x400"},
    ),
    "IzinGateUnreadable": growth("izin_gate_unreadable_records"),
    "IzinGateIysLate": gauge("izin_gate_iys_late_channels", 1, 0),
    "IzinGateIysClosed": gauge("izin_gate_iys_closed_channels", 1, 0),
    "IzinIysUnreachable": gauge("izin_iys_unreachable", 1, 0),
    "IzinIysFails": AlertCase(
        {
            'izin_iys_calls_total{operation="add",code="H103"}': "0+3x400",
            'izin_iys_calls_total{operation="status",code="200"}': "0+1x400",
        },
        {
            'izin_iys_calls_total{operation="add",code="500"}': "0+1x400",
            'izin_iys_calls_total{operation="add",code="H175"}': "0+3x400",
        },
    ),
    "IzinAddressDelisted": gauge(
        'izin_address_delisted{address="one"}', 1, 0, labels={"address": "one"}
    ),
    "IzinAddressRatedLow": gauge(
        'izin_rate_limit_left{address="one",limit="success-of-the-day"}',
        *(0.79, 0.8),
        labels={"address": "one"},
    ),
    "IzinFieldFaults": AlertCase(
        {'izin_iys_field_faults_total{code="H162"}': "_x300 1+0x400"},
        {'izin_iys_field_faults_total{code="H162"}': "1+0x700"},
        labels={"code": "H162"},
        at="90m",
    ),
    "IzinStreamStale": gauge(
        'izin_stream_stale_seconds{brand="100001",stream="IYS"}',
        *(21601, 21600),
        labels={"brand": "100001", "stream": "IYS"},
    ),
    "IzinGrantedListStale": gauge(
        'izin_granted_list_stale_seconds{account="ada"}', 172801, 172800, labels={"account": "ada"}
    ),
    "IzinRightLost": gauge(
        'izin_lost_rights{brand="100001",right="write"}',
        *(1, 0),
        labels={"brand": "100001", "right": "write"},
    ),
    "IzinDailyFileLate": AlertCase(
        {'izin_daily_files{brand="100001",state="waiting"}': "1+0x400"},
        {'izin_daily_files{brand="100001",state="waiting"}': "1 1 0 1+0x400"},
        labels={"brand": "100001", "state": "waiting"},
        at="48h",
        interval="30m",
    ),
    "IzinDailyFileDiffers": gauge(
        'izin_daily_file_differences{brand="100001",side="iys"}', 1, 0, labels={"brand": "100001"}
    ),
    "IzinSweepStalled": AlertCase(
        {'izin_sweep_keys{brand="100001",done="left"}': "900+0x400"},
        {'izin_sweep_keys{brand="100001",done="left"}': "900-1x400"},
        labels={"brand": "100001"},
        at="40m",
    ),
    "IzinRegisterDiffers": AlertCase(
        {
            'izin_register_consents{brand="100001",status="ONAY",side="iys"}': "100+1x400",
            'izin_register_consents{brand="100001",status="ONAY",side="ours"}': "95+0x400",
        },
        {
            'izin_register_consents{brand="100001",status="ONAY",side="iys"}': "100+1x400",
            'izin_register_consents{brand="100001",status="ONAY",side="ours"}': "95+1x400",
        },
        labels={"brand": "100001", "status": "ONAY"},
        at="90h",
        interval="30m",
    ),
    "IzinPushUnauthorized": first('izin_push_unauthorized_total{reason="wrong"}'),
    "IzinSequenceGap": gauge(
        'izin_sequence_missing_events{customer="acme",origin="crm"}',
        *(1, 0),
        labels={"customer": "acme", "origin": "crm"},
    ),
    "IzinIntakeFails": growth('izin_intake_requests_total{status="503"}'),
    "IzinFeedsFail": growth('izin_feeds_requests_total{feed="opt-outs",status="503"}'),
    "IzinFeedTooOld": growth(
        'izin_feeds_requests_total{feed="opt-outs",status="410"}', labels={"feed": "opt-outs"}
    ),
    "IzinApiFails": growth('izin_api_requests_total{path="/v1/via",status="503"}'),
    "IzinGateFails": growth('izin_gate_requests_total{status="503"}'),
    "IzinClockSkew": gauge("izin_intake_clock_skew_seconds", -1.5, 1),
    "IzinRequestsRefused": growth(
        'izin_http_refused_total{job="izin-gate",reason="key"}',
        labels={"job": "izin-gate", "reason": "key"},
    ),
    "IzinRelayRefuses": first('izin_relay_rows_total{outcome="refused"}'),
    "IzinRelayLags": gauge(
        'izin_relay_lag_seconds{lane="express"}', 61, 60, labels={"lane": "express"}
    ),
    "IzinSubscriberFails": gauge(
        'izin_webhook_alerts{subscriber="crm"}', 1, 0, labels={"subscriber": "crm"}
    ),
    "IzinSubscriberBehind": AlertCase(
        {
            'izin_webhook_behind{subscriber="crm"}': "1+0x400",
            'izin_webhook_failing_seconds{subscriber="crm"}': "0+0x400",
        },
        {
            'izin_webhook_behind{subscriber="crm"}': "1+0x400",
            'izin_webhook_failing_seconds{subscriber="crm"}': "0+15x400",
        },
        labels={"subscriber": "crm"},
    ),
    "IzinWebhooksSlow": AlertCase(
        {_EXPRESS % "1.0": "0+1x400", _EXPRESS % "2.5": "0+9x400", _EXPRESS % "+Inf": "0+9x400"},
        {_EXPRESS % "1.0": "0+9x400", _EXPRESS % "2.5": "0+9x400", _EXPRESS % "+Inf": "0+9x400"},
    ),
}
"""Of each alert."""
FIGURES = frozenset(
    {
        *("izin_feeds_items", "izin_feeds_waiting", "izin_gate_keys", "izin_gate_state_bytes"),
        *("izin_gate_request_seconds", "izin_gate_receipts", "izin_webhook_waiting"),
        *("izin_synthetic_opt_out_seconds", "izin_synthetic_opt_outs", "izin_build_info"),
        "izin_backlog_oldest_seconds",
    }
)
"""Metrics of the runbook that ask for no act."""


def test_every_alert_has_a_case_a_severity_and_a_remedy() -> None:
    """And no case is of an alert that is gone."""
    assert CASES.keys() == ALERTS.keys()
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in {"page", "ticket"}, name
        assert rule["annotations"].keys() == {"summary", "remedy"}, name


def unit_tests(name: str, rules: Path) -> dict[str, Any]:
    """Return what promtool evaluates of an alert, the only one of ``rules``: where it fires, and
    where it does not.
    """
    rule, case = ALERTS[name], CASES[name]
    fired = {
        "exp_labels": {**rule["labels"], **case.labels},
        "exp_annotations": rule["annotations"],
    }
    return {
        "rule_files": [str(rules)],
        "evaluation_interval": case.interval,
        "tests": [
            {
                "name": f"{name} {title}",
                "interval": case.interval,
                "input_series": [
                    {"series": one, "values": values} for one, values in series.items()
                ],
                "alert_rule_test": [
                    {"eval_time": case.at, "alertname": name, "exp_alerts": expected}
                ],
            }
            for title, series, expected in (
                ("fires", case.fires, [fired]),
                ("is silent", case.silent, []),
            )
        ],
    }


def test_alert_fires_where_somebody_must_act_and_else_not(tmp_path: Path) -> None:
    """As Prometheus itself evaluates the rules, which are valid."""
    promtool = tool("promtool")
    checked = subprocess.run(
        [promtool, "check", "rules", RULES], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    paths = []
    for name, rule in ALERTS.items():
        rules = tmp_path / f"{name}.rules.yml"
        rules.write_text(yaml.safe_dump({"groups": [{"name": name, "rules": [rule]}]}), "utf-8")
        paths.append(tmp_path / f"{name}.yml")
        paths[-1].write_text(yaml.safe_dump(unit_tests(name, rules)), "utf-8")
    tested = subprocess.run(
        [promtool, "test", "rules", *paths], capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_metric_that_asks_for_an_act_has_an_alert() -> None:
    """Of those in the runbook; and no alert reads a metric that we do not have."""
    table = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    rows = re.findall(r"(?m)^\| (`izin_.*?) \|", table)
    shown = {name.removesuffix("_total") for row in rows for name in re.findall(r"izin_\w+", row)}
    read = {
        name.removesuffix("_total").removesuffix("_bucket")
        for rule in ALERTS.values()
        for name in re.findall(r"izin_\w+", rule["expr"])
    }
    assert shown - read == FIGURES & shown
    source = "\n".join(one.read_text("utf-8") for one in (ROOT / "izin").rglob("*.py"))
    assert {name for name in read if f'"{name}"' not in source} == set()
