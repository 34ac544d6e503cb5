"""``izin dead-letters``: records that could not be processed, where they are, why, what became of
them, and how they come back.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from izin.cli.dead_letters.listing import print_letter, print_list
from izin.cli.publish import publish_record
from izin.cli.terminal import (
    ByOption,
    ExecuteOption,
    OutputFormat,
    OutputOption,
    duration,
    end_dry_run,
    exit_if,
    filled,
    group_with,
    instant,
    kafka_settings,
    print_json,
    print_rows,
    say,
    say_dry_run,
    showing,
    showing_steps,
    takes,
    utc_now,
)
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.consent import SourceError, Violation
from izin.kafka.clients import access_of, codec
from izin.kafka.tables.brand_directory import BrandReader
from izin.ledger import dead_letters
from izin.ledger.db import Ledger
from izin.ledger.dead_letters import UNTOUCHED
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.records import read
from izin.producers.publishing.publisher import Published
from izin.replay.dead_letters.correction import Correction
from izin.replay.dead_letters.outcomes import Prediction, RedriveOutcome
from izin.replay.dead_letters.reading import DeadLetterReader, DeadLetterSelection
from izin.replay.dead_letters.redrive import (
    MOST_LETTERS,
    RedrivePreview,
    Redriver,
    RedriveReport,
    RedriveStatement,
)
from izin.runtime.settings import StreamSettings

_LIST = "list"
app = typer.Typer(
    help="List, acknowledge and redrive records that could not be processed. Alone it does `list`.",
    cls=group_with(_LIST),
    invoke_without_command=True,
)

ReasonOption = Annotated[
    str,
    typer.Option(
        help="Why: what was done about them, or why nothing is; the history keeps it.",
        callback=filled,
    ),
]
_NAMED = 5
"""Letters that are named of many."""


def redrive_letters(
    selection: DeadLetterSelection,
    how: RedriveStatement,
    output: OutputFormat,
    *,
    again: bool,
    execute: bool,
) -> None:
    """Redrive the letters of ``selection``, or say what would become of them; ends with an exit
    code.
    """

    async def work(ledger: Ledger) -> RedriveReport:
        redriver = Redriver(
            ledger=ledger,
            settings=settings,
            codec=codec(settings),
            suppressions=StreamSettings().suppressions,
            clock=utc_now,
            progress=begin,
        )
        preview = await redriver.preview(selection, again=again)
        _check(preview)
        return await redriver.execute(preview, how) if execute else RedriveReport(preview=preview)

    with showing_steps() as begin:
        settings = kafka_settings()
        report = run_on_ledger(work)
    _print(report, output, is_done=execute)
    is_late = report.waiting and how.wait
    exit_if(execute and (report.kept or report.unsent or report.preview.obstacles or is_late))


def _check(preview: RedrivePreview) -> None:
    """Check that each letter that is named can be redriven; raises SourceError."""
    named = preview.selection.names
    for obstacle in preview.obstacles:
        if obstacle.letter.name in named:
            why = f"{obstacle.why}; {obstacle.remedy}" if obstacle.remedy else obstacle.why
            raise SourceError(f"dead letter {obstacle.letter.name} cannot be redriven: {why}")
    left = {order.letter.name for order, _ in preview.letters}
    left |= {one.letter.name for one in preview.unsettled}
    if done := sorted(named - left):
        raise SourceError(
            f"dead letter {', '.join(done)} is acknowledged already; --again redrives it all the "
            "same, and izin dead-letters show has what became of it"
        )


def _print(report: RedriveReport, output: OutputFormat, *, is_done: bool) -> None:
    preview, became = report.preview, report.became
    if output is OutputFormat.JSON:
        print_json(_preview_as_json(preview) | (_report_as_json(report) if is_done else {}))
        return
    expected = report.expected if is_done else preview.expected
    rows: list[tuple[object, ...]] = [
        (
            outcome.group,
            outcome,
            expected[outcome],
            became[outcome] if is_done else "",
            outcome.words,
        )
        for outcome in RedriveOutcome
        if became[outcome]
        or (expected[outcome] and (is_done or outcome is not RedriveOutcome.REFUSED))
    ]
    if report.kept or not is_done:
        codes = Counter(" ".join(one.codes) for one in _refused(preview).values())
        note = "left as they are, unless --refused is said"
        rows += [
            (RedriveOutcome.REFUSED.group, code, count, "", note)
            for code, count in codes.most_common()
        ]
    rows += _obstacles(preview)
    if preview.unsettled:
        note = "written by an earlier command; the next one with --execute says what became of them"
        rows.append(("redriven before", "", len(preview.unsettled), "", note))
    if preview.acknowledged:
        note = "left out, unless --again is said"
        rows.append(("acknowledged", "", preview.acknowledged, "", note))
    print_rows(output, ("what", "outcome", "preview", "result", "note"), rows)
    if is_done:
        _say_done(report)
    elif preview.letters or preview.unsettled:
        say_dry_run("nothing was written")
    if preview.is_full:
        say(
            f"more are meant than one run takes ({MOST_LETTERS:,} letters, or 256 MB): run the "
            "same command again for the rest; filter out what stays, or it is met again"
        )


def _say_done(report: RedriveReport) -> None:
    differences = report.differences
    say(
        *(
            f"{difference.letter.name}: expected {difference.expected}, became "
            f"{difference.redrive.result}"
            f"{f' ({difference.redrive.detail})' if difference.redrive.detail else ''}: its key "
            "changed meanwhile, or the order workers read what this machine cannot; see izin "
            "explain"
            for difference in differences[:_NAMED]
        ),
        f"{len(report.results)} dead letters were redriven; {len(differences)} became something "
        "else than the preview said (--output json names them)",
    )
    if report.waiting or report.unsent:
        say(
            f"{len(report.waiting)} wait for the order workers (or, of decisions, the sink), "
            f"{report.unsent} are not written yet; run the same command again: it goes on from here"
        )


def _refused(preview: RedrivePreview) -> dict[str, Prediction]:
    """Return the letters that would be refused again, by name."""
    return {
        order.letter.name: prediction
        for order, prediction in preview.letters
        if prediction.outcome is RedriveOutcome.REFUSED
    }


def _obstacles(preview: RedrivePreview) -> Iterator[tuple[object, ...]]:
    found: dict[str, list[str]] = {}
    for obstacle in preview.obstacles:
        found.setdefault(obstacle.why, []).append(obstacle.letter.name)
    for why, names in found.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield "cannot be redriven", " ".join(names[:_NAMED]) + more, len(names), "", why


def _preview_as_json(preview: RedrivePreview) -> dict[str, Any]:
    refused = _refused(preview).items()
    return {
        "preview": _counts(preview.expected),
        "refused": [{"letter": name, "codes": one.codes} for name, one in refused],
        "obstacles": [
            {"letter": obstacle.letter.name, "why": obstacle.why, "remedy": obstacle.remedy}
            for obstacle in preview.obstacles
        ],
        "acknowledged": preview.acknowledged,
        "unsettled": [one.letter.name for one in preview.unsettled],
        "more": preview.is_full,
    }


def _report_as_json(report: RedriveReport) -> dict[str, Any]:
    return {
        "result": _counts(report.became),
        "expected": _counts(report.expected),
        "differences": [
            {
                "letter": difference.letter.name,
                "expected": difference.expected,
                "became": difference.redrive.result,
                "detail": difference.redrive.detail,
            }
            for difference in report.differences
        ],
        "waiting": [one.letter.name for one in report.waiting],
        "unsent": report.unsent,
        "left": report.kept,
    }


def _counts(outcomes: Counter[RedriveOutcome]) -> dict[str, int]:
    return {outcome: outcomes[outcome] for outcome in RedriveOutcome if outcomes[outcome]}


def filters(
    *,
    because: Annotated[
        list[str] | None,
        typer.Option(
            help="Only those with this reason (undecodable, unknown-schema, refused, poison, "
            "repartitioned-twice, unreadable-batch, unmapped …) or with a violation of this code "
            "(H162 …); repeat it for others."
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
) -> DeadLetterSelection:
    """Return the selection of letters by these options."""
    return DeadLetterSelection(
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
    owned = {brand.brand_code for brand in known if brand.customer_id in customers}
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
    chosen: DeadLetterSelection,
    every: Annotated[
        bool, typer.Option("--all", help="Every dead letter that nobody has acknowledged.")
    ] = False,
) -> DeadLetterSelection:
    """Return the letters that are meant: those named, or those of the filters, or every one; it is
    wrong usage to say none of it, or two.
    """
    if sum((bool(letters), chosen.is_filtered, every)) != 1:
        raise typer.BadParameter("name the dead letters, or filter them, or say --all")
    return DeadLetterSelection(names=frozenset(letters)) if letters else chosen


@app.command(_LIST)
@takes("chosen", filters)
def list_(
    *,
    chosen: DeadLetterSelection,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only those that nobody has acknowledged.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="At most so many, the newest. Default: 1,000."),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List dead letters: where the record was, why it could not be processed, and what became of
    it: acknowledged, redriven or corrected, by whom and when.
    """
    print_list(chosen, output, waiting=waiting, limit=limit)


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

    The JSON of one --unmasked has its bytes too, in base64. Who looked at one --unmasked is written
    to the history. Exit code 3 if there is no such letter.
    """
    print_letter(letter, output, unmasked=unmasked, by=by)


@app.command()
@takes("letters", meant)
def acknowledge(
    *,
    letters: DeadLetterSelection,
    reason: ReasonOption,
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Acknowledge dead letters, so that izin doctor no longer reports them.

    They stay where they are. Who acknowledged which, and why, is written to the history. Exit code
    3 if a letter that is named does not exist, or is acknowledged already.
    """
    settings = kafka_settings()
    with showing("reading dead letters") as progress:
        keys = [
            one.identity
            for one, _ in DeadLetterReader(settings, codec(settings)).select(
                letters, progress=progress
            )
        ]
    known = run_on_ledger(lambda ledger: dead_letters.statuses(ledger, keys))
    waiting = [key for key in keys if known.get(key, UNTOUCHED).acknowledgement is None]
    if unknown := sorted(letters.names - {one.name for one in waiting}):
        raise SourceError(
            f"no dead letter {', '.join(unknown)} waits to be acknowledged; see: izin dead-letters"
        )
    end_dry_run(f"{len(waiting)} dead letters would be acknowledged by {by}", execute=execute)
    run_on_ledger(
        lambda ledger: dead_letters.acknowledge(
            ledger, waiting, by=by, reason=reason, now=datetime.now(UTC)
        )
    )
    say(f"{len(waiting)} dead letters are acknowledged by {by}")


