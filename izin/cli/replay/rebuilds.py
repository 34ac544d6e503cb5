"""``izin replay rebuild``: of ``desired-consents`` from its events, of the ledger's rows from their
history.
"""

import multiprocessing
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError

from izin.cli.terminal import kafka_settings, say, showing, utc_now
from izin.cli.terminal.ledger_session import run_on_ledger, topic_messages
from izin.kafka.clients import codec
from izin.replay.ledger.rebuild import (
    REPAIRED,
    DifferingRow,
    LedgerRebuild,
)
from izin.replay.order_state.comparison import WRITTEN, StateDifferenceKind
from izin.replay.order_state.planning import Installation, options_of
from izin.replay.order_state.repair import PartitionResult, StateRebuild, results_of
from izin.runtime.masking import mask, mask_text
from izin.runtime.plan import Plan, Selection
from izin.runtime.settings import LedgerSettings, StreamSettings
from izin.schemas.erasure import SUPPRESSED

_SHOWN = 200
"""Rows of a table."""
COLUMNS = {"key": "key", "kind": "it is", "fields": "what differs"}
"""The names in JSON and their titles in the table."""
_NEXT = {
    StateDifferenceKind.UNREADABLE: "unreadable rows stop the order workers: stop them, delete the "
    "topic, create it again (izin doctor --fix --no-running), and plan again, which restores it",
    StateDifferenceKind.NEWER: "newer rows stay: was a row written by hand, or are opt-ins paused "
    "(izin doctor)? izin explain shows what is known of a recipient",
    StateDifferenceKind.SURPLUS: "surplus rows stay: publish the opt-out that should stand, or "
    "erase the recipient (izin privacy erase)",
    StateDifferenceKind.UNJUDGED: "unjudged rows stay: their events are in neither topics nor "
    "history",
}
T = TypeVar("T")

