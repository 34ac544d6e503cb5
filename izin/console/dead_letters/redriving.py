"""Redrive dead letters: the preview, and what became of it, in words and as JSON."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from izin.consent.errors import SourceError
from izin.console.terminal.exit_codes import exit_if, exit_on_error, say_dry_run
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import OutputFormat, kafka_settings, print_json, print_rows, say
from izin.console.terminal.progress import showing_steps
from izin.replay.letters.letter import LetterSelection
from izin.replay.letters.outcomes import Prediction, RedriveOutcome
from izin.replay.letters.redrive import (
    MOST_LETTERS,
    RedrivePreview,
    Redriver,
    RedriveReport,
    RedriveStatement,
)
from izin.runtime.kafka import codec
from izin.runtime.settings import StreamSettings
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.dead_letters import Redrive

_COLUMNS = ("what", "outcome", "preview", "result", "note")
_NAMED = 5
"""Letters that are named of many."""
_WHY: Mapping[str, str] = {
    RedriveOutcome.STALE: "a newer event was decided meanwhile",
    RedriveOutcome.REFUSED: "the order workers, or the sink, refused it; izin dead-letters has why",
    RedriveOutcome.MOVED: "the order workers can read what this machine cannot; see izin explain",
    RedriveOutcome.DUPLICATE: "the same event was decided meanwhile, or was being decided",
    RedriveOutcome.KNOWN: "the same event was decided meanwhile, or was being decided",
}
"""Why something else became of a letter than the preview said."""


def redrive_letters(
    selection: LetterSelection,
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
            clock=lambda: datetime.now(UTC),
            progress=begin,
        )
        preview = await redriver.preview(selection, again=again)
        _check(preview)
        return await redriver.execute(preview, how) if execute else RedriveReport(preview=preview)

    with exit_on_error(), showing_steps() as begin:
        settings = kafka_settings()
        report = run_on_ledger(work)
    _print(report, output, is_done=execute)
    is_late = report.waiting and how.wait
    exit_if(execute and (report.kept or report.unsent or report.preview.obstacles or is_late))


def _check(preview: RedrivePreview) -> None:
    """Check that each letter that is named can be redriven; raises SourceError."""
    named = preview.selection.names
    for one in preview.obstacles:
        if one.letter.name in named:
            why = f"{one.why}; {one.remedy}" if one.remedy else one.why
            raise SourceError(f"dead letter {one.letter.name} cannot be redriven: {why}")
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
        (one.group, one, expected[one], became[one] if is_done else "", one.words)
        for one in RedriveOutcome
        if became[one] or (expected[one] and (is_done or one is not RedriveOutcome.REFUSED))
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
    print_rows(output, _COLUMNS, rows)
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
    for one in differences[:_NAMED]:
        became = f"expected {one.expected}, became {one.redrive.result}"
        say(f"{one.letter.name}: {became}: {_why(one.redrive)}")
    say(
        f"{len(report.results)} dead letters were redriven; {len(differences)} became something "
        "else than the preview said (--output json names them)"
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
    for one in preview.obstacles:
        found.setdefault(one.why, []).append(one.letter.name)
    for why, names in found.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield "cannot be redriven", " ".join(names[:_NAMED]) + more, len(names), "", why


def _why(one: Redrive) -> str:
    why = _WHY.get(one.result or "", "the state of its key changed meanwhile; see izin explain")
    return f"{why}: {one.detail}" if one.detail else why


def _preview_as_json(preview: RedrivePreview) -> dict[str, Any]:
    refused = _refused(preview).items()
    return {
        "preview": _counts(preview.expected),
        "refused": [{"letter": name, "codes": one.codes} for name, one in refused],
        "obstacles": [
            {"letter": one.letter.name, "why": one.why, "remedy": one.remedy}
            for one in preview.obstacles
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
                "letter": one.letter.name,
                "expected": one.expected,
                "became": one.redrive.result,
                "why": _why(one.redrive),
            }
            for one in report.differences
        ],
        "waiting": [one.letter.name for one in report.waiting],
        "unsent": report.unsent,
        "left": report.kept,
    }


def _counts(outcomes: Counter[RedriveOutcome]) -> dict[str, int]:
    return {one: outcomes[one] for one in RedriveOutcome if outcomes[one]}
