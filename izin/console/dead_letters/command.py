"""``izin dead-letters``: records that could not be processed, where they are, why, what became of
them, and how they come back.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from izin.consent.errors import SourceError
from izin.console.dead_letters.listing import print_letter, print_list
from izin.console.dead_letters.redriving import redrive_letters
from izin.console.terminal.arguments import (
    ByIfKnownOption,
    ByOption,
    ExecuteOption,
    duration,
    filled,
    instant,
    takes,
)
from izin.console.terminal.exit_codes import exit_on_error, say_dry_run
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import OutputFormat, OutputOption, kafka_settings, say
from izin.console.terminal.progress import showing
from izin.projections.brand_directory import BrandReader
from izin.replay.letters.letter import LetterReader, LetterSelection
from izin.replay.letters.redrive import RedriveStatement
from izin.runtime.kafka import access_of, codec
from izin.sinks.ledger import dead_letters
from izin.sinks.ledger.dead_letters import UNTOUCHED

app = typer.Typer()

ReasonOption = Annotated[
    str,
    typer.Option(
        help="Why: what was done about them, or why nothing is; the history keeps it.",
        callback=filled,
    ),
]


def filters(
    *,
    because: Annotated[
        list[str] | None,
        typer.Option(
            help="Only those with this reason (undecodable, unknown-schema, refused, poison …) or "
            "with a violation of this code (H162 …); repeat it for others."
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--of-topic", help="Only records of this topic; repeat it for others."),
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option(help="Only events of this origin, such as crm; repeat it.")
    ] = None,
    customer: Annotated[
        list[str] | None,
        typer.Option(help="Only events of this customer's brands of today; repeat it."),
    ] = None,
    brand: Annotated[
        list[int] | None, typer.Option(min=1, help="Only events of this brand; repeat it.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=instant,
            metavar="INSTANT",
            help="Only records that were published then or later: 2024-01-31T12:00, in Turkish "
            "time or with an offset.",
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(parser=instant, metavar="INSTANT", help="Only records published before then."),
    ] = None,
) -> LetterSelection:
    """Return the selection of letters by these options."""
    return LetterSelection(
        because=frozenset(because or ()),
        sources=frozenset(source or ()),
        origins=frozenset(origin or ()),
        brands=_brands(customer or (), frozenset(brand or ())),
        since=since,
        until=until,
    )


def _brands(customers: Collection[str], brands: frozenset[int]) -> frozenset[int]:
    """Return those of ``brands``, or all, that are the customers', whatever events say of theirs.

    Raises:
        typer.BadParameter: there is none.
        BrokerError: the topic of brands cannot be read.
    """
    if not customers:
        return brands
    access = access_of(kafka_settings())
    known = BrandReader(access, access.codec()).load()
    owned = {one.brand_code for one in known if one.customer_id in customers}
    if found := frozenset(owned & brands if brands else owned):
        return found
    raise typer.BadParameter(f"{', '.join(sorted(customers))} has no such brand")


@takes("chosen", filters)
def meant(
    letters: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LETTER", help="Which, as izin dead-letters names them: partition/offset."
        ),
    ] = None,
    *,
    chosen: LetterSelection,
    every: Annotated[
        bool, typer.Option("--all", help="Every dead letter that nobody has acknowledged.")
    ] = False,
) -> LetterSelection:
    """Return the letters that are meant: those named, or those of the filters, or every one; it is
    wrong usage to say none of it, or two.
    """
    if sum((bool(letters), chosen.is_filtered, every)) != 1:
        raise typer.BadParameter("name the dead letters, or filter them, or say --all")
    return LetterSelection(names=frozenset(letters)) if letters else chosen


@app.callback(
    invoke_without_command=True,
    help="List, acknowledge and redrive records that could not be processed. Alone it does `list`.",
)
def list_by_default(
    context: typer.Context, *, by: ByIfKnownOption, output: OutputOption = OutputFormat.TABLE
) -> None:
    """Run ``list`` where no subcommand is given."""
    command = context.invoked_subcommand
    if command is None:
        with exit_on_error():
            print_list(LetterSelection(), output, waiting=False, limit=None, by=by)
    elif output is not OutputFormat.TABLE:
        raise typer.BadParameter(
            f"write it after the command: izin dead-letters {command} --output"
        )


@app.command("list")
@takes("chosen", filters)
def list_(
    *,
    chosen: LetterSelection,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only those that nobody has acknowledged.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="At most so many, the newest. Default: 1,000 in a table."),
    ] = None,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List dead letters: where the record was, why it could not be processed, and what became of
    it: acknowledged, redriven or corrected, by whom and when.

    The JSON also has the original bytes in base64; they are personal data, and who
    looked is written to the history.
    """
    with exit_on_error():
        print_list(chosen, output, waiting=waiting, limit=limit, by=by)


