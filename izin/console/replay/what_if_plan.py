"""A what-if as a kind of replay: it is shown, and there is nothing to execute."""

from pathlib import Path

from izin.console.replay.kinds import ReplayRequest, ReplaySummary
from izin.console.replay.what_if_output import COUNTS, count_rows, facts_of, next_steps
from izin.replay.errors import NothingToExecuteError
from izin.replay.what_if import run
from izin.runtime.plan import Plan


class WhatIfReplay:
    """Shows the plan of a what-if; ``izin replay what-if`` makes it and judges by it."""

    def dry_run(self, request: ReplayRequest) -> None:
        """Raise NothingToExecuteError: it needs the other settings, which its own command takes."""
        raise NothingToExecuteError(request.path)

    def check(self, plan: Plan, path: Path) -> None:  # noqa: ARG002  # of every kind
        """Raise NothingToExecuteError."""
        raise NothingToExecuteError(path)

    def execute(self, plan: Plan, path: Path, *, by: str) -> None:  # noqa: ARG002  # of every kind
        """Raise NothingToExecuteError."""
        raise NothingToExecuteError(path)

    def summary(self, plan: Plan, path: Path, *, unmasked: bool) -> ReplaySummary:
        """Return what differs, counted; its file has the recipients, whole ones if ``unmasked``."""
        folder, found = run.result_folder(plan, path), run.result(plan, path)
        notes = next_steps(found)
        if folder.left:
            notes.append(f"{folder.left} slices are not judged: run the same what-if again")
        table = folder.write_table(unmasked=unmasked)
        return ReplaySummary(
            columns=COUNTS,
            rows=count_rows(found),
            facts={**facts_of(found), "file": str(table)},
            notes=notes,
            to_look_at=found.sent,
        )
