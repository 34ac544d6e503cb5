"""``izin replay what-if``: history by another calendar, or by other terms.

As a kind of replay it is shown, and there is nothing to execute.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from izin.consent.business_days import Calendar
from izin.consent.errors import SourceError
from izin.console.replay.kinds import ReplayRequest, ReplaySummary
from izin.console.replay.selection_options import BrandOption, CustomerOption, selection_of
from izin.console.sending.scrubbing import UnusableReceiptError, find_receipt, receipt_path
from izin.console.terminal.arguments import ByOption, RecipientOption, instant
from izin.console.terminal.exit_codes import exit_if, exit_on_error
from izin.console.terminal.interrupts import exit_on_signals
from izin.console.terminal.ledger_session import Look, run_on_ledger
from izin.console.terminal.output import OutputFormat, OutputOption, print_json, print_rows, say
from izin.console.terminal.progress import showing
from izin.replay.errors import NothingToExecuteError
from izin.replay.what_if import run
from izin.replay.what_if.changes import ChangeKind, Fulfilment
from izin.replay.what_if.lists import GivenList
from izin.replay.what_if.run import (
    ResultFolder,
    WhatIf,
    WhatIfRequest,
    WhatIfResult,
)
from izin.replay.what_if.settings import LawSettings, differing
from izin.runtime.plan import OnProgress, Plan, Selection
from izin.sinks.ledger import brands
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.record.brand import Brand

NONE = "none"
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
    "right settings, izin deadlines recount-terms makes them due again",
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


class BrandInstant(NamedTuple):
    """An instant of a brand, as an option names it."""

    brand_code: int
    at: datetime | None
    """None: it has none."""


class VariedSettings(NamedTuple):
    """What the options vary."""

    closed: Sequence[date] = ()
    opened: Sequence[date] = ()
    activated: Sequence[BrandInstant] = ()
    loading: Sequence[BrandInstant] = ()

    def settings(
        self, known: Sequence[Brand], calendar: Calendar
    ) -> tuple[LawSettings, LawSettings]:
        """Return the settings in force, by the environment and the ledger, and the varied ones, for
        the brands that are ``known``.

        Raises:
            SourceError: a brand is not among them, a day is not one of the further closed days, or
                nothing differs.
            OutsideCalendarError: a day is beyond the calendar.
        """
        before = LawSettings(
            closed_days=calendar.extra_closed_days,
            terms={one.brand_code: one.clock for one in known},
        )
        fixed = sorted({*self.opened} - before.closed_days)
        if fixed:
            raise SourceError(
                f"{fixed[0]} is no day of IZIN_EXTRA_CLOSED_DAYS; weekends and public holidays "
                "are fixed by law. Set the variable to what was in force"
            )
        terms = dict(before.terms)
        for name, given in (("activated_at", self.activated), ("loading_deadline", self.loading)):
            for code, at in given:
                if code not in terms:
                    raise SourceError(
                        f"brand {code} is not registered, or not selected; see: izin brands list"
                    )
                terms[code] = replace(terms[code], **{name: at})
        days = before.closed_days.union(self.closed).difference(self.opened)
        after = LawSettings(closed_days=days, terms=terms)
        if not differing(before, after):
            raise SourceError(
                "nothing differs from the settings in force: vary one, as with --closed-day"
            )
        # Its days are checked here, not in the midst of the work.
        _ = after.calendar
        return before, after


def brand_instant(text: str) -> BrandInstant:
    """Return the brand and the instant of BRAND=INSTANT; anything else is wrong usage."""
    brand, _, at = text.partition("=")
    if not brand.isdecimal() or not at:
        raise typer.BadParameter(f"{text} is not BRAND=INSTANT, as in 100001=2026-05-01T00:00")
    return BrandInstant(int(brand), None if at == NONE else instant(at))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text} is no day; write it as 2026-05-18") from None


ClosedDayOption = Annotated[
    list[date] | None,
    typer.Option(parser=_day, metavar="DAY", help="This day is no business day; repeat it."),
]
OpenDayOption = Annotated[
    list[date] | None,
    typer.Option(
        parser=_day,
        metavar="DAY",
        help="This day of IZIN_EXTRA_CLOSED_DAYS is a business day; repeat it.",
    ),
]
ActivatedOption = Annotated[
    list[BrandInstant] | None,
    typer.Option(
        parser=brand_instant,
        metavar="BRAND=INSTANT",
        help="The brand is active at İYS since then, or not (none); repeat it.",
    ),
]
DeadlineOption = Annotated[
    list[BrandInstant] | None,
    typer.Option(
        parser=brand_instant,
        metavar="BRAND=INSTANT",
        help="The brand's first loading ends then, or has no end (none); repeat it.",
    ),
]
SinceOption = Annotated[
    datetime | None,
    typer.Option(
        parser=instant,
        metavar="INSTANT",
        help="What differs, or was asked, then or later: 2024-01-31T12:00, in Turkish time or "
        "with an offset.",
    ),
]
UntilOption = Annotated[
    datetime | None, typer.Option(parser=instant, metavar="INSTANT", help="The same, before.")
]
PlanOption = Annotated[
    Path,
    typer.Option(
        "--plan",
        metavar="FILE",
        dir_okay=False,
        help="Where the plan is written; a run that was stopped goes on with the same file.",
    ),
]
ListOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--list",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="A file as izin scrub wrote it: who of those concerned was on it. Repeat it.",
    ),
]
UnmaskedOption = Annotated[
    bool,
    typer.Option("--unmasked", help="Write whole recipients to the file: personal data."),
]


def what_if(
    *,
    plan: PlanOption,
    closed_day: ClosedDayOption = None,
    open_day: OpenDayOption = None,
    activated_at: ActivatedOption = None,
    loading_deadline: DeadlineOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    recipient: RecipientOption = None,
    brand: BrandOption = None,
    customer: CustomerOption = None,
    list_: ListOption = None,
    unmasked: UnmaskedOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Say what would differ by another calendar, or by other terms.

    The settings in force are those of the environment (IZIN_EXTRA_CLOSED_DAYS) and of
    the brands; options vary them. The history says which terms, consents and answers differ, and
    who was sent to by a receipt though the right answer is no. How fresh İYS's data must be cannot
    be varied: the history does not say when it was pulled. Only the plan and the folder of its work
    are written.

    Exit code 1 if somebody was sent to by a wrong answer, 3 if the options or a list cannot be
    used, 130 if it was stopped: the same command goes on.
    """
    varied = VariedSettings(
        closed_day or (), open_day or (), activated_at or (), loading_deadline or ()
    )
    with exit_on_signals(), exit_on_error():
        chosen = selection_of(
            since=since,
            until=until,
            recipients=recipient,
            brands=brand,
            customers=customer,
        )
        lists = tuple(map(_list, list_ or ()))
        with showing("slices") as progress:
            made, words = run_on_ledger(
                lambda ledger: _run(ledger, varied, chosen, lists, plan, progress, by),
                look=Look(command="replay what-if", by=by) if unmasked else None,
            )
        found = WhatIfReplay().summary(made, plan, unmasked=unmasked)
    _print(found, words, output)
    exit_if(found.to_look_at)


