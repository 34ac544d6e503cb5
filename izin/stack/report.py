"""The result of the demo: topics, ledger and İYS's register compared key by key, as one table for
people and as JSON for programs. They are read once, at the end of a scenario.

A difference is explained only by a rule that names it: a consent that came too late to be
registered, an opt-out that İYS has no consent to withdraw for, a parked record. Any other is
unexplained, and the demo fails.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from izin.consent import Order, outranks
from izin.kafka.bounded_reader import TopicRecord, read_all
from izin.runtime.masking import mask
from izin.schemas.codec import Codec
from izin.schemas.records import consent_from_avro
from izin.stack.actors import SimulatorClient
from izin.stack.scenario import Kill, LedgerState, LedgerView, ScenarioResult
from izin.stack.stack import LocalStack

T = TypeVar("T")
_SHOWN = 20
_TOO_MANY = "429"
_PUSHES = "push"
"""İYS's calls to us."""
_AGREEING: Mapping[str | None, Collection[str | None]] = {
    None: {"NONE", "NOT_ONAY", "UNKNOWN"},
    "RET": {"RET", "NOT_ONAY"},
}
"""What the ledger may believe, by what İYS holds; of anything else the same."""


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
class KeyDifference:
    """An unexplained difference."""

    key: str
    """With the recipient masked."""
    what: str


@dataclass(slots=True)
class DemoComparison:
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
) -> DemoComparison:
    """Return how each key ended, and the unexplained differences. All arguments are by key.

    ``desired`` is what ``desired-consents`` has, ``register`` the status at İYS, ``permitted`` the
    state in ``permissions``.
    """
    found = DemoComparison()
    for key in sorted(desired.keys() | ledger.keys() | register.keys()):
        wanted, ours, at_iys = desired.get(key), ledger.get(key), register.get(key)
        if wanted is None or ours is None:
            where = "the topic" if wanted is None else "the ledger"
            found.add(key, f"{where} does not know it; İYS holds {at_iys or 'nothing'}")
            continue
        status = "RET" if wanted.event_id == ours.void_event_id else wanted.status
        if status != ours.desired:
            found.add(key, f"the topic wants {status}, the ledger {ours.desired}")
        if ours.registered not in _AGREEING.get(at_iys, {at_iys}):
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
    found: DemoComparison, key: str, permitted: bool | None, desired: str, at_iys: str | None
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


