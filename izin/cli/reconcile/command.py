"""``izin reconcile``: compare İYS, the ledger and the topics for a brand, and repair by a plan."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from izin.cli.terminal import (
    BrandIfAnyOption,
    ByOption,
    ExecuteOption,
    OneChannelOption,
    OutputFormat,
    OutputOption,
    SinceOption,
    UnmaskedOption,
    UntilOption,
    VisibleRows,
    exit_if,
    exit_on_signals,
    kafka_settings,
    out,
    print_rows,
    private_csv,
    say,
    showing,
    turkish,
    utc_now,
    warn,
)
from izin.cli.terminal.iys_session import calling_iys
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.consent import visible
from izin.kafka.clients import codec
from izin.ledger.brands import registered_brand
from izin.ledger.db import Ledger
from izin.reconcile.comparing import (
    Asker,
    Comparer,
    Comparison,
    Difference,
    ReconcileScope,
)
from izin.reconcile.remedies import WORDS, Repair
from izin.reconcile.repairs import KIND, Executed, RepairExecution, RepairFile, plan_of
from izin.runtime.masking import mask_text
from izin.runtime.plan import Plan
from izin.runtime.settings import IysSettings, StreamSettings
from izin.sinks.inbound.sweep import PageQuery
from izin.sinks.outbound.context import RequestBudget
from izin.views.cut import Look

AskOption = Annotated[
    bool,
    typer.Option(
        "--ask",
        help="Ask İYS about every key, a thousand a call, in the slots that other calls leave. "
        "Without it, İYS is what the ledger has seen of it.",
    ),
]
PlanOption = Annotated[
    Path | None,
    typer.Option(
        "--plan",
        metavar="FILE",
        dir_okay=False,
        help="Where the repairs are written, or with --execute the plan that is executed. It "
        "names recipients: delete it and its folder afterwards.",
    ),
]
CsvOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        dir_okay=False,
        help="Write all differences with recipients in full; only its owner may read the file.",
    ),
]
_MOST = 200
"""So many differences are listed in the table."""
FIELDS = (
    *("key", "kind", "side", "here", "here_at", "there", "there_at"),
    *("repair", "next_step"),
)
"""The columns of the CSV file."""
_NOTHING = "-"


class DifferenceReport:
    """Takes the differences one by one; of a table it keeps the first, of JSON nothing."""

    def __init__(self, output: OutputFormat, *, unmasked: bool, csv: VisibleRows | None) -> None:
        self.unexplained = 0
        """How many differences no cause explains."""
        self._output = output
        self._unmasked = unmasked
        self._csv = csv
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._listed: list[tuple[object, ...]] = []

    def begin(self, comparison: Comparison) -> None:
        """Begin the JSON of a comparison."""
        if self._output is OutputFormat.JSON:
            brand = comparison.scope.brand.brand_code
            sys.stdout.write(f'{{"brand": {brand}, "differences": [')

    def add(self, one: Difference) -> None:
        """Take a difference."""
        is_first = not self._counts
        self.unexplained += not one.is_explained
        self._counts[one.finding.kind, one.finding.side, _done(one)] += 1
        if self._csv is not None:
            self._csv.writerow(list(_values(one, one.key).values()))
        key = one.key if self._unmasked else mask_text(one.key)
        if self._output is OutputFormat.JSON:
            text = visible(
                json.dumps({**_values(one, key), "explained": one.is_explained}, ensure_ascii=False)
            )
            sys.stdout.write(f"{'' if is_first else ','}\n{text}")
        elif len(self._listed) < _MOST:
            self._listed.append(_row(one, key.partition("/")[2]))

    def end(self, comparison: Comparison, plan: str | None) -> None:
        """Print what was taken; ``plan`` is the digest of the plan that was written, if one was."""
        counts = [
            {"kind": kind, "side": side, "done": done, "keys": keys}
            for (kind, side, done), keys in sorted(self._counts.items())
        ]
        if self._output is OutputFormat.JSON:
            values = {
                "counts": counts,
                "compared": comparison.sizes,
                "unexplained": self.unexplained,
                "plan": plan,
            }
            sys.stdout.write(f"\n], {json.dumps(values, ensure_ascii=False)[1:]}\n")
            return
        if counts:
            print_rows(
                self._output,
                {
                    "key": "recipient",
                    "kind": "kind",
                    "side": "side",
                    "words": "ledger > side",
                    "next": "what is done",
                },
                self._listed,
                below=True,
            )
            print_rows(
                self._output,
                ("kind", "side", "done", "keys"),
                [tuple(count.values()) for count in counts],
            )
        left = sum(self._counts.values()) - len(self._listed)
        if left:
            say(f"not listed: {left:,} more; --out FILE has all of them")
        _print_sizes(comparison.sizes, self.unexplained)
        if not counts:
            out.print("no differences", highlight=False)


def _print_sizes(sizes: Mapping[str, int], unexplained: int) -> None:
    line = (
        f"compared: {sizes['rows']:,} rows, {sizes['desired']:,} desired consents, "
        f"{sizes['permissions']:,} permissions; what İYS holds is known of {sizes['seen']:,} keys"
    )
    out.print(line, soft_wrap=True, highlight=False, markup=False)
    if sizes["changing"]:
        say(f"left out, for they changed meanwhile: {sizes['changing']:,} rows; compare again")
    if unexplained:
        warn(f"unexplained differences: {unexplained:,}")


def _row(one: Difference, recipient: str) -> tuple[object, ...]:
    finding = one.finding
    here = _said(finding.here, finding.here_at)
    words = f"{here} > {_said(finding.there, finding.there_at)}"
    return recipient, finding.kind, finding.side, words, one.remedy.next_step


def _values(one: Difference, key: str) -> dict[str, Any]:
    finding, repair = one.finding, one.remedy.repair
    values = (
        *(key, str(finding.kind), str(finding.side)),
        *(finding.here, _iso(finding.here_at), finding.there, _iso(finding.there_at)),
        *(None if repair is None else str(repair), one.remedy.next_step),
    )
    return dict(zip(FIELDS, values, strict=True))


def _said(what: str | None, at: datetime | None) -> str:
    """Return what a side says for people, times in Turkish time."""
    return (what or _NOTHING) if at is None else f"{what} {turkish(at)}"


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds")


def _done(one: Difference) -> str:
    if one.is_explained:
        return "explained"
    return "by a person" if one.remedy.repair is None else str(one.remedy.repair)


def reconcile(
    *,
    brand: BrandIfAnyOption = None,
    channel: OneChannelOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    ask: AskOption = False,
    plan: PlanOption = None,
    execute: ExecuteOption = False,
    csv: CsvOption = None,
    unmasked: UnmaskedOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Compare İYS, the ledger and the topics for a brand, and say what differs, of which kind.

    Nothing is changed without --execute, and then everything enters through admission: events on
    the input lanes, status queries, permissions published again. What may not be repaired is
    explained, with the next step. --since and --until choose keys by their latest act, here or at
    İYS. Exit code 0 if every difference is explained, 1 if not, 3 if the brand or the plan cannot
    be used, 4 if a server is at fault or the plan does not hold any more.
    """
    if execute:
        given = (brand, channel, since, until, csv)
        if plan is None or ask or any(one is not None for one in given):
            raise typer.BadParameter("--execute takes --plan FILE, --by and --output alone")
        with exit_on_signals():
            done = _execute(plan, by)
        _print(done, output)
        exit_if(done["moved"])
        return
    if brand is None:
        raise typer.BadParameter("say which brand", param_hint="--brand")
    of_brand = partial(ReconcileScope, channel=channel, since=since, until=until)
    with exit_on_signals(), ExitStack() as stack:
        rows = None if csv is None else stack.enter_context(private_csv(csv, FIELDS))
        report = DifferenceReport(output, unmasked=unmasked, csv=rows)
        repairs = run_on_ledger(
            lambda ledger: _compare(ledger, brand, of_brand, report, asks=ask, path=plan, by=by),
            look=Look(command="reconcile", by=by, brand=brand),
        )
    if repairs:
        say(f"nothing was changed; to repair: izin reconcile --plan {plan} --execute")
    exit_if(report.unexplained)