_KINDS = {
    "missing": "have no row: the execution restores it, and İYS is queried before anything is "
    "submitted",
    "differing": "have other columns: the execution sets them, and rules the row again",
    "terms": "have other ends of their term: the execution sets them, and rules the row again",
    "newer": "have something later than the history, an event or the instant of one: compare with "
    "izin explain; nothing is changed",
    "surplus": "have a row without any decision in the history, whose month may have been dropped: "
    "nothing is changed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySummary:
    """What a replay found, did, and has left."""

    rows: Sequence[Sequence[object]]
    """Under ``COLUMNS``; a cell may be a mapping of fields to what stands and what should stand."""
    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Digests and counts: JSON values, printed below the table."""
    notes: Sequence[str] = ()
    """Sentences for a person, remedies included."""
    to_execute: int = 0
    """How much the execution has still to do."""
    to_look_at: int = 0
    """How much is left to a person."""

    @property
    def left(self) -> int:
        """How much is still to be done."""
        return self.to_execute + self.to_look_at


def compared(fields: Mapping[str, Sequence[object]]) -> dict[str, dict[str, object]]:
    """Return a cell of fields: by name, what stands and what should stand."""
    return {
        name: {"stands": stands, "should_stand": wanted}
        for name, (stands, wanted) in fields.items()
    }


@dataclass(frozen=True, slots=True)
class DesiredConsentsReplay:
    """Rebuilds the order stage's state, by the plan at ``path``."""

    path: Path
    whole: bool = False
    """Whether the whole history is read, for Kafka was lost."""

    def dry_run(self, selection: Selection, workers: int, *, by: str) -> None:
        """Compare what should stand with what does, and write the plan."""
        with showing("reading") as progress:
            StateRebuild(installation=_installation(), workers=workers, report=progress).plan(
                self.path, selection, by=by, whole=self.whole
            )

    def check(self, plan: Plan) -> None:
        """Raise if the plan cannot be executed now."""
        StateRebuild(installation=_installation(), workers=1).check(plan)

    def execute(self, plan: Plan, *, by: str) -> None:
        """Write what is missing or differs."""
        with showing("reading") as progress:
            StateRebuild(
                installation=_installation(), workers=multiprocessing.cpu_count(), report=progress
            ).execute(plan, self.path, LedgerSettings(), by=by)

    def summary(self, plan: Plan, *, unmasked: bool) -> ReplaySummary:
        """Return what differs, how often, and the digests of both sides."""
        results, is_executed = results_of(plan, self.path)
        found, written = Counter[str](), Counter[str]()
        for result in results:
            found.update(result.counts)
            written.update(result.written)
        lost, _ = options_of(plan)
        waiting = 0 if is_executed else sum(one.waiting for one in results)
        stays = {kind: found[kind] for kind in _NEXT if found[kind]}
        return ReplaySummary(
            rows=list(islice(_rows(results, is_executed=is_executed, unmasked=unmasked), _SHOWN)),
            facts={
                "keys": sum(one.keys for one in results),
                "events": sum(one.events for one in results),
                "computed": _whole([one.computed for one in results]),
                "current": _whole([one.current for one in results]),
                **{kind: found[kind] for kind in StateDifferenceKind},
                "rows_written": written["rows"],
                "opt_outs_written": written["opt_outs"],
                "rows_to_write": waiting,
            },
            notes=[*(_NEXT[kind] for kind in stays), *_notes(plan, found)],
            to_execute=waiting + (0 if is_executed else len(lost)),
            to_look_at=sum(
                n for kind, n in stays.items() if kind is not StateDifferenceKind.UNJUDGED
            ),
        )


def _installation() -> Installation:
    kafka = kafka_settings()
    return Installation(
        kafka=kafka, streams=StreamSettings(), codec=codec(kafka), ledger=_ledger_if_any()
    )


def _ledger_if_any() -> LedgerSettings | None:
    """Return the ledger's settings; None where no ledger is set up."""
    try:
        return LedgerSettings()
    except ValidationError as error:
        if all(one["type"] == "missing" for one in error.errors()):
            return None
        raise


def _notes(plan: Plan, found: Counter[str]) -> Iterator[str]:
    lost, uncovered = options_of(plan)
    if lost:
        yield (
            f"the topic was created again since {len(lost)} partitions were decided: its rows and "
            "positions are restored, and no opt-out is written again"
        )
    if undecided := plan.options["undecided"]:
        yield (
            f"order-positions says nothing of {len(undecided)} partitions: none of their events "
            "counts as decided"
        )
    if uncovered:
        yield (
            f"of {len(uncovered)} partitions, retention has removed events that no history has: "
            "what they explained cannot be judged"
        )
    if sum(found.values()) > _SHOWN:
        yield f"{sum(found.values())} rows differ; the first are listed"


def _rows(
    results: Sequence[PartitionResult], *, is_executed: bool, unmasked: bool
) -> Iterator[tuple[object, ...]]:
    """Yield the rows that differ, without those that the execution has written."""
    for one in chain.from_iterable(result.listed for result in results):
        if one["kind"] not in WRITTEN or not is_executed:
            yield _key(one["key"], unmasked=unmasked), one["kind"], compared(one["fields"])


def _key(key: str, *, unmasked: bool) -> str:
    if unmasked or key.startswith(SUPPRESSED.decode()):
        return key
    head, slash, recipient = key.rpartition("/")
    return f"{head}{slash}{mask(recipient)}"


def _whole(digests: list[str]) -> str:
    """Return the digest of all partitions: of their digests, in the order of their numbers."""
    return sha256("".join(digests).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class LedgerReplay:
    """Rebuilds the rows of ``consents``, by the plan at ``path``."""

    path: Path

    def dry_run(self, selection: Selection, workers: int, *, by: str) -> None:
        """Fold the history and compare; write the plan."""
        with showing("parts of the keys") as shown:
            _run(
                lambda rebuild: rebuild.plan(self.path, selection, by=by),
                workers=workers,
                on_fill=shown,
            )

    def check(self, plan: Plan) -> None:
        """Raise if the plan cannot be executed now."""
        _run(lambda rebuild: rebuild.check(plan))

    def execute(self, plan: Plan, *, by: str) -> None:
        """Repair what differs."""
        messages = topic_messages()
        differences = plan.options["differences"]
        total = sum(count for kind, count in differences.items() if kind in REPAIRED)
        with showing("rows repaired") as shown:
            done = _run(
                lambda rebuild: rebuild.execute(plan, messages, by=by),
                on_repair=lambda found: shown(found.total(), total),
            )
        say(
            f"{done['restored']} rows restored, {done['changed']} changed, {done['left']} left as "
            "they are"
        )

    def summary(self, plan: Plan, *, unmasked: bool) -> ReplaySummary:
        """Return the digests and the keys that differ."""
        options = plan.options
        facts = {
            "digest_from_history": options["shadow"],
            "digest_of_rows_when_planned": options["current"],
            "keys_in_history": options["shadow_keys"],
            "rows": options["current_keys"],
        }
        found = _run(lambda rebuild: rebuild.left(plan))
        if found is None:
            return ReplaySummary(
                rows=(),
                facts=facts,
                notes=("another rebuild was planned since: plan this one again to list the keys",),
                **_left(options["differences"]),
            )
        by_kind, listed = found
        notes = [f"{count} {_KINDS[kind]}" for kind, count in sorted(by_kind.items())]
        left = sum(by_kind.values())
        if left > len(listed):
            notes.append(f"{left - len(listed)} keys more differ than are listed")
        return ReplaySummary(
            rows=[_row(row, unmasked=unmasked) for row in listed],
            facts=facts,
            notes=notes,
            **_left(by_kind),
        )


def _left(by_kind: Mapping[str, int]) -> dict[str, int]:
    """Return what of the differences the execution repairs, and what a person must look at."""
    repaired = sum(count for kind, count in by_kind.items() if kind in REPAIRED)
    return {"to_execute": repaired, "to_look_at": sum(by_kind.values()) - repaired}


def _run(
    work: Callable[[LedgerRebuild], Awaitable[T]],
    *,
    workers: int = 1,
    **reports: Callable[..., None],
) -> T:
    settings = LedgerSettings()

    return run_on_ledger(
        lambda ledger: work(
            LedgerRebuild(
                ledger=ledger, settings=settings, clock=utc_now, workers=workers, **reports
            )
        ),
        settings,
    )


def _row(one: DifferingRow, *, unmasked: bool) -> tuple[object, ...]:
    # An id or a reference may have a recipient in it.
    masked = frozenset() if unmasked else {"desired_event_id", "desired_origin_ref"}
    fields = {
        name: [
            mask_text(value) if name in masked and isinstance(value, str) else value
            for value in values
        ]
        for name, values in one.fields.items()
    }
    return one.key if unmasked else mask_text(one.key), one.kind, compared(fields)
