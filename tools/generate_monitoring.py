"""What watches an installation: the pages of alerts, from Prometheus's rules, and of metrics, from
the code, and Grafana's dashboards, from the tables below.

A chart reads what the processes show at ``/metrics``. A metric that several processes show of the
same thing is read by its largest value; one that begins with its first event has a zero beside it.
"""

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

RULES = "deploy/prometheus/alerts.yml"

_INTRODUCTION = """# Alerts

For those who are woken. The rules are in [{rules}](../{rules}), for
Prometheus; each has a test in which it fires, and one in which it does not. `page` is for now: an
opt-out (RET) may be late, lost or overrun, or nothing may be sent. `ticket` is for working hours.
[prometheus.yml](../deploy/prometheus/prometheus.yml) says where the processes are read.

Whatever is red, `izin doctor` first: it names what is wrong with the remedy, and changes nothing.
"""


def alerts_page(note: str, root: Path) -> str:
    """Return the page of all alerts, ``note`` first: each has a section, by which it is linked."""
    groups = yaml.safe_load((root / RULES).read_text(encoding="utf-8"))["groups"]
    parts = [f"{note}\n{_INTRODUCTION.format(rules=RULES)}"]
    for group in groups:
        title = group["name"].removeprefix("izin ")
        parts.append(f"## {title[0].upper()}{title[1:]}\n")
        parts += [_section(rule) for rule in group["rules"]]
    return "\n".join(parts)


def _section(rule: Any) -> str:  # noqa: ANN401  # YAML
    notes, lasts = rule["annotations"], rule.get("for")
    steps = "".join(f"{number}. {one}\n" for number, one in enumerate(_steps(notes["remedy"]), 1))
    when = f" for {lasts}" if lasts else ""
    expression = " ".join(rule["expr"].split())
    return (
        f"### {rule['alert']}\n\n`{rule['labels']['severity']}`: {notes['summary']}\n\n{steps}\n"
        f"When{when}: `{expression}`\n"
    )


def _steps(remedy: str) -> list[str]:
    return [line.strip() for line in remedy.splitlines() if line.strip()]


_METRICS = """{note}
# Metrics

What the processes show at `/metrics` on their ports for operators, as the code has it. What to do
about them is in [runbook.md](runbook.md), and who is woken in [alerts.md](alerts.md). Counters end
with `_total`; one with labels is not there before its first event. Every process has
`izin_build_info`, `izin_fault`, and Prometheus's own `process_…` metrics.

{rooms}"""
_HEAD = "| metric | kind | labels | what it shows |\n|---|---|---|---|\n"
_KINDS = {
    "Counter": "counter",
    "Total": "counter",
    "CounterMetricFamily": "counter",
    "Histogram": "histogram",
    "SummaryMetricFamily": "summary",
    "Info": "info",
}


class Metric(NamedTuple):
    """A metric, as the code has it."""

    name: str
    kind: str
    labels: Sequence[str]
    meaning: str


def metrics_page(note: str, root: Path) -> str:
    """Return the page of all metrics, ``note`` first, by the package that has them."""
    rooms: dict[str, list[Metric]] = {}
    for path in sorted((root / "izin").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = [one for node in ast.walk(tree) if (one := _metric(node)) is not None]
        found += [one for node in ast.walk(tree) for one in _listed(node)]
        rooms.setdefault(path.relative_to(root / "izin").parts[0], []).extend(found)
    parts = []
    for room, metrics in rooms.items():
        if metrics:
            rows = "".join(
                f"| `{one.name}` | {one.kind} | {', '.join(one.labels)} | {one.meaning} |\n"
                for one in sorted({one.name: one for one in metrics}.values())
            )
            parts.append(f"## izin.{room}\n\n{_HEAD}{rows}")
    return _METRICS.format(note=note, rooms="\n".join(parts))


def _metric(node: ast.AST) -> Metric | None:
    """Return the metric that a call makes, or that stands first in a tuple with what it shows."""
    match node:
        case ast.Call(func=ast.Name(id=made), args=[ast.Constant(str(name)), meaning, *more]):
            kind = _KINDS.get(made, "gauge")
            labels = more[0] if more else None
            labels = next((one.value for one in node.keywords if one.arg == "labels"), labels)
        case ast.Tuple(elts=[ast.Constant(str(name)), meaning, value]):
            # By the name of what is counted, or by the value.
            kind, labels = "counter" if isinstance(value, ast.Constant) else "gauge", None
        case _:
            return None
    if not name.startswith("izin_") or not isinstance(meaning, ast.Constant):
        return None
    return _made(name, kind, meaning, labels)


def _listed(node: ast.AST) -> Iterator[Metric]:
    """Yield the gauges of a dictionary: what each shows and its labels, by its name."""
    if not isinstance(node, ast.Dict):
        return
    for key, value in zip(node.keys, node.values, strict=True):
        match key, value:
            case ast.Constant(str(name)), ast.Tuple(elts=[ast.Constant(str()) as meaning, labels]):
                if name.startswith("izin_"):
                    yield _made(name, "gauge", meaning, labels)
            case _:
                pass


def _made(name: str, kind: str, meaning: ast.Constant, labels: ast.expr | None) -> Metric:
    names = labels.elts if isinstance(labels, ast.List) else []
    return Metric(
        name + {"counter": "_total", "info": "_info"}.get(kind, ""),
        kind,
        [str(one.value) for one in names if isinstance(one, ast.Constant)],
        str(meaning.value).rstrip("."),
    )


FOLDER = "deploy/grafana"
_COLUMNS, _WIDTH, _HEIGHT = 3, 8, 8
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Panel(NamedTuple):
    """A chart: what it shows, in which unit of Grafana, and its queries by their legends."""

    title: str
    queries: Mapping[str, str]
    unit: str = "short"


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}[5m]))"


