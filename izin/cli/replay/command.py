"""``izin replay``: dry run, execution and progress of plans."""

import multiprocessing
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from izin.cli.replay.rebuilds import (
    COLUMNS,
    DesiredConsentsReplay,
    LedgerReplay,
    ReplaySummary,
)
from izin.cli.replay.what_if import selection_of, what_if
from izin.cli.terminal import (
    BrandsOption,
    ByOption,
    ExecuteOption,
    OutputFormat,
    OutputOption,
    ProcessesOption,
    RecipientOption,
    UnmaskedOption,
    exit_if,
    exit_on_signals,
    named,
    out,
    print_json,
    print_rows,
    say,
    say_dry_run,
)
from izin.cli.terminal.ledger_session import look_beside
from izin.consent import SourceError
from izin.replay.ledger.rebuild import TARGET
from izin.runtime.plan import DESIRED_CONSENTS, REBUILD, Plan
from izin.views.cut import Look

app = typer.Typer(
    help="Play history again without harm: from a plan, dry run first.\n\n"
    "Nothing here calls İYS. A plan is a file beside which the work is kept, so that what was "
    "stopped goes on; both name recipients, and only their owner may read them. Messages are "
    "repeated to named subscribers by izin subscribers resend, and dead letters come back by izin "
    "dead-letters redrive.",
    no_args_is_help=True,
)

app.command("what-if")(what_if)

PlanArgument = Annotated[
    Path,
    typer.Argument(metavar="PLAN", exists=True, dir_okay=False, help="The file of the plan."),
]
PlanOption = Annotated[
    Path,
    typer.Option(
        "--plan",
        metavar="FILE",
        dir_okay=False,
        help="Where the plan is written. A dry run that was stopped goes on with the same file.",
    ),
]


class RebuildTarget(StrEnum):
    """What can be rebuilt."""

    DESIRED_CONSENTS = DESIRED_CONSENTS
    LEDGER = TARGET


_REPLAYS: Mapping[str, type[DesiredConsentsReplay | LedgerReplay]] = {
    RebuildTarget.DESIRED_CONSENTS: DesiredConsentsReplay,
    RebuildTarget.LEDGER: LedgerReplay,
}


def replay_of(path: Path, plan: Plan) -> DesiredConsentsReplay | LedgerReplay:
    """Return what replays ``plan``, which is at ``path``.

    Raises:
        SourceError: there is no such replay; the plan is of another command or release.
    """
    if plan.kind != REBUILD or plan.target not in _REPLAYS:
        raise SourceError(
            f"izin replay has no {plan.kind} of {plan.target}: use the command or release that "
            "planned it"
        )
    return _REPLAYS[plan.target](path)


@app.command()
def rebuild(
    target: Annotated[
        RebuildTarget,
        typer.Argument(
            help="desired-consents: the order stage's state, which is this topic. ledger: its rows "
            "of consents, from its history."
        ),
    ],
    *,
    plan: PlanOption,
    recipient: RecipientOption = None,
    brand: BrandsOption = None,
    processes: ProcessesOption = None,
    from_history: Annotated[
        bool,
        typer.Option(
            "--from-history",
            help="desired-consents, where Kafka was lost: read the ledger's whole history, not "
            "only what the lanes lack.",
        ),
    ] = False,
    unmasked: UnmaskedOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Compute what should stand from history, and say key by key what differs: a dry run.

    Nothing is changed but the plan and the folder of its work; execute it with izin replay run.
    The options choose keys. Exit code 1 if anything differs, 4 if a plan in this file no longer
    holds, 130 if it was stopped: the same command goes on.
    """
    with exit_on_signals():
        chosen = selection_of(recipients=recipient, brands=brand)
        if plan.exists():
            Plan.read(plan, kind=REBUILD, target=target)
        if from_history and target is RebuildTarget.LEDGER:
            raise SourceError("the ledger is rebuilt from its history anyway: leave --from-history")
        replay = (
            DesiredConsentsReplay(plan, from_history) if from_history else _REPLAYS[target](plan)
        )
        replay.dry_run(chosen, processes or multiprocessing.cpu_count(), by=by)
        found = _summary(plan, "replay rebuild", by, unmasked=unmasked)
    _print(Plan.read(plan), found, output)
    if found.to_execute:
        say(f"nothing was changed; to do it: izin replay run {plan} --execute")
    elif not found.left:
        say("nothing differs")
    exit_if(found.left)


@app.command()
def run(
    path: PlanArgument,
    *,
    execute: ExecuteOption = False,
    unmasked: UnmaskedOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Check a plan again, and execute it with --execute.

    It is refused if processes run that it would work against, or if offsets or the law have moved
    since. An execution that was stopped goes on where it was, and what it did is not done twice.
    Who ordered it is written to the history. Exit code 1 if anything is left, 4 if it is refused,
    130 if it was stopped.
    """
    with exit_on_signals():
        plan = Plan.read(path)
        replay = replay_of(path, plan)
        replay.check(plan)
        if execute:
            replay.execute(plan, by=by)
        found = _summary(path, "replay run", by, unmasked=unmasked)
    _print(plan, found, output)
    if found.to_execute and not execute:
        say_dry_run("the plan holds")
    elif not found.left:
        say("nothing is left to do")
    exit_if(found.left)


@app.command()
def show(
    path: PlanArgument,
    *,
    unmasked: UnmaskedOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Show a plan: what it found, what was done, and what is left. Exit code 1 if anything is."""
    plan = Plan.read(path)
    found = _summary(path, "replay show", by, unmasked=unmasked)
    if output is OutputFormat.TABLE:
        out.print(
            f"{f'{plan.kind} {plan.target}'.rstrip()}, planned by {plan.by}, digest {plan.digest}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    _print(plan, found, output)
    exit_if(found.left)


def _summary(path: Path, command: str, by: str, *, unmasked: bool) -> ReplaySummary:
    """Return what there is to say of a plan; an unmasked one is a look at people."""
    if unmasked:
        look_beside(Look(command=command, by=by))
    plan = Plan.read(path)
    return replay_of(path, plan).summary(plan, unmasked=unmasked)


def _text(cell: object) -> object:
    if not isinstance(cell, dict):
        return cell
    return "\n".join(
        f"{name}: {_shown(one['stands'])}, should be {_shown(one['should_stand'])}"
        for name, one in cell.items()
    )


def _shown(value: object) -> str:
    return "none" if value is None else str(value)


def _print(plan: Plan, found: ReplaySummary, output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        about = {"plan": plan.digest, "kind": plan.kind, "target": plan.target}
        print_json({**about, **found.facts, "rows": named(COLUMNS, found.rows), "left": found.left})
        return
    if found.rows:
        print_rows(output, COLUMNS, [[_text(cell) for cell in row] for row in found.rows])
    for name, value in found.facts.items():
        if value != 0:
            text = f"{name.replace('_', ' ')}: {value}"
            out.print(text, soft_wrap=True, highlight=False, markup=False)
    say(*found.notes)
