"""``izin subscribers compare``: our opt-outs beside the suppression list of another tool."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from izin.cli.terminal import (
    BrandOption,
    ByOption,
    ChannelOption,
    ColumnOption,
    OutputFormat,
    OutputOption,
    RecipientTypeOption,
    TableArgument,
    UnmaskedOption,
    VisibleRows,
    exit_if,
    exit_on_signals,
    named,
    print_rows,
    private_csv,
)
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.consent import Channel, RecipientType, Source, Status, Violation, read_recipient
from izin.ledger.db import Ledger
from izin.producers.files import ColumnChoices, Table, cell_text, open_table, recipient_place
from izin.reconcile.suppression_list import (
    ListDifference,
    ListScope,
    comparing_list,
)
from izin.runtime.masking import mask
from izin.views.cut import Look

_MOST = 100
"""So many recipients of each side are listed."""
_EVENTS = ("recipient", "type", "recipientType", "brandCode", "status", "source", "consentDate")
_COLUMNS = {"recipient": "recipient", "side": "opted out", "ledger": "ledger", "next": "do"}
_HERE = "here, not in the list"
_THERE = "in the list, not here"
_NEXT = {
    _HERE: "dangerous: have the tool import the file of --for-tool",
    _THERE: "ask where it comes from; if it is an opt-out: --for-import, then izin import",
}


SourceOption = Annotated[
    Source | None,
    typer.Option(case_sensitive=False, help="Where those opted out: a source of İYS, as HS_MESAJ."),
]


def compare(
    path: TableArgument,
    *,
    brand: BrandOption,
    channel: ChannelOption,
    recipient_type: RecipientTypeOption = RecipientType.BIREYSEL,
    column: ColumnOption = None,
    add: Annotated[
        Path | None,
        typer.Option(
            "--for-tool",
            metavar="FILE",
            dir_okay=False,
            help="Write whom the list lacks, for the tool to import; only its owner may read it.",
        ),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(
            "--for-import",
            metavar="FILE",
            dir_okay=False,
            help="Write whom only the list has as opt-outs (RET), for izin import. It needs "
            "--source: you say that they opted out, and where.",
        ),
    ] = None,
    source: SourceOption = None,
    unmasked: UnmaskedOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Compare our opt-outs (RET) with FILE, a suppression list that another tool exports.

    Nothing is published and nothing is changed; who compared is written to the history. Whoever
    opted out here and is not in the list comes first: the tool may still send to them. Exit code 0
    if both agree, 1 if not or if rows of the file cannot be read, 3 if the file cannot be used.
    """
    if (events is None) != (source is None):
        raise typer.BadParameter(
            "--for-import and --source need each other", param_hint="--for-import"
        )
    if path.resolve() in {one.resolve() for one in (add, events) if one is not None}:
        raise typer.BadParameter("it is the file to read; choose another", param_hint="FILE")
    scope = ListScope(brand, str(channel), str(recipient_type))
    with exit_on_signals(), ExitStack() as files:
        table = open_table(path, ColumnChoices(ignored=() if column is None else (column,)))
        rows = _ListRows(table, channel, column)
        writers = {
            side: files.enter_context(private_csv(file, header))
            for side, file, header in ((_HERE, add, (rows.header,)), (_THERE, events, _EVENTS))
            if file is not None
        }
        event = (channel, recipient_type, brand, Status.RET, source, "")
        result = _Result(writers=writers, more={_HERE: (), _THERE: event})
        found = run_on_ledger(
            lambda ledger: _compare(ledger, scope, rows, result),
            look=Look(command="subscribers compare", by=by, brand=brand),
        )
    _print(found | {"unreadable": rows.unreadable}, result, output, unmasked=unmasked)
    exit_if(result.counts or rows.unreadable)


class _ListRows:
    """The recipients of a file."""

    def __init__(self, table: Table, channel: Channel, column: str | None) -> None:
        self._table = table
        self._channel = channel
        self._place = recipient_place(table.headers, channel, column)
        self.header = table.headers[self._place]
        self.listed = 0
        self.unreadable: list[int] = []
        """The lines of rows that are no recipient of the channel."""

    def __iter__(self) -> Iterator[str]:
        for row in self._table.rows():
            text = "" if row.fault or self._place >= len(row.fields) else row.fields[self._place]
            found = read_recipient(cell_text(text), self._channel)
            if row.fault or isinstance(found, Violation):
                self.unreadable.append(row.line)
            else:
                self.listed += 1
                yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """Counts the differences, keeps the first of each side, and writes the files."""

    writers: Mapping[str, VisibleRows]
    """By side."""
    more: Mapping[str, tuple[object, ...]]
    """By side: what is written behind the recipient."""
    counts: Counter[str] = field(default_factory=Counter)
    first: list[ListDifference] = field(default_factory=list)

    def add(self, one: ListDifference) -> None:
        """Take a difference."""
        side = side_of(one)
        self.counts[side] += 1
        if self.counts[side] <= _MOST:
            self.first.append(one)
        if side in self.writers:
            self.writers[side].writerow((one.recipient, *self.more[side]))


def side_of(one: ListDifference) -> str:
    """Return on which side a recipient opted out, in words."""
    return _HERE if one.is_here else _THERE


async def _compare(
    ledger: Ledger, scope: ListScope, rows: _ListRows, result: _Result
) -> dict[str, Any]:
    async with comparing_list(ledger, scope, rows) as comparison:
        async for difference in comparison.differences():
            result.add(difference)
        return {
            "opted_out_here": comparison.here,
            "in_both": comparison.both,
            "listed": rows.listed,
        }


def _print(found: dict[str, Any], result: _Result, output: OutputFormat, *, unmasked: bool) -> None:
    rows = [
        (
            difference.recipient if unmasked else mask(difference.recipient),
            side_of(difference),
            difference.desired_status or difference.registered or "nothing",
            _NEXT[side_of(difference)],
        )
        for difference in result.first
    ]
    counts = {"missing_there": result.counts[_HERE], "missing_here": result.counts[_THERE]}
    lines = ", ".join(map(str, found["unreadable"][:10]))
    notes = [
        *(f"{count} {side}" for side, count in result.counts.items()),
        (
            f"{found['opted_out_here']} opted out here, {found['listed']} rows of the list, "
            f"{found['in_both']} in both"
        ),
        *([f"{len(found['unreadable'])} rows are no recipients: lines {lines}"] if lines else []),
    ]
    known = {**found, **counts, "differences": named(_COLUMNS, rows)}
    print_rows(output, _COLUMNS, rows, as_json=known, notes=notes)
