"""Redrive dead letters: the preview, and what became of it, in words and as JSON."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from izin.consent.errors import SourceError
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    exit_if,
    exit_on_error,
    kafka_settings,
    print_json,
    print_rows,
    say,
)
from izin.console.terminal.progress import showing_steps
from izin.replay.letters.outcomes import Outcome
from izin.replay.letters.plan import MOST_LETTERS, Planner, RedrivePlan
from izin.replay.letters.redrive import Redriver, RedriveReport, RedriveStatement
from izin.replay.letters.selection import LetterSelection
from izin.runtime.kafka import codec
from izin.runtime.settings import StreamSettings
from izin.sinks.ledger.db.connection import Ledger

_COLUMNS = ("what", "outcome", "letters", "note")
_RESULTS = ("what", "outcome", "preview", "result", "note")
_NAMED = 5
"""Letters that are named of many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveOptions:
    """How letters are redriven."""

    by: str
    reason: str
    wait: timedelta
    again: bool
    refused: bool
    execute: bool


def redrive_letters(
    selection: LetterSelection, options: RedriveOptions, output: OutputFormat
) -> None:
    """Redrive the letters of ``selection``, or say what would become of them; ends with an exit
    code.
    """
    with exit_on_error(), showing_steps() as begin:
        settings = kafka_settings()

        def planner(ledger: Ledger) -> Planner:
            return Planner(
                ledger=ledger,
                settings=settings,
                codec=codec(settings),
                suppressions=StreamSettings().suppressions,
                clock=lambda: datetime.now(UTC),
                progress=begin,
            )

        async def planned(ledger: Ledger) -> RedrivePlan:
            plan = await planner(ledger).plan(selection, again=options.again)
            _check(plan)
            return plan

        async def redriven(ledger: Ledger) -> RedriveReport:
            how = RedriveStatement(
                by=options.by,
                reason=options.reason,
                wait=options.wait,
                refused_too=options.refused,
            )
            return await Redriver(planner(ledger)).execute(await planned(ledger), how)

        found = run_on_ledger(redriven) if options.execute else run_on_ledger(planned)
    match found:
        case RedrivePlan():
            _print_plan(found, output)
        case RedriveReport():
            _print_report(found, output)
            is_awaited = bool(options.wait)
            left = found.kept, found.unsent, found.plan.obstacles, found.waiting and is_awaited
            exit_if(any(left))


def _check(plan: RedrivePlan) -> None:
    """Check that each letter that is named can be redriven; raises SourceError."""
    named = plan.selection.names
    for obstacle in plan.obstacles:
        if obstacle.letter.name in named:
            remedy = f"; {obstacle.remedy}" if obstacle.remedy else ""
            raise SourceError(
                f"dead letter {obstacle.letter.name} cannot be redriven: {obstacle.why}{remedy}"
            )
    planned = {order.letter.name for order, _ in plan.letters}
    waiting = {one.letter.name for one in plan.unsettled}
    if done := sorted(named - planned - waiting):
        raise SourceError(
            f"dead letter {', '.join(done)} is acknowledged already; --again redrives it all the "
            "same, and izin dead-letters show has what became of it"
        )


