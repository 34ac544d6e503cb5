"""``izin scrub``: to which recipients of a file a campaign may be sent, and who opted out since."""

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import Progress as Bars

from izin.cli.sending.may_send import (
    BasisOption,
    CampaignOption,
    ClassOption,
    RetailerOption,
    open_gate,
)
from izin.cli.sending.scrubbing import (
    FileMark,
    OnProgress,
    Scrub,
    ScrubAnswer,
    ScrubQuestion,
    ScrubReceipt,
    ScrubTally,
    ScrubWork,
    added_columns,
    read_receipt,
    receipt_path,
    recheck_rows,
    scrub,
)
from izin.cli.terminal import (
    ColumnOption,
    OneBrandOption,
    OneChannelOption,
    OneRecipientTypeOption,
    OutputFormat,
    OutputOption,
    TableArgument,
    err,
    exit_if,
    exit_on_signals,
    print_rows,
    run_interruptible,
    say,
    utc_now,
    warn,
)
from izin.consent import MessageClass, RecipientType
from izin.consent.may_send import PermissionReason
from izin.producers.files import (
    WORKBOOK,
    ColumnChoices,
    Table,
    open_table,
    recipient_place,
    suffix_of,
)
from izin.runtime.settings import IntakeSettings

_WITHIN = timedelta(seconds=60)
_BATCH = 50_000
"""Recipients of one request, and rows that wait in memory for its answer."""
_PERMITTING = frozenset({PermissionReason.EXEMPT, PermissionReason.REGISTERED})
_REMEDIES = {
    PermissionReason.UNKNOWN: "the brand is not one of the API key's; ask with the right one",
    PermissionReason.STALE: "the gate is behind, or its data of İYS are; scrub again later",
}


RecheckOption = Annotated[
    Path | None,
    typer.Option(
        metavar="RECEIPT",
        exists=True,
        dir_okay=False,
        help="FILE is scrubbed, with this receipt: ask again, and write those who were yes and are "
        "no now.",
    ),
]
OnlyOption = Annotated[
    ScrubAnswer | None,
    typer.Option(help="Write only the rows with this answer: yes, for a list to send to."),
]
LinksOption = Annotated[
    bool,
    typer.Option(
        "--links",
        help="Add the column opt_out: a link by which each that may be sent to opts out.",
    ),
]
RejectLinksOption = Annotated[
    bool,
    typer.Option(
        "--reject-links",
        help="Add the columns reject_link and reject_code: a link of İYS itself by which each that "
        "may be sent to withdraws the consent there, for e-mail alone.",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        help="The file to write. Default: beside FILE, ….scrubbed, with --recheck ….stopped.",
    ),
]