async def _compare(
    ledger: Ledger,
    code: int,
    of_brand: Callable[..., ReconcileScope],
    report: DifferenceReport,
    *,
    asks: bool,
    path: Path | None,
    by: str,
) -> int:
    """Compare, report, and write the plan to ``path``; return how many keys it repairs."""
    kafka, scope = kafka_settings(), of_brand(brand=await registered_brand(ledger, code))
    async with AsyncExitStack() as stack:
        ask: Asker | None = None
        if asks:
            iys = IysSettings()
            client, _ = await stack.enter_async_context(calling_iys(ledger, iys))
            ask = Asker(
                pages=PageQuery(
                    client=client,
                    clock=utc_now,
                    budget=RequestBudget(iys.requests_per_second, clock=monotonic),
                ),
                on_single=_say_single,
                on_answer=stack.enter_context(showing("asking İYS, keys")),
            )
        shown = stack.enter_context(showing("records of topics"))
        comparer = Comparer(
            ledger=ledger,
            kafka=kafka,
            codec=codec(kafka),
            clock=utc_now,
            on_read=lambda read: shown(read, read),
        )
        comparison = await stack.enter_async_context(comparer.comparing(scope, ask))
        file = None if path is None else RepairFile(path)
        report.begin(comparison)
        async for difference in comparison.differences():
            report.add(difference)
            if file is not None:
                file.add(difference)
        if file is None:
            report.end(comparison, None)
            return 0
        plan = plan_of(scope, kafka, asked=asks, now=comparison.began, by=by)
        report.end(comparison, file.write(plan).digest)
        return file.keys


def _execute(path: Path, by: str) -> Executed:
    plan, kafka = Plan.read(path, kind=KIND), kafka_settings()
    with showing("keys repaired") as progress:

        async def execute(ledger: Ledger) -> Executed:
            execution = RepairExecution(
                ledger=ledger,
                kafka=kafka,
                codec=codec(kafka),
                secrets=StreamSettings().suppressions,
                clock=utc_now,
                progress=progress,
            )
            return await execution.execute(path, plan, by=by)

        done = run_on_ledger(execute)
    if done["repaired"]:
        for name, keys in sorted(plan.options["repairs"].items()):
            say(f"{name}, keys: {keys}: {WORDS[Repair(name)]}")
    return done


def _print(done: Executed, output: OutputFormat) -> None:
    rows = {name: done[name] for name in ("repaired", "moved", "done_before")}
    moved = ["what moved since was left alone: compare again"] if done["moved"] else ()
    print_rows(output, tuple(rows), [tuple(rows.values())], as_json=rows, notes=moved)


def _say_single(asked: int, differing: int) -> None:
    if differing:
        say(
            f"keys that differ: {differing:,}; asked about one by one: {asked:,}, for which an "
            "hour has room"
        )