def _print_plan(plan: RedrivePlan, output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        print_json(_plan_as_json(plan))
        return
    print_rows(output, _COLUMNS, [*_expected_rows(plan), *_other_rows(plan)])
    _say_rest(plan)
    if plan.letters or plan.unsettled:
        say("nothing was written; add --execute to do it")


def _print_report(report: RedriveReport, output: OutputFormat) -> None:
    differences = [
        {
            "letter": sent.letter.name,
            "expected": sent.expected,
            "became": result.result,
            "why": _difference(Outcome(result.result), result.detail),
        }
        for sent, result in report.differences
    ]
    if output is OutputFormat.JSON:
        print_json(
            _plan_as_json(report.plan)
            | {
                "result": _counts(report.became),
                "expected": _counts(report.expected),
                "differences": differences,
                "waiting": [one.letter.name for one in report.waiting],
                "unsent": report.unsent,
                "left": report.kept,
            }
        )
        return
    expected, became = report.expected, report.became
    rows: list[tuple[object, ...]] = [
        (one.group, one, expected[one], became[one], one.words)
        for one in Outcome
        if expected[one] or became[one]
    ]
    rows += [(what, outcome, count, "", note) for what, outcome, count, note in _left_rows(report)]
    print_rows(output, _RESULTS, rows)
    for one in differences[:_NAMED]:
        say("{letter}: expected {expected}, became {became}: {why}".format(**one))
    if len(differences) > _NAMED:
        say(f"{len(differences)} letters differ; --output json names them all")
    if not differences and became:
        say(f"{became.total()} dead letters became what the preview said")
    elif report.kept and not became and not report.waiting:
        say("nothing was written")
    if report.waiting or report.unsent:
        say(
            f"{len(report.waiting)} wait for the order workers (or, of decisions, the sink), "
            f"{report.unsent} are not written yet; run the same command again: it goes on from here"
        )
    _say_rest(report.plan)


def _expected_rows(plan: RedrivePlan) -> Iterator[tuple[object, ...]]:
    expected = plan.expected
    for one in Outcome:
        if expected[one] and one is not Outcome.REFUSED:
            yield one.group, one, expected[one], one.words
    yield from _refused_rows(plan)


def _refused_rows(plan: RedrivePlan) -> Iterator[tuple[object, ...]]:
    codes = Counter(
        " ".join(one.codes) for _, one in plan.letters if one.outcome is Outcome.REFUSED
    )
    for code, count in codes.most_common():
        yield Outcome.REFUSED.group, code, count, "left as they are, unless --refused is said"


def _other_rows(plan: RedrivePlan) -> Iterator[tuple[object, ...]]:
    if plan.unsettled:
        note = "written by an earlier command; the next one with --execute says what became of them"
        yield "redriven before", "", len(plan.unsettled), note
    if plan.acknowledged:
        yield "acknowledged", "", plan.acknowledged, "left out, unless --again is said"
    for why, names in _obstacles(plan).items():
        yield "cannot be redriven", _few(names), len(names), why


def _left_rows(report: RedriveReport) -> Iterator[tuple[object, ...]]:
    if report.kept:
        yield from _refused_rows(report.plan)
    for why, names in _obstacles(report.plan).items():
        yield "cannot be redriven", _few(names), len(names), why


def _obstacles(plan: RedrivePlan) -> dict[str, list[str]]:
    """Return the letters that cannot be redriven, by reason."""
    found: dict[str, list[str]] = {}
    for one in plan.obstacles:
        found.setdefault(one.why, []).append(one.letter.name)
    return found


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return " ".join(names[:_NAMED]) + more


def _say_rest(plan: RedrivePlan) -> None:
    if plan.is_full:
        say(
            f"more are meant than one run takes ({MOST_LETTERS:,} letters, or 256 MB): run the "
            "same command again for the rest; filter out what stays, or it is met again"
        )


def _difference(became: Outcome, detail: str) -> str:
    """Return why something else became of a letter than the preview said."""
    match became:
        case Outcome.STALE:
            return f"a newer event was decided meanwhile: {detail}"
        case Outcome.REFUSED:
            why = detail or "see the newest of izin dead-letters"
            return f"the order workers, or the sink, refused it: {why}"
        case Outcome.MOVED:
            return "the order workers can read what this machine cannot; izin explain has the event"
        case Outcome.DUPLICATE | Outcome.KNOWN:
            return "the same event was decided meanwhile, or was still being decided"
        case _:
            return "the state of its key changed meanwhile; izin explain has what happened"


def _plan_as_json(plan: RedrivePlan) -> dict[str, Any]:
    return {
        "preview": _counts(plan.expected),
        "refused": [
            {"letter": order.letter.name, "codes": one.codes}
            for order, one in plan.letters
            if one.outcome is Outcome.REFUSED
        ],
        "obstacles": [
            {"letter": one.letter.name, "why": one.why, "remedy": one.remedy}
            for one in plan.obstacles
        ],
        "acknowledged": plan.acknowledged,
        "unsettled": [one.letter.name for one in plan.unsettled],
        "more": plan.is_full,
    }


def _counts(outcomes: Counter[Outcome]) -> dict[str, int]:
    return {one: outcomes[one] for one in Outcome if outcomes[one]}