def scrub_file(
    path: TableArgument,
    *,
    brand: OneBrandOption = None,
    channel: OneChannelOption = None,
    campaign: CampaignOption = None,
    recipient_type: OneRecipientTypeOption = None,
    message_class: ClassOption = None,
    basis: BasisOption = None,
    retailer: RetailerOption = None,
    column: ColumnOption = None,
    recheck: RecheckOption = None,
    only: OnlyOption = None,
    links: LinksOption = False,
    reject_links: RejectLinksOption = False,
    out: OutOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Write a file of recipients again, with the columns may_send (yes or no) and reason.

    It needs --brand, --type and --campaign. With --only yes the file is a list to send to. Its
    receipt is beside it, ….receipt.json; both replace those of an earlier scrub. With --recheck the
    receipt says what is asked. Nothing is written where the gate gives no answer, nor where İYS
    gives none to --reject-links, which needs the ledger and the settings of İYS.

    Exit code 0 when the file is written; 1 if it has a no for a row that could not be read, or with
    the reason stale or unknown, with --recheck if anyone is no now; 3 if the file or the question
    cannot be used, 4 if the gate gives no answer or does not take the API key.
    """
    target = _target(path, out, "scrubbed" if recheck is None else "stopped")
    words = (brand, channel, campaign, recipient_type, message_class, basis, retailer, column, only)
    if recheck is not None and (links or reject_links or any(one is not None for one in words)):
        raise typer.BadParameter("the receipt says what is asked: give no other option for that")
    with exit_on_signals():
        if recheck is not None:
            before = read_receipt(recheck)
            done = _write(path, target, before.question, before.columns.recipient, before)
        elif brand is None or channel is None or campaign is None:
            given = {"--brand": brand, "--type": channel, "--campaign": campaign}
            missing = ", ".join(name for name, value in given.items() if value is None)
            raise typer.BadParameter(f"without --recheck it also needs {missing}")
        else:
            question = ScrubQuestion(
                brand_code=brand,
                type=channel,
                recipient_type=recipient_type or RecipientType.BIREYSEL,
                message_class=message_class or MessageClass.COMMERCIAL,
                basis=basis,
                campaign=campaign,
                retailer_code=retailer,
            )
            link = _link_of(question) if links else None
            how = partial(_write, path, target, question, column, reject_links=reject_links)
            done = how(only=only, link=link)
    _print(done, target, output)
    # Where the no says more of the question than of the recipients.
    undecided = sum(done.counts.reasons.get(remedy, 0) for remedy in _REMEDIES)
    exit_if(done.counts.unreadable or undecided if recheck is None else done.counts.written)


def _link_of(question: ScrubQuestion) -> Callable[[str], str]:
    """Return what makes the link of a recipient; raises SettingError where there is no secret."""
    # Imported where it is used: scrubbing alone needs no cryptography.
    from izin.producers.links import LinkKeys, opt_out_link  # noqa: PLC0415  # see above

    settings = IntakeSettings()
    keys = LinkKeys(settings.link_texts)
    return lambda recipient: opt_out_link(
        keys,
        settings.url,
        brand_code=question.brand_code,
        channel=question.type,
        recipient=recipient,
        recipient_type=question.recipient_type,
    )


def _target(path: Path, out: Path | None, word: str) -> Path:
    """Return the file to write: ``out``, else one beside ``path`` with ``word`` in its name."""
    suffix = suffix_of(path)
    if out is None:
        return path.with_name(f"{path.stem}.{word}{suffix}")
    if out.resolve() == path.resolve():
        raise typer.BadParameter("it is the file to read; choose another", param_hint="--out")
    if WORKBOOK in {suffix, out.suffix} and suffix != out.suffix:
        raise typer.BadParameter(
            f"the result has the format of FILE; end it with {suffix}", param_hint="--out"
        )
    return out


def _write(
    path: Path,
    out: Path,
    question: ScrubQuestion,
    column: str | None,
    before: ScrubReceipt | None = None,
    *,
    only: ScrubAnswer | None = None,
    link: Callable[[str], str] | None = None,
    reject_links: bool = False,
) -> ScrubReceipt:
    """Write the file ``out`` and its receipt: the file at ``path`` scrubbed, or what changed in it
    since ``before``.
    """
    choices = ColumnChoices(ignored=() if column is None else (column,))
    table = open_table(path, choices, first_sheet=True)
    source = FileMark(name=path.name, digest=table.file.digest)
    if before is not None and source != before.result:
        say(f"{path.name} is not as it was scrubbed; what is in it now is asked about")
    place = recipient_place(table.headers, question.type, column)
    columns = before.columns if before else added_columns(table.headers, place)
    tally, asked_at = ScrubTally(), utc_now()
    with _progress(table) as progress:
        how = Scrub(
            question=question.asked(before.as_of if before else None),
            column=place,
            columns=columns,
            out=out,
            progress=progress,
            only=only,
            link=link,
        )
        work = recheck_rows if before else scrub
        asked = question if reject_links else None
        run_interruptible(_ask(table, how, tally, work=work, linked=asked))
    receipt = tally.receipt(
        question,
        source=source,
        result=FileMark.of(out),
        columns=columns,
        asked_at=asked_at,
        since=before.id if before else None,
    )
    receipt.write(receipt_path(out))
    return receipt


async def _ask(
    table: Table,
    how: Scrub,
    tally: ScrubTally,
    *,
    work: ScrubWork,
    linked: ScrubQuestion | None = None,
) -> None:
    """Do ``work``; with the reject links of İYS for the question that is ``linked``."""
    async with AsyncExitStack() as stack:
        gate = await stack.enter_async_context(open_gate(_WITHIN, _BATCH))
        if linked is not None:
            # Imported where it is used: scrubbing alone needs neither ledger nor İYS.
            from izin.cli.sending.reject_links import reject_links  # noqa: PLC0415  # see above

            make = await stack.enter_async_context(reject_links(linked))
            how = replace(how, reject_links=make)
        await work(gate, table, how, tally)


@contextmanager
def _progress(table: Table) -> Iterator[OnProgress]:
    """Show how much of ``table`` was read."""
    with Bars(console=err, transient=True) as bars:
        task = bars.add_task(escape(table.file.path.name), total=table.size)
        yield lambda position: bars.update(task, completed=position)


def _print(done: ScrubReceipt, out: Path, output: OutputFormat) -> None:
    known = {"file": out, "receipt": receipt_path(out), **done.model_dump(mode="json")}
    print_rows(output, ("what", "count", "note"), _rows(done, out), as_json=known)
    if output is OutputFormat.TABLE:
        reasons = done.counts.reasons
        warn(*(f"{one}: {remedy}" for one, remedy in _REMEDIES.items() if one in reasons))


def _rows(done: ScrubReceipt, out: Path) -> Iterator[tuple[object, ...]]:
    counts = done.counts
    yield "rows", counts.rows, done.source.name
    yield "may be sent to", counts.may_send, f"campaign {done.question.campaign}"
    for reason, count in counts.reasons.items():
        if reason not in _PERMITTING:
            yield "no", count, reason
    for code, count in counts.reject_codes.items():
        yield "no reject link", count, code
    if done.since is not None:
        yield "stopped", counts.written, "were yes and are no now: take them out"
    yield "file", counts.written, str(out)
    yield "receipt", "", str(receipt_path(out))