async def _run(  # noqa: PLR0917  # what is asked, and where it is kept
    ledger: Ledger,
    varied: VariedSettings,
    chosen: Selection,
    lists: tuple[GivenList, ...],
    path: Path,
    progress: OnProgress,
    by: str,
) -> tuple[Plan, list[str]]:
    """Plan the what-if and judge by it; return the plan, and in words what differs."""
    known = [one for one in await brands.every(ledger) if _concerns(chosen, one)]
    before, after = varied.settings(known, ledger.calendar)
    request = WhatIfRequest(
        selection=chosen,
        before=before,
        after=after,
        customers={one.brand_code: one.customer_id for one in known},
        lists=lists,
        by=by,
        now=datetime.now(UTC),
    )
    made = await run.plan(ledger, request, path)
    await WhatIf(ledger=ledger, plan=made, path=path, lists=lists).run(progress)
    return made, differing(before, after)


def _concerns(chosen: Selection, brand: Brand) -> bool:
    """Whether a brand may be in the plan: of others it has nothing."""
    return (not chosen.brands or brand.brand_code in chosen.brands) and (
        not chosen.customers or brand.customer_id in chosen.customers
    )


def _list(path: Path) -> GivenList:
    """Return a list with the receipts that izin scrub noted beside it."""
    beside = receipt_path(path)
    if not beside.is_file():
        raise UnusableReceiptError(
            f"{path.name} has no {beside.name} beside it: name it where izin scrub wrote both"
        )
    noted = find_receipt(str(beside), path)
    return GivenList(
        path=path,
        receipts=tuple(one.receipt for one in noted.batches),
        recipient=noted.columns.recipient,
        reason=noted.columns.reason,
    )


def _print(found: ReplaySummary, words: Sequence[str], output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        counts = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
        given = {"by_other_settings": words, **found.facts, "counts": counts}
        print_json({**given, "next_steps": found.notes})
        return
    print_rows(output, found.columns, found.rows)
    for name, value in {"by_other_settings": ", ".join(words), **found.facts}.items():
        say(f"{name.replace('_', ' ')}: {value}")
    for step in found.notes:
        say(step)


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
