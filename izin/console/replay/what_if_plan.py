"""A what-if as a kind of replay: it is shown, and there is nothing to execute."""

from pathlib import Path

from izin.console.replay.kinds import ReplayRequest, ReplaySummary
from izin.replay.errors import NothingToExecuteError
from izin.replay.plan import Plan
from izin.replay.what_if.changes import ChangeKind, Fulfilment
from izin.replay.what_if.results import ResultFolder, WhatIfResult

COUNTS = {
    "brand": "brand",
    "change": "change",
    "from": "from",
    "to": "to",
    "recipients": "recipients",
}
_STEPS = {
    f"ONAY {Fulfilment.TOO_LATE}": "İYS holds consents that are void (Yönetmelik m.7/12), and "
    "keeps them: publish an opt-out of today for each (RET, HS_KARAR), which stops messages at "
    "once, then ask the recipient again; beside the void one a new consent is not registered",
    f"ONAY {Fulfilment.OPEN}": "consents had expired too early: once every sink worker has the "
    "right settings, izin deadlines rule-again makes them due again",
    f"ONAY {Fulfilment.EXPIRED}": "the term of consents has ended: ask these recipients again",
    f"RET {Fulfilment.BREACH}": "opt-outs were reported too late: that stands, and counsel should "
    "know",
    f"RET {Fulfilment.OVERDUE}": "opt-outs are overdue: izin deadlines opt-outs BRAND writes what "
    "a person withdraws on İYS's own pages",
}
_SENT = (
    "messages were permitted that the right settings forbid: stop the campaigns, and let counsel "
    "know which recipients"
)


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
        folder = ResultFolder(plan, path)
        found, notes = folder.result(), []
        if folder.left:
            notes.append(f"{folder.left} slices are not judged: run the same what-if again")
        return ReplaySummary(
            columns=COUNTS,
            rows=found.counts,
            facts={
                "recipients": found.keys,
                "erased": found.erased,
                "unreadable_facts": found.unreadable,
                "sent_by_wrong_answers": found.sent,
                "withheld_by_wrong_answers": found.withheld,
                "file": str(folder.write_table(unmasked=unmasked)),
            },
            notes=next_steps(found) + notes,
            to_look_at=found.sent,
        )


def next_steps(found: WhatIfResult) -> list[str]:
    """Return what to do about a result."""
    reached = {one.after for one in found.counts if one.kind == ChangeKind.OBLIGATION}
    steps = [step for state, step in _STEPS.items() if state in reached]
    if found.sent:
        steps.insert(0, _SENT)
    if found.erased:
        steps.append("of those who were erased nothing is left: who they were is not known")
    return steps
