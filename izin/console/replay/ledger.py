"""``izin replay rebuild ledger``: the rows of the ledger, from its history."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from izin.console.replay.kinds import ReplayRequest, ReplaySummary
from izin.console.terminal.ledger_session import run_on_ledger, topic_messages
from izin.console.terminal.output import say
from izin.console.terminal.progress import showing
from izin.replay.ledger.rebuild import (
    MENDED,
    DifferingRow,
    LedgerRebuild,
)
from izin.runtime.masking import mask_text
from izin.runtime.plan import Plan
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger.db.connection import Ledger

T = TypeVar("T")

_COLUMNS = {
    "key": "key",
    "kind": "kind",
    "field": "field",
    "stands": "stands",
    "follows": "from the history",
}
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


class LedgerReplay:
    """Rebuilds of the rows of ``consents``."""

    def dry_run(self, request: ReplayRequest) -> None:
        """Fold the history and compare; write the plan."""
        with showing("parts of the keys") as shown:
            _run(
                lambda rebuild: rebuild.plan(request.path, request.selection, by=request.by),
                workers=request.workers,
                on_fill=shown,
            )

    def check(self, plan: Plan, path: Path) -> None:  # noqa: ARG002  # of the protocol
        """Raise if the plan cannot be executed now."""
        _run(lambda rebuild: rebuild.check(plan))

    def execute(self, plan: Plan, path: Path, *, by: str) -> None:  # noqa: ARG002  # of the protocol
        """Mend what differs."""
        messages = topic_messages()
        differences = plan.options["differences"]
        total = sum(count for kind, count in differences.items() if kind in MENDED)
        with showing("rows mended") as shown:
            done = _run(
                lambda rebuild: rebuild.execute(plan, messages, by=by),
                on_mend=lambda found: shown(found.rows, total),
            )
        say(f"{done.restored} rows restored, {done.changed} changed, {done.left} left as they are")

    def summary(self, plan: Plan, path: Path, *, unmasked: bool) -> ReplaySummary:  # noqa: ARG002  # of the protocol
        """Return the digests and the keys that differ."""
        options = plan.options
        facts = {
            "digest_from_history": options["shadow"],
            "digest_of_rows_when_planned": options["standing"],
            "keys_in_history": options["shadow_keys"],
            "rows": options["standing_keys"],
        }
        found = _run(lambda rebuild: rebuild.left(plan))
        if found is None:
            return ReplaySummary(
                columns=_COLUMNS,
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
        rows = [cells for one in listed for cells in _cells(one, unmasked=unmasked)]
        return ReplaySummary(
            columns=_COLUMNS, rows=rows, facts=facts, notes=notes, **_left(by_kind)
        )


def _left(by_kind: Mapping[str, int]) -> dict[str, int]:
    """Return what of the differences the execution mends, and what a person must look at."""
    mended = sum(count for kind, count in by_kind.items() if kind in MENDED)
    return {"to_execute": mended, "to_look_at": sum(by_kind.values()) - mended}


def _run(
    work: Callable[[LedgerRebuild], Awaitable[T]],
    *,
    workers: int = 1,
    **reports: Callable[..., None],
) -> T:
    settings = LedgerSettings()

    def rebuild(ledger: Ledger) -> Awaitable[T]:
        return work(
            LedgerRebuild(
                ledger=ledger,
                settings=settings,
                clock=lambda: datetime.now(UTC),
                workers=workers,
                **reports,
            )
        )

    return run_on_ledger(rebuild, settings)


def _cells(one: DifferingRow, *, unmasked: bool) -> list[tuple[object, ...]]:
    key = one.key if unmasked else mask_text(one.key)
    if not one.fields:
        return [(key, one.kind, None, None, None)]
    return [
        (key, one.kind, name, *(_shown(name, value, unmasked) for value in values))
        for name, values in one.fields.items()
    ]


def _shown(name: str, value: object, unmasked: bool) -> object:
    """Return a value; an id or a reference may have a recipient in it."""
    if (
        unmasked
        or not isinstance(value, str)
        or name not in {"desired_event_id", "desired_origin_ref"}
    ):
        return value
    return mask_text(value)