@app.command()
@takes("letters", meant)
def redrive(
    *,
    letters: DeadLetterSelection,
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
    redrive_letters(
        letters,
        RedriveStatement(by=by, reason=reason, wait=wait, refused_too=refused),
        output,
        again=again,
        execute=execute,
    )


def publish_correction(
    letter: str, given: Mapping[Field, str], rules: DateRules, *, by: str, now: datetime
) -> tuple[Published, tuple[Violation, ...]]:
    """Publish what corrects ``letter``, with the fields ``given`` and else the letter's; note it in
    the history; return where it is, and what would keep İYS from registering it.

    Raises:
        SourceError: there is no such letter, it is corrected already, or what is given cannot be
            published.
        OurError: Kafka or the ledger cannot be reached.
    """
    settings = kafka_settings()
    correction = Correction(*DeadLetterReader(settings, codec(settings)).find(letter))
    identity = correction.letter.identity
    known = run_on_ledger(lambda ledger: dead_letters.statuses(ledger, [identity])).get(
        identity, UNTOUCHED
    )
    if known.corrected_by is not None:
        raise SourceError(
            f"dead letter {letter} is corrected already, by event {known.corrected_by}"
        )
    parsed, origin = correction.dated(read(correction.fields(given), rules), now)
    where, accepted = publish_record(parsed, origin)
    run_on_ledger(
        lambda ledger: dead_letters.correct(
            ledger,
            identity,
            event_id=where.event_id,
            key=str(accepted.key),
            customer_id=accepted.event.customer_id,
            status=accepted.event.status,
            by=by,
            reason="corrected",
            now=now,
        )
    )
    return where, accepted.violations
