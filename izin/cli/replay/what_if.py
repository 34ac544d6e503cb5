"""``izin replay what-if``: history by another calendar."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer

from izin.cli.sending.scrubbing import read_receipt, receipt_path
from izin.cli.terminal import (
    BrandsOption,
    ByOption,
    OutputFormat,
    OutputOption,
    RecipientOption,
    SinceOption,
    UnmaskedOption,
    UntilOption,
    day_of,
    exit_if,
    exit_on_signals,
    is_key,
    named,
    named_recipients,
    print_rows,
    private_csv,
    showing,
)
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.consent import Calendar, SourceError
from izin.ledger import brands
from izin.ledger.db import Ledger
from izin.ledger.record import Brand
from izin.replay.what_if.changes import (
    AnswerChange,
    AnswerChangeKind,
    Fulfilment,
    LawSettings,
    Period,
    differing,
)
from izin.replay.what_if.key_history import GivenList
from izin.replay.what_if.run import WhatIf, WhatIfResult
from izin.runtime.masking import mask
from izin.runtime.plan import Selection
from izin.views.cut import Look

CHANGES = (
    *("brand", "type", "recipient_type", "recipient"),
    *("change", "from", "to", "since", "until", "about"),
)
"""The columns of the file."""
_COLUMNS = ("brand", "change", "from", "to", "recipients")
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


def settings_of(
    known: Sequence[Brand], calendar: Calendar, *, closed: Iterable[date], opened: Iterable[date]
) -> tuple[LawSettings, LawSettings]:
    """Return the settings in force, by the environment and the ledger, for the brands that are
    ``known``, and the varied ones.

    Raises:
        SourceError: a day is not one of the further closed days, or nothing differs.
        OutsideCalendarError: a day is beyond the calendar.
    """
    before = LawSettings(
        closed_days=calendar.extra_closed_days,
        terms={brand.brand_code: brand.clock for brand in known},
    )
    if fixed := sorted({*opened} - before.closed_days):
        raise SourceError(
            f"{fixed[0]} is no day of IZIN_EXTRA_CLOSED_DAYS; weekends and public holidays are "
            "fixed by law. Set the variable to what was in force"
        )
    after = replace(before, closed_days=before.closed_days.union(closed).difference(opened))
    if not differing(before, after):
        raise SourceError(
            "nothing differs from the settings in force: vary one, as with --closed-day"
        )
    # Its days are checked here, not in the midst of the work.
    _ = after.calendar
    return before, after


def selection_of(
    *,
    recipients: Iterable[str] | None,
    brands: Iterable[int] | None,
) -> Selection:
    """Return the selection of these options.

    Raises:
        SourceError: a recipient is neither a phone number nor an e-mail address nor a key.
    """
    named = list(named_recipients(recipients or ()))
    return Selection(
        keys=frozenset(one for one in named if is_key(one)),
        recipients=frozenset(one for one in named if not is_key(one)),
        brands=frozenset(brands or ()),
    )


CustomerOption = Annotated[
    list[str] | None, typer.Option("--customer", help="Of this customer; repeat it.")
]
ClosedDayOption = Annotated[
    list[date] | None,
    typer.Option(parser=day_of, metavar="DAY", help="This day is no business day; repeat it."),
]
OpenDayOption = Annotated[
    list[date] | None,
    typer.Option(
        parser=day_of,
        metavar="DAY",
        help="This day of IZIN_EXTRA_CLOSED_DAYS is a business day; repeat it.",
    ),
]
OutOption = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="FILE",
        dir_okay=False,
        help="The file that names who is concerned, as CSV; an earlier one is replaced.",
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


def what_if(
    *,
    out: OutOption,
    closed_day: ClosedDayOption = None,
    open_day: OpenDayOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    recipient: RecipientOption = None,
    brand: BrandsOption = None,
    customer: CustomerOption = None,
    list_: ListOption = None,
    unmasked: UnmaskedOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Say what would differ by another calendar.

    The closed days in force are those of the environment (IZIN_EXTRA_CLOSED_DAYS); options vary
    them. The history says which consents and answers differ, and who was sent to by a receipt
    though the right answer is no. Nothing but the file is written, which only its owner may read.

    Exit code 1 if somebody was sent to by a wrong answer, 3 if the options or a list cannot be
    used, 130 if it was stopped.
    """
    with exit_on_signals():
        if since is not None and until is not None and since >= until:
            raise SourceError("--since must be before --until")
        chosen = selection_of(recipients=recipient, brands=brand)
        lists = tuple(map(_list, list_ or ()))

        async def judge(ledger: Ledger) -> tuple[WhatIfResult, list[str]]:
            known = await _known(ledger, brand or (), customer or ())
            codes = frozenset(one.brand_code for one in known)
            before, after = settings_of(
                known, ledger.calendar, closed=closed_day or (), opened=open_day or ()
            )
            asked = WhatIf(
                ledger=ledger,
                selection=replace(chosen, brands=codes) if customer else chosen,
                period=Period(since, until),
                before=before,
                after=after,
                customers={one.brand_code: one.customer_id for one in known},
                lists=lists,
                now=datetime.now(UTC),
            )

            def write(key: str, change: AnswerChange) -> None:
                *whose, to = key.split("/", 3)
                rows.writerow([*whose, to if unmasked else mask(to), *astuple(change)])

            return await asked.run(write, progress), differing(before, after)

        with showing("slices") as progress, private_csv(out, CHANGES) as rows:
            look = Look(command="replay what-if", by=by) if unmasked else None
            result, words = run_on_ledger(judge, look=look)
    _print(result, out, words, output)
    exit_if(result.sent)