def repeated(found: Iterable[T]) -> list[T]:
    """Return what is ``found`` more than once, such as a movement that İYS accepted twice."""
    return [one for one, count in Counter(found).items() if count > 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySummary:
    """From a citizen's opt-out at İYS to the subscriber, in milliseconds."""

    measured: int
    p50: float
    p99: float
    greatest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of the demo."""

    counts: Mapping[str, int]
    """Rows, events or keys, as the names say; ``opt_outs`` are records of ``consent-opt-outs``,
    ``citizens_received`` the citizens whose opt-out at İYS reached the subscriber."""
    refusal_reasons: Mapping[str, int]
    """How often each code was reported; a row can break several rules."""
    push: LatencySummary
    pull: LatencySummary
    iys_requests: Mapping[str, int]
    """Calls to İYS by operation."""
    iys_refusals: Mapping[str, int]
    """Calls that İYS refused, by code."""
    differences: tuple[KeyDifference, ...]
    chaos: tuple[Kill, ...]
    seconds: float

    @property
    def is_good(self) -> bool:
        """Whether nothing is unexplained, and every citizen's opt-out was received."""
        counts = self.counts
        return not self.differences and counts["citizens_received"] == counts["citizens"]

    def as_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        found = asdict(self) | {"unexplained_differences": len(self.differences)}
        return {**found.pop("counts"), **found}

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield what was counted, how much, and a note; then the first differences."""
        for what, count, note in self._counts():
            yield what, f"{count:,}" if isinstance(count, int) else count, note
        for difference in self.differences[:_SHOWN]:
            yield "unexplained", "", f"{difference.key}: {difference.what}"

    def _counts(self) -> list[tuple[str, int | str, str]]:
        count = self.counts
        received = f"{count['citizens_received']:,} of {count['citizens']:,}"
        return [
            ("rows read", count["rows_read"], "from the CRM export"),
            ("refused", count["rows_refused"], _ranked(self.refusal_reasons)),
            ("signups", count["signups"], "by HTTP, forms and JSON"),
            ("asked by İYS (ViA)", count["asked_by_iys"], "a code given back; at İYS already"),
            ("events published", count["events_published"], "rows, signups and citizens at İYS"),
            ("duplicates", count["duplicates"], "published before; no effect"),
            ("stale", count["stale"], "older than the state"),
            ("enriched", count["enriched"], "the same, with better evidence"),
            ("dead letters", count["dead_letters"], "could not be processed"),
            ("keys", count["keys"], "brand, channel, recipient type, recipient"),
            ("registered", count["registered"], "İYS holds what we want"),
            ("expired", count["expired"], "older than three business days: not registrable"),
            ("local only", count["local_only"], "an opt-out, and nothing at İYS to withdraw"),
            ("parked", count["parked"], "need a person; never dropped"),
            ("refused by İYS", count["refused_by_iys"], ""),
            ("opt-outs", count["opt_outs"], "each published to every subscriber"),
            ("citizens' opt-outs received", received, "half by push, half by pull"),
            (
                "push to subscriber p50 / p99",
                _pair(self.push),
                f"over {self.push.measured:,} pushes",
            ),
            ("pull to subscriber p50 / p99", _pair(self.pull), "İYS hides the latest; shortened"),
            ("calls to İYS", sum(self.iys_requests.values()), _ranked(self.iys_requests)),
            ("calls refused", sum(self.iys_refusals.values()), _ranked(self.iys_refusals)),
            ("refused with 429", count["too_many_requests"], "İYS's rate limits are on"),
            *(("kill -9", chao.killed, f"in second {chao.at_second:.0f}") for chao in self.chaos),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicContents:
    """Every record of the topics that are compared."""

    desired_consents: list[TopicRecord]
    decisions: list[TopicRecord]
    opt_outs: list[TopicRecord]
    dead_letters: list[TopicRecord]
    permissions: list[TopicRecord]


def verify(
    stack: LocalStack, codec: Codec, ledger: LedgerView, result: ScenarioResult, *, start: float
) -> Report:
    """Return the report of a scenario; ``start`` is monotonic seconds."""
    settings = stack.kafka_settings
    topics = TopicContents(
        **{
            name: list(read_all(settings, codec, getattr(settings.topics, name)))
            for name in TopicContents.__slots__
        }
    )
    desired = {
        desired_consent.key: DesiredState(
            desired_consent.value["status"], desired_consent.value["event_id"]
        )
        for desired_consent in topics.desired_consents
    }
    permitted = {
        permission.key: bool(permission.value["may_send"]) for permission in topics.permissions
    }
    with SimulatorClient(stack.url("simulator")) as client:
        register = {entry.key: entry.status for entry in client.register()}
        movements = list(client.movements())
        counts = client.requests()
    found = compare(desired, ledger.states(), register, permitted)
    for key in regressions(
        (one.key, consent_from_avro(one.value).order) for one in topics.desired_consents
    ):
        found.add(key, "desired-consents decreased in the law's order")
    ours = (
        (movement.key, movement.status, movement.consent_date)
        for movement in movements
        if movement.path != "citizen"
    )
    for key, status, _ in repeated(ours):
        found.add(key, f"İYS accepted the same {status} twice")
    _check_import(found, result, len(desired))
    places = (
        "{topic}/{partition}/{offset}".format_map(decision.value) for decision in topics.decisions
    )
    for place in repeated(places):
        found.add(place, "decided more than once")
    _check_opt_outs(found, topics)
    for citizen in result.citizens:
        if citizen.key not in result.received:
            found.add(citizen.key, "a citizen's opt-out did not reach the subscriber")
    events = ledger.events()
    accepted = result.imported.published + result.signups + len(result.citizens)
    if events < accepted:
        found.add("both lanes", f"{accepted:,} events were accepted, {events:,} are there")
    return _report(found, topics, result, counts, events=events, start=start)


def _report(  # noqa: PLR0913 - what was found, and what it was found in
    found: DemoComparison,
    topics: TopicContents,
    result: ScenarioResult,
    counts: dict[str, Any],
    *,
    events: int,
    start: float,
) -> Report:
    kinds = Counter(decision.value["kind"] for decision in topics.decisions)
    ended = found.final_states
    return Report(
        counts={
            "rows_read": result.imported.rows,
            "rows_refused": result.imported.refused,
            "signups": result.signups,
            "asked_by_iys": result.asked,
            "events_published": events,
            "duplicates": events - len(topics.decisions) - len(topics.dead_letters),
            "stale": kinds["Stale"],
            "enriched": kinds["Enriched"],
            "applied": kinds["Apply"],
            "dead_letters": len(topics.dead_letters),
            "keys": len({desired_consent.key for desired_consent in topics.desired_consents}),
            "registered": ended[FinalState.REGISTERED],
            "expired": ended[FinalState.EXPIRED],
            "local_only": ended[FinalState.LOCAL_ONLY],
            "parked": ended[FinalState.PARKED],
            "refused_by_iys": ended[FinalState.REFUSED],
            "opt_outs": len(topics.opt_outs),
            "citizens": len(result.citizens),
            "citizens_received": sum(citizen.key in result.received for citizen in result.citizens),
            "too_many_requests": counts["statuses"].get(_TOO_MANY, 0),
        },
        refusal_reasons=result.imported.reasons,
        push=latency(result.delays(result.pushed)),
        pull=latency(result.delays(result.pulled)),
        iys_requests={
            name: one["total"] for name, one in counts["operations"].items() if name != _PUSHES
        },
        iys_refusals=counts["codes"],
        differences=tuple(found.differences),
        chaos=tuple(result.kills),
        seconds=round(time.monotonic() - start, 1),
    )


def _check_import(found: DemoComparison, result: ScenarioResult, keys: int) -> None:
    """Compare the import with what was written."""
    truth, imported = result.truth, result.imported
    for what, written, read in (
        ("rows read", truth.rows, imported.rows),
        ("rows refused", truth.refused, imported.refused),
        ("rows published", truth.published, imported.published),
        ("opt-outs not registrable", truth.not_registrable, imported.not_registrable),
        # Every signup is of another person, who is not in the export; so is who was asked.
        ("keys", truth.keys + result.signups + result.asked, keys),
    ):
        if written != read:
            found.add("the export", f"{what}: {written:,} were written, {read:,} were read")


def _check_opt_outs(found: DemoComparison, topics: TopicContents) -> None:
    due = Counter(
        (decision.key, decision.value["consent"]["event_id"])
        for decision in topics.decisions
        if decision.value["opted_out"]
    )
    published = Counter((opt_out.key, opt_out.value["event_id"]) for opt_out in topics.opt_outs)
    for key, _ in due - published:
        found.add(key, "a change to RET was not published")
    for key, _ in published - due:
        found.add(key, "an opt-out was published that no decision made")
