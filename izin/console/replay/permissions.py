"""``izin replay rebuild permissions``: the topic of permissions, from the rows of the ledger."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from izin.console.replay.kinds import ReplayRequest, ReplaySummary
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import kafka_settings, say
from izin.console.terminal.progress import showing
from izin.replay.ledger.permissions import PermissionRebuild
from izin.runtime.kafka import codec
from izin.runtime.masking import mask_text
from izin.runtime.plan import Plan
from izin.sinks.ledger.db.connection import Ledger

T = TypeVar("T")

_COLUMNS = {
    "key": "key",
    "kind": "kind",
    "published": "topic says",
    "may_send": "row says",
    "reason": "reason",
}
_KINDS = {
    "missing": "are not in the topic: the execution publishes their permission",
    "differing": "have another permission: the execution publishes that of their row",
    "surplus": "have no row: the execution publishes tombstones. Where rows are lost, rebuild the "
    "ledger first",
}


class PermissionsReplay:
    """Rebuilds of the topic of permissions."""

    def dry_run(self, request: ReplayRequest) -> None:
        """Compare the topic with the rows; write the plan."""
        _run(lambda rebuild: rebuild.plan(request.path, request.selection, by=request.by))

    def check(self, plan: Plan, path: Path) -> None:  # noqa: ARG002  # of the protocol
        """Raise if the plan cannot be executed now."""
        _run(lambda rebuild: rebuild.check(plan))

    def execute(self, plan: Plan, path: Path, *, by: str) -> None:  # noqa: ARG002  # of the protocol
        """Put the records that differ into the outbox."""
        total = sum(plan.options["differences"].values())
        with showing("records written") as shown:
            written = _run(
                lambda rebuild: rebuild.execute(plan, by=by),
                on_write=lambda count: shown(count, total),
            )
        say(f"{written} records are in the outbox: a sink worker publishes them (izin sink)")

    def summary(self, plan: Plan, path: Path, *, unmasked: bool) -> ReplaySummary:  # noqa: ARG002  # of the protocol
        """Return the digests and the keys that differ."""
        counts, listed = _run(lambda rebuild: rebuild.left(plan))
        rows = [
            (
                one.key if unmasked else mask_text(one.key),
                *(one.kind, one.published, one.may_send, one.reason),
            )
            for one in listed
        ]
        notes = notes_of(counts, len(listed), is_same=plan.options["rows"] == plan.options["topic"])
        facts = {
            "digest_of_rows": plan.options["rows"],
            "digest_of_topic_when_planned": plan.options["topic"],
        }
        return ReplaySummary(
            columns=_COLUMNS, rows=rows, facts=facts, notes=notes, to_execute=sum(counts.values())
        )


def notes_of(counts: Mapping[str, int], listed: int, *, is_same: bool) -> list[str]:
    """Return what to say of so many keys that differ, by kind, of which some are listed, and of the
    digests, which are the same or not.
    """
    left = sum(counts.values())
    notes = [f"{count} {_KINDS[kind]}" for kind, count in sorted(counts.items())]
    if left > listed:
        notes.append(f"{left - listed} keys more differ than are listed")
    if not left and not is_same:
        notes.append(
            "the digests differ by records of the outbox, which a sink worker publishes (izin sink)"
        )
    return notes


def _run(
    work: Callable[[PermissionRebuild], Awaitable[T]],
    on_write: Callable[[int], None] = lambda _: None,
) -> T:
    kafka = kafka_settings()

    def rebuild(ledger: Ledger) -> Awaitable[T]:
        return work(
            PermissionRebuild(
                ledger=ledger,
                kafka=kafka,
                codec=codec(kafka),
                clock=lambda: datetime.now(UTC),
                on_write=on_write,
            )
        )

    return run_on_ledger(rebuild)
