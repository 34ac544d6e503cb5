"""The result of the demo: topics, ledger and İYS's register compared key by key, as one table for
people and as JSON for programs.

A difference is explained only by a rule that names it: a consent that came too late to be
registered, an opt-out that İYS has no consent to withdraw for, a parked record. Any other is
unexplained, and the demo fails.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from izin.consent.fold import outranks
from izin.consent.model import Order
from izin.runtime.masking import mask

_SHOWN = 20


class FinalState(StrEnum):
    """How a key ended, when all is as it should be."""

    REGISTERED = "registered"
    EXPIRED = "expired"
    LOCAL_ONLY = "local_only"
    PARKED = "parked"
    REFUSED = "refused"


class DesiredState(NamedTuple):
    """What ``desired-consents`` says of a key."""

    status: str
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerState:
    """The ledger's record of a key."""

    desired: str
    registered: str
    state: str
    reason: str = ""
    void_event_id: str | None = None
    """The event of an opt-in that İYS never gets, where the opt-out before it is due again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDifference:
    """An unexplained difference."""

    key: str
    """With the recipient masked."""
    what: str


@dataclass(slots=True)
class Comparison:
    """The result of a comparison."""

    final_states: Counter[FinalState] = field(default_factory=Counter)
    differences: list[KeyDifference] = field(default_factory=list)

    def add(self, key: str, what: str) -> None:
        """Add an unexplained difference."""
        head, slash, recipient = key.rpartition("/")
        self.differences.append(KeyDifference(key=f"{head}{slash}{mask(recipient)}", what=what))


def compare(
    desired: Mapping[str, DesiredState],
    ledger: Mapping[str, LedgerState],
    register: Mapping[str, str],
    permitted: Mapping[str, bool],
) -> Comparison:
    """Return how each key ended, and the unexplained differences. All arguments are by key.

    ``desired`` is what ``desired-consents`` has, ``register`` the status at İYS, ``permitted`` the
    state in ``permissions``.
    """
    found = Comparison()
    for key in sorted(desired.keys() | ledger.keys() | register.keys()):
        wanted, ours, at_iys = desired.get(key), ledger.get(key), register.get(key)
        if wanted is None or ours is None:
            where = "the topic" if wanted is None else "the ledger"
            found.add(key, f"{where} does not know it; İYS holds {at_iys or 'nothing'}")
            continue
        status = "RET" if wanted.event_id == ours.void_event_id else wanted.status
        if status != ours.desired:
            found.add(key, f"the topic wants {status}, the ledger {ours.desired}")
        if not _agrees(ours.registered, at_iys):
            found.add(key, f"the ledger thinks {ours.registered}, İYS holds {at_iys or 'nothing'}")
        final = _final_state(status, ours.state, at_iys)
        if final is None:
            found.add(
                key,
                f"desired {status}, İYS holds {at_iys or 'nothing'}, "
                f"state {ours.state} ({ours.reason})",
            )
        else:
            found.final_states[final] += 1
        _check_permission(found, key, permitted.get(key), status, at_iys)
    return found


def _agrees(registered: str, at_iys: str | None) -> bool:
    match at_iys:
        case None:
            return registered in {"NONE", "NOT_ONAY", "UNKNOWN"}
        case "RET":
            return registered in {"RET", "NOT_ONAY"}
        case _:
            return registered == at_iys


def _final_state(desired: str, state: str, at_iys: str | None) -> FinalState | None:
    if desired == at_iys:
        return FinalState.REGISTERED
    if desired == "RET":
        return FinalState.LOCAL_ONLY if at_iys is None and state == "not_needed" else None
    named = {
        "expired": FinalState.EXPIRED,
        "parked": FinalState.PARKED,
        "refused": FinalState.REFUSED,
    }
    return named.get(state)


def _check_permission(
    found: Comparison, key: str, permitted: bool | None, desired: str, at_iys: str | None
) -> None:
    # Merchants and tradesmen need no prior consent, only no opt-out: Yönetmelik m.6.
    is_merchant = key.split("/")[2] == "TACIR"
    lawful = desired != "RET" and (at_iys == "ONAY" or (is_merchant and at_iys is None))
    if permitted and not lawful:
        found.add(key, "permissions says yes where the law says no")
    elif not permitted and desired == "ONAY" and at_iys == "ONAY":
        found.add(key, "permissions says no where İYS holds the consent")


def regressions(rows: Iterable[tuple[str, Order]]) -> Iterator[str]:
    """Yield each key whose law order ever decreases; ``rows`` are (key, order) as written."""
    greatest: dict[str, Order] = {}
    for key, order in rows:
        before = greatest.get(key)
        if before is not None and outranks(before, order):
            yield key
        else:
            greatest[key] = order


def repeated(movements: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Yield each movement that İYS accepted more than once."""
    yield from (movement for movement, count in Counter(movements).items() if count > 1)


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
