"""The result of the demo, as one table for people and as JSON for programs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from rich.table import Table
from rich.text import Text

from izin.demo.compare import KeyDifference

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """From a citizen's opt-out at İYS to the subscriber, in milliseconds."""

    measured: int
    p50: float
    p99: float
    greatest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Which worker was killed while the demo ran, and when."""

    killed: str
    at_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of the demo. Counts are rows, events or keys, as their names say."""

    rows_read: int
    rows_refused: int
    refusal_reasons: Mapping[str, int]
    """How often each code was reported; a row can break several rules."""
    signups: int
    events_published: int
    duplicates: int
    stale: int
    enriched: int
    applied: int
    dead_letters: int
    keys: int
    registered: int
    expired: int
    local_only: int
    parked: int
    refused_by_iys: int
    opt_outs: int
    """Records of ``consent-opt-outs``."""
    citizens: int
    citizens_received: int
    """Citizens whose opt-out at İYS reached the subscriber."""
    push: LatencySummary
    pull: LatencySummary
    iys_requests: Mapping[str, int]
    """Calls to İYS by operation."""
    iys_refusals: Mapping[str, int]
    """Calls that İYS refused, by code."""
    too_many_requests: int
    differences: tuple[KeyDifference, ...]
    chaos: tuple[Kill, ...]
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether nothing is unexplained, and every citizen's opt-out was received."""
        return not self.differences and self.citizens_received == self.citizens

    def as_json(self) -> str:
        """Return the report as a JSON object."""
        return json.dumps(
            {**asdict(self), "unexplained_differences": len(self.differences)},
            ensure_ascii=False,
            indent=2,
        )

    def as_table(self) -> Table:
        """Return the report as one table."""
        table = Table(title="Topics, ledger and İYS compared", title_justify="left")
        table.add_column("what")
        table.add_column("count", justify="right")
        table.add_column("note", style="dim")
        for what, count, note in self._rows():
            table.add_row(what, f"{count:,}" if isinstance(count, int) else count, note)
        for one in self.differences[:_SHOWN]:
            table.add_row("[red]unexplained[/red]", "", Text(f"{one.key}: {one.what}"))
        return table

    def _rows(self) -> list[tuple[str, int | str, str]]:
        received = f"{self.citizens_received:,} of {self.citizens:,}"
        return [
            ("rows read", self.rows_read, "from the CRM export"),
            ("refused", self.rows_refused, _ranked(self.refusal_reasons)),
            ("signups", self.signups, "by HTTP, forms and JSON"),
            ("events published", self.events_published, "rows, signups and citizens at İYS"),
            ("duplicates", self.duplicates, "published before; no effect"),
            ("stale", self.stale, "older than the state"),
            ("enriched", self.enriched, "the same, with better evidence"),
            ("dead letters", self.dead_letters, "could not be processed"),
            ("keys", self.keys, "brand, channel, recipient type, recipient"),
            ("registered", self.registered, "İYS holds what we want"),
            ("expired", self.expired, "older than three business days: not registrable"),
            ("local only", self.local_only, "an opt-out, and nothing at İYS to withdraw"),
            ("parked", self.parked, "need a person; never dropped"),
            ("refused by İYS", self.refused_by_iys, ""),
            ("opt-outs", self.opt_outs, "each published to every subscriber"),
            ("citizens' opt-outs received", received, "half by push, half by pull"),
            (
                "push to subscriber p50 / p99",
                _pair(self.push),
                f"over {self.push.measured:,} pushes",
            ),
            ("pull to subscriber p50 / p99", _pair(self.pull), "İYS hides the latest; shortened"),
            ("calls to İYS", sum(self.iys_requests.values()), _ranked(self.iys_requests)),
            ("calls refused", sum(self.iys_refusals.values()), _ranked(self.iys_refusals)),
            ("refused with 429", self.too_many_requests, "İYS's rate limits are on"),
            *(("kill -9", one.killed, f"in second {one.at_second:.0f}") for one in self.chaos),
            ("unexplained differences", len(self.differences), "must be 0"),
            ("seconds", f"{self.seconds:.1f}", ""),
        ]


def latency(milliseconds: list[int]) -> LatencySummary:
    """Return quantiles by nearest rank; zeros where nothing was measured."""
    ranked = sorted(milliseconds) or [0]
    last = len(ranked) - 1
    return LatencySummary(
        measured=len(milliseconds),
        p50=ranked[round(last * 0.5)],
        p99=ranked[round(last * 0.99)],
        greatest=ranked[-1],
    )


def _pair(measured: LatencySummary) -> str:
    return f"{measured.p50:,.0f} / {measured.p99:,.0f} ms"


def _ranked(counts: Mapping[str, int]) -> str:
    ranked = sorted(counts.items(), key=lambda one: -one[1])
    return ", ".join(f"{name} {count:,}" for name, count in ranked)