async def _known(
    ledger: Ledger, codes: Collection[int], customers: Collection[str]
) -> Sequence[Brand]:
    """Return the registered brands among ``codes`` and of ``customers``; either may be empty.

    Raises:
        SourceError: customers are named, and have none of them.
    """
    # A brand that has moved is its present customer's, whatever its history says.
    known = [
        brand
        for brand in await brands.every(ledger)
        if (not codes or brand.brand_code in codes)
        and (not customers or brand.customer_id in customers)
    ]
    if customers and not known:
        raise SourceError(f"{', '.join(customers)} has no such brand")
    return known


def _list(path: Path) -> GivenList:
    """Return a list with the receipts that izin scrub noted beside it."""
    beside = receipt_path(path)
    if not beside.is_file():
        raise SourceError(
            f"{path.name} has no {beside.name} beside it: name it where izin scrub wrote both"
        )
    noted = read_receipt(beside)
    return GivenList(
        path=path,
        receipts=tuple(batch.receipt for batch in noted.batches),
        recipient=noted.columns.recipient,
        reason=noted.columns.reason,
    )


def _print(found: WhatIfResult, file: Path, words: Sequence[str], output: OutputFormat) -> None:
    facts = {
        "recipients": found.keys,
        "erased": found.erased,
        "unreadable_facts": found.unreadable,
        "sent_by_wrong_answers": found.sent,
        "withheld_by_wrong_answers": found.withheld,
        "file": str(file),
    }
    steps = next_steps(found)
    shown = {"by_other_settings": ", ".join(words), **facts}
    print_rows(
        output,
        _COLUMNS,
        found.counts,
        as_json={
            "by_other_settings": words,
            **facts,
            "counts": named(_COLUMNS, found.counts),
            "next_steps": steps,
        },
        notes=(*(f"{name.replace('_', ' ')}: {value}" for name, value in shown.items()), *steps),
    )


def next_steps(found: WhatIfResult) -> list[str]:
    """Return what to do about a result."""
    reached = {count.after for count in found.counts if count.kind == AnswerChangeKind.OBLIGATION}
    steps = [step for state, step in _STEPS.items() if state in reached]
    if found.sent:
        steps.insert(
            0,
            (
                "messages were permitted that the right settings forbid: stop the campaigns, and "
                "let counsel know which recipients"
            ),
        )
    if found.erased:
        steps.append("of those who were erased nothing is left: who they were is not known")
    return steps
