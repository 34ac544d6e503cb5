"""``izin replay``'s rebuild of ``desired-consents``."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path

from pydantic import ValidationError

from izin.console.replay.kinds import ReplayRequest, ReplaySummary
from izin.console.terminal.output import kafka_settings
from izin.console.terminal.progress import showing
from izin.replay.order_state import rebuilding, switch
from izin.replay.order_state.comparison import Change, ChangeKind
from izin.replay.order_state.planning import Installation, options_of
from izin.replay.order_state.rebuilding import PartitionResult, read_changes
from izin.runtime.kafka import codec
from izin.runtime.masking import mask
from izin.runtime.plan import Plan, work_folder
from izin.runtime.settings import LedgerSettings, StreamSettings
from izin.schemas.erasure import SUPPRESSED

_SHOWN = 20
"""Rows of a table; all are in the folder of the work."""
_COLUMNS = {"key": "key", "kind": "it is", "fields": "what differs"}
_NEXT = {
    ChangeKind.UNREADABLE: "unreadable rows stop the order workers: stop them, delete the topic, "
    "create it again (izin doctor --fix --no-running), and plan again, which restores it",
    ChangeKind.NEWER: "newer rows stay: was a row written by hand, or are opt-ins paused "
    "(izin doctor)? izin explain shows what is known of a recipient",
    ChangeKind.SURPLUS: "surplus rows stay: publish the opt-out that should stand, or erase the "
    "recipient (izin privacy erase)",
    ChangeKind.UNJUDGED: "unjudged rows stay: their events are in neither topics nor history",
}


class DesiredConsentsReplay:
    """Rebuilds the order stage's state."""

    def dry_run(self, request: ReplayRequest) -> None:
        """Write the plan, and compare what should stand with what does."""
        with showing("reading") as progress:
            rebuilding.dry_run(
                _installation(),
                request.path,
                request.selection,
                by=request.by,
                workers=request.workers,
                report=progress,
            )

    def check(self, plan: Plan, path: Path) -> None:
        """Raise if the plan cannot be executed now."""
        switch.check(_installation(), plan, path)

    def execute(self, plan: Plan, path: Path, *, by: str) -> None:
        """Write what is missing or differs."""
        ledger = LedgerSettings()
        with showing("partitions written") as progress:
            switch.execute(_installation(), ledger, plan, path, by=by, report=progress)

    def summary(self, plan: Plan, path: Path, *, unmasked: bool) -> ReplaySummary:
        """Return what differs, how often, and the digests of both sides."""
        installation, folder = _installation(), work_folder(path)
        results = switch.results_of(installation, plan, path)
        found = Counter[str]()
        done = Counter[str]()
        for one in results:
            found.update(one.counts)
            written = switch.written_of(folder, one.partition)
            if written is not None:
                done.update(asdict(written) | {"planned": switch.waiting_rows(one)})
        waiting = sum(map(switch.waiting_rows, results)) - done["planned"]
        unread = len(rebuilding.unfinished(installation, plan, path))
        restored = _unrestored(plan, results, folder)
        stays = {kind: found[kind] for kind in _NEXT if found[kind]}
        kept = sum(count for kind, count in stays.items() if kind is not ChangeKind.UNJUDGED)
        return ReplaySummary(
            columns=_COLUMNS,
            rows=_rows(results, folder, unmasked=unmasked),
            facts={
                "keys": sum(one.keys for one in results),
                "events": sum(one.events for one in results),
                "computed": _whole([one.computed for one in results]),
                "standing": _whole([one.standing for one in results]),
                **{kind: found[kind] for kind in ChangeKind},
                "rows_written": done["rows"],
                "opt_outs_written": done["opt_outs"],
                "rows_to_write": waiting,
                "partitions_to_read": unread,
                "partitions_to_restore": restored,
            },
            notes=[*(_NEXT[kind] for kind in stays), *_notes(plan, found, folder)],
            to_execute=waiting + restored,
            to_look_at=kept + unread,
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


def _unrestored(plan: Plan, results: list[PartitionResult], folder: Path) -> int:
    """Return how many partitions of a lost topic are not restored yet."""
    lost, _ = options_of(plan)
    return sum(
        one.partition in lost and switch.written_of(folder, one.partition) is None
        for one in results
    )


def _notes(plan: Plan, found: Counter[str], folder: Path) -> list[str]:
    lost, uncovered = options_of(plan)
    notes = []
    if lost:
        notes.append(
            f"the topic was created again since {len(lost)} partitions were decided: its rows and "
            "positions are restored, and no opt-out is written again"
        )
    if undecided := plan.options["undecided"]:
        notes.append(
            f"order-positions says nothing of {len(undecided)} partitions: none of their events "
            "counts as decided"
        )
    if uncovered:
        notes.append(
            f"of {len(uncovered)} partitions, retention has removed events that no history has: "
            "what they explained cannot be judged"
        )
    if sum(found.values()) > _SHOWN:
        notes.append(f"all {sum(found.values())} rows that differ are in {folder}")
    return notes


def _rows(
    results: list[PartitionResult], folder: Path, *, unmasked: bool
) -> list[tuple[object, ...]]:
    """Return the first rows that differ, without those that the execution has written."""
    changes = chain.from_iterable(_left(folder, one) for one in results if one.counts)
    return [
        (_key(one, unmasked=unmasked), one.kind.value, _fields(one))
        for one in islice(changes, _SHOWN)
    ]


def _left(folder: Path, result: PartitionResult) -> Iterator[Change]:
    is_written = switch.written_of(folder, result.partition) is not None
    changes = read_changes(folder, result)
    return (one for one in changes if one.kind in _NEXT or not is_written)


def _fields(change: Change) -> dict[str, dict[str, object]]:
    return {
        name: {"stands": stands, "should_stand": wanted}
        for name, (stands, wanted) in change.fields.items()
    }


def _key(change: Change, *, unmasked: bool) -> str:
    key = change.key.decode(errors="replace")
    if unmasked or change.key.startswith(SUPPRESSED):
        return key
    head, slash, recipient = key.rpartition("/")
    return f"{head}{slash}{mask(recipient)}"


def _whole(digests: list[str]) -> str:
    """Return the digest of all partitions: of their digests, in the order of their numbers."""
    return sha256("".join(digests).encode()).hexdigest()