def _grown(metric: str) -> str:
    return f"sum(increase({metric}[1h])) or vector(0)"


def _most(metric: str, by: str) -> str:
    return f"max by ({by}) ({metric})"


def _p99(metric: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile(0.99, sum by ({labels}) (rate({metric}_bucket[5m])))"


_FLOW = Panel(
    "Do opt-outs flow? Since the last synthetic one arrived",
    {"since": "time() - max(izin_synthetic_opt_out_arrived_timestamp_seconds)"},
    "s",
)
DASHBOARDS: Mapping[str, Sequence[Panel]] = {
    "operations": (
        _FLOW,
        Panel("A synthetic opt-out took", {"seconds": "max(izin_synthetic_opt_out_seconds)"}, "s"),
        Panel("Processes that answer", {"{{job}}": 'sum by (job) (up{job=~"izin.*"})'}),
        Panel("Versions", {"{{version}}": "count by (version) (izin_build_info)"}),
        Panel("Not decided yet", {"{{lane}}": _most("izin_order_lag", "lane")}),
        Panel("Decided a second", {"{{kind}}": _rate("izin_order_decisions_total", "kind")}),
        Panel("Dead letters an hour", {"letters": _grown("izin_order_dead_letters_total")}),
        Panel("Rows that wait for Kafka", {"rows": "max(izin_outbox_rows)"}),
        Panel(
            "Intake, answers a second",
            {"{{status}}": _rate("izin_intake_requests_total", "status")},
        ),
        Panel("Intake, p99", {"answer": _p99("izin_intake_request_seconds")}, "s"),
        Panel("Gate, p99", {"answer": _p99("izin_gate_request_seconds")}, "s"),
        Panel(
            "Requests refused an hour, for there were too many",
            {"refused": _grown("izin_http_refused_total")},
        ),
        Panel(
            "Memory",
            {"{{job}}": 'sum by (job) (process_resident_memory_bytes{job=~"izin.*"})'},
            "bytes",
        ),
        Panel(
            "Cores",
            {"{{job}}": 'sum by (job) (rate(process_cpu_seconds_total{job=~"izin.*"}[5m]))'},
        ),
    ),
    "law": (
        Panel("Past the third business day", {"keys": "max(izin_overdue_keys)"}),
        Panel(
            "Until the first key is due",
            {"{{lane}}": _most("izin_deadline_margin_seconds", "lane") + " or vector(0)"},
            "s",
        ),
        Panel(
            "Oldest key that İYS does not have",
            {"{{lane}}": _most("izin_backlog_oldest_seconds", "lane") + " or vector(0)"},
            "s",
        ),
        Panel(
            "Keys by how much of their term has passed",
            {
                "{{lane}} {{passed}} %": _most("izin_deadline_keys", "lane, passed")
                + " or vector(0)"
            },
        ),
        Panel(
            "Keys with something due, by what they wait for",
            {"{{waits_for}}": _most("izin_ledger_keys", "waits_for")},
        ),
        Panel(
            "Held back until a person decides",
            {
                "{{brand}} {{source}}": _most("izin_held_back_keys", "brand, source")
                + " or vector(0)"
            },
        ),
        Panel("Suspended", {"{{lane}}": _most("izin_suspended_keys", "lane") + " or vector(0)"}),
        Panel(
            "Late or expired at İYS's pace",
            {"late": "max(izin_forecast_late_keys)", "lost": "max(izin_forecast_lost_keys)"},
        ),
        Panel(
            "Complaints that wait",
            {"{{state}}": _most("izin_complaints", "state") + " or vector(0)"},
        ),
        Panel(
            "Events that never arrived, by their numbers",
            {"events": "max(izin_sequence_missing_events) or vector(0)"},
        ),
        Panel(
            "The gate's verdicts a second",
            {"{{reason}}": _rate("izin_gate_verdicts_total", "reason")},
        ),
        Panel(
            "Opt-outs that only the gate has yet", {"opt-outs": "max(izin_gate_undecided_opt_outs)"}
        ),
    ),
    "iys": (
        Panel(
            "Calls a second",
            {"{{operation}} {{code}}": _rate("izin_iys_calls_total", "operation, code")},
        ),
        Panel("İYS does not answer", {"1: none of a worker's calls": "max(izin_iys_unreachable)"}),
        Panel(
            "What is left of an address's limits",
            {"{{address}} {{limit}}": "min by (address, limit) (izin_rate_limit_left)"},
        ),
        Panel(
            "Addresses off İYS's list",
            {"{{address}}": _most("izin_address_delisted", "address") + " or vector(0)"},
        ),
        Panel(
            "Since a stream was read to its end",
            {"{{brand}} {{stream}}": _most("izin_stream_stale_seconds", "brand, stream")},
            "s",
        ),
        Panel(
            "Since the list of rights was read",
            {"{{account}}": _most("izin_granted_list_stale_seconds", "account") + " or vector(0)"},
            "s",
        ),
        Panel(
            "Rights that İYS does not give",
            {"{{brand}} {{right}}": _most("izin_lost_rights", "brand, right") + " or vector(0)"},
        ),
        Panel("Pushed an hour", {"movements": _grown("izin_pushed_movements_total")}),
        Panel(
            "Not settled, by brand",
            {"{{brand}} {{lane}}": _most("izin_backlog_keys", "brand, lane") + " or vector(0)"},
        ),
        Panel(
            "Faults that İYS found in a field", {"an hour": _grown("izin_iys_field_faults_total")}
        ),
        Panel(
            "Daily files",
            {"{{brand}} {{state}}": _most("izin_daily_files", "brand, state") + " or vector(0)"},
        ),
        Panel(
            "Sweep",
            {"{{brand}} {{done}}": _most("izin_sweep_keys", "brand, done") + " or vector(0)"},
        ),
        Panel(
            "Consents by who counts",
            {
                "{{brand}} {{status}} {{side}}": _most(
                    "izin_register_consents", "brand, status, side"
                )
                + " or vector(0)"
            },
        ),
    ),
    "subscribers": (
        _FLOW,
        Panel(
            "Webhooks a second",
            {"{{result}}": _rate("izin_webhook_attempts_total", "result") + " or vector(0)"},
        ),
        Panel(
            "Until a subscriber has taken it, p99",
            {"{{lane}}": _p99("izin_webhook_delivery_seconds", "lane") + " or vector(0)"},
            "s",
        ),
        Panel(
            "Waits for a subscriber",
            {"{{subscriber}}": _most("izin_webhook_waiting", "subscriber") + " or vector(0)"},
        ),
        Panel(
            "Has not taken something for",
            {
                "{{subscriber}}": _most("izin_webhook_failing_seconds", "subscriber")
                + " or vector(0)"
            },
            "s",
        ),
        Panel(
            "Alerts about a subscriber",
            {"{{subscriber}}": _most("izin_webhook_alerts", "subscriber") + " or vector(0)"},
        ),
        Panel(
            "Behind the end of the topics",
            {"{{subscriber}}": _most("izin_webhook_behind", "subscriber") + " or vector(0)"},
        ),
        Panel(
            "Feeds, answers a second",
            {"{{feed}} {{status}}": _rate("izin_feeds_requests_total", "feed, status")},
        ),
        Panel(
            "Feeds, items a second",
            {"{{feed}}": _rate("izin_feeds_items_total", "feed") + " or vector(0)"},
        ),
        Panel("Feeds, who waits for a record", {"{{feed}}": "sum by (feed) (izin_feeds_waiting)"}),
    ),
}
"""By name: the charts of each."""


def queries() -> Iterator[str]:
    """Yield every query."""
    for panels in DASHBOARDS.values():
        for panel in panels:
            yield from panel.queries.values()


def dashboards() -> dict[str, str]:
    """Return the file of each dashboard, by its path."""
    return {
        f"{FOLDER}/{name}.json": json.dumps(_dashboard(name, panels), indent=2, ensure_ascii=False)
        + "\n"
        for name, panels in DASHBOARDS.items()
    }


def _dashboard(name: str, panels: Sequence[Panel]) -> Mapping[str, Any]:
    title = "İYS" if name == "iys" else name.capitalize()
    source = {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
    }
    return {
        "uid": f"izin-{name}",
        "title": f"izin: {title}",
        "tags": ["izin"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source]},
        "links": [{"type": "dashboards", "tags": ["izin"], "title": "izin", "asDropdown": True}],
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> Mapping[str, Any]:
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": _SOURCE,
                "expr": query,
                "legendFormat": legend,
            }
            for place, (legend, query) in enumerate(panel.queries.items())
        ],
    }