@app.command()
def show(
    letter: Annotated[
        str,
        typer.Argument(metavar="LETTER", help="As izin dead-letters names it: partition/offset."),
    ],
    *,
    unmasked: Annotated[
        bool, typer.Option("--unmasked", help="Show recipient and evidence: personal data.")
    ] = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print everything that can be read of a dead letter: what is wrong with it in English and
    Turkish, its event, where it was, its headers, and what became of it.

    Who looked at one --unmasked is written to the history. Exit code 3 if there is no such letter.
    """
    with exit_on_error():
        print_letter(letter, output, unmasked=unmasked, by=by)


@app.command()
@takes("letters", meant)
def acknowledge(
    *,
    letters: LetterSelection,
    reason: ReasonOption,
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Acknowledge dead letters, so that izin doctor no longer reports them.

    They stay where they are. Who acknowledged which, and why, is written to the history. Exit code
    3 if a letter that is named does not exist, or is acknowledged already.
    """
    with exit_on_error():
        settings = kafka_settings()
        with showing("reading dead letters") as progress:
            reader = LetterReader(settings, codec(settings))
            keys = [one.place for one, _ in reader.select(letters, progress=progress)]
        known = run_on_ledger(lambda ledger: dead_letters.statuses(ledger, keys))
        waiting = [one for one in keys if known.get(one, UNTOUCHED).acknowledgement is None]
        if unknown := sorted(letters.names - {one.name for one in waiting}):
            raise SourceError(
                f"no dead letter {', '.join(unknown)} waits to be acknowledged; see: izin "
                "dead-letters"
            )
        if not execute:
            say_dry_run(f"{len(waiting)} dead letters would be acknowledged by {by}")
            return
        now = datetime.now(UTC)
        run_on_ledger(
            lambda ledger: dead_letters.acknowledge(ledger, waiting, by=by, reason=reason, now=now)
        )
        say(f"{len(waiting)} dead letters are acknowledged by {by}")


@app.command()
@takes("letters", meant)
def redrive(
    *,
    letters: LetterSelection,
    reason: ReasonOption,
    again: Annotated[
        bool, typer.Option("--again", help="Also letters that were acknowledged, or redriven.")
    ] = False,
    refused: Annotated[
        bool,
        typer.Option(
            "--refused",
            help="Also letters that would be refused again here: the order workers may have a "
            "newer release, a schema or a secret that this machine lacks.",
        ),
    ] = False,
    wait: Annotated[
        timedelta,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            show_default="PT10M",
            help="How long it waits for the order workers, as PT10M; PT0S: not at all.",
        ),
    ] = timedelta(minutes=10),
    by: ByOption,
    execute: ExecuteOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Write dead letters into the input topics again, as they were, where their cause is gone.

    Without --execute the law is run over the present state, and the command says how many would
    land, be superseded by something newer, or still be refused. Each has its old instant, so none
    wins over anything newer. With --execute the command also waits until they are decided, and
    compares.
    Redriven letters are acknowledged, with who, why and the result. A command that ended too early
    is run again: it goes on from there.

    Exit code 1 if letters are left as they are or wait to be decided, 3 if a letter that is named
    does not exist, is acknowledged already, or cannot be redriven.
    """
    how = RedriveStatement(by=by, reason=reason, wait=wait, refused_too=refused)
    redrive_letters(letters, how, output, again=again, execute=execute)
