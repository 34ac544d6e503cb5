"""What the demo found, as one table for people and as JSON for machines."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from izin.demo.compare import Difference

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """From the citizen's act at İYS to the subscriber, milliseconds."""

    measured: int
    p50: float
    p99: float
    greatest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """What was killed while the demo ran."""

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
    kept_locally: int
    parked: int
    refused_by_iys: int
    opt_outs: int
    """Records on ``consent-opt-outs``."""
    citizens: int
    citizens_heard: int
    push: Latency
    pull: Latency
    iys_requests: Mapping[str, int]
    """Calls to İYS by operation."""
    iys_refusals: Mapping[str, int]
    """Calls that İYS refused, by code."""
    too_many_requests: int
    differences: tuple[Difference, ...]
    chaos: tuple[Chaos, ...]
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether every part tells the same story."""
        return not self.differences and self.citizens_heard == self.citizens

    def as_json(self) -> str:
        """Return the report as a JSON object."""
        return json.dumps(
            {**asdict(self), "unexplained_differences": len(self.differences)},
            ensure_ascii=False,
            indent=2,
        )

    def as_table(self) -> Table:
        """Return the report as one table."""
        table = Table(
            title="One story, told three times: topics, ledger, İYS", title_justify="left"
        )
        table.add_column("what")
        table.add_column("count", justify="right")
        table.add_column("note", style="dim")
        for what, count, note in self._rows():
            table.add_row(what, count, note)
        for one in self.differences[:_SHOWN]:
            table.add_row("[red]unexplained[/red]", "", Text(f"{one.key}: {one.what}"))
        return table

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        yield "rows read", f"{self.rows_read:,}", "from the CRM export"
        yield "refused", f"{self.rows_refused:,}", _spelled(self.refusal_reasons)
        yield "signups", f"{self.signups:,}", "by HTTP, forms and JSON"
        yield "events published", f"{self.events_published:,}", "rows and signups"
        yield "duplicates", f"{self.duplicates:,}", "said before; nothing happens"
        yield "stale", f"{self.stale:,}", "older than what is known"
        yield "enriched", f"{self.enriched:,}", "the same, with better evidence"
        yield "dead letters", f"{self.dead_letters:,}", "could not become a decision"
        yield "keys", f"{self.keys:,}", "brand, channel, recipient type, recipient"
        yield "registered", f"{self.registered:,}", "İYS holds what we want"
        yield "expired", f"{self.expired:,}", "older than three business days: not registrable"
        yield "kept locally", f"{self.kept_locally:,}", "a no, and nothing at İYS to withdraw"
        yield "waiting for a person", f"{self.parked:,}", "parked, never dropped"
        yield "refused by İYS", f"{self.refused_by_iys:,}", ""
        yield "opt-outs", f"{self.opt_outs:,}", "each told to every subscriber"
        heard = f"{self.citizens_heard:,} of {self.citizens:,}"
        yield "citizens' rejections heard", heard, "half by push, half by pull"
        yield (
            "push to subscriber p50 / p99",
            _pair(self.push),
            f"over {self.push.measured:,} pushes",
        )
        yield "pull to subscriber p50 / p99", _pair(self.pull), "İYS hides the latest; shortened"
        yield "calls to İYS", f"{sum(self.iys_requests.values()):,}", _spelled(self.iys_requests)
        yield "calls refused", f"{sum(self.iys_refusals.values()):,}", _spelled(self.iys_refusals)
        yield "refused with 429", f"{self.too_many_requests:,}", "İYS's limits are on"
        for one in self.chaos:
            yield "killed -9", one.killed, f"in second {one.at_second:.0f}"
        yield "unexplained differences", f"{len(self.differences):,}", "must be 0"
        yield "seconds", f"{self.seconds:.1f}", ""


def latency(milliseconds: list[int]) -> Latency:
    """Return the quantiles of ``milliseconds``, by nearest rank; zeros where nothing was
    measured.
    """
    if not milliseconds:
        return Latency(measured=0, p50=0, p99=0, greatest=0)
    ranked = sorted(milliseconds)
    last = len(ranked) - 1
    return Latency(
        measured=len(ranked),
        p50=ranked[round(last * 0.5)],
        p99=ranked[round(last * 0.99)],
        greatest=ranked[-1],
    )


def _pair(measured: Latency) -> str:
    return f"{measured.p50:,.0f} / {measured.p99:,.0f} ms"


def _spelled(reasons: Mapping[str, int]) -> str:
    ranked = sorted(reasons.items(), key=lambda one: -one[1])
    return ", ".join(f"{code} {count:,}" for code, count in ranked)
