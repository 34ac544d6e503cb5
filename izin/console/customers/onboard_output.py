"""What ``izin customers onboard`` prints: counts, forecast, and what was done."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from izin.console.imports.result import warn_of_hidden
from izin.console.terminal.output import (
    OutputFormat,
    print_json,
    print_rows,
    say,
    turkish,
    warn,
)
from izin.onboarding.loading import OpenCount
from izin.onboarding.what_if import FirstLoading, LoadingWhatIf
from izin.producers.files.importing.report import ImportReport

_JUDGED = {
    "brand_code": "brand",
    "channel": "channel",
    "consents": "opt-ins",
    "taken": "İYS takes",
    "lawful": "lawful",
    "void": "void",
}
_SENT = {
    "brand_code": "brand",
    "channel": "channel",
    "rows": "rows",
    "duplicates": "twice",
    "opt_outs": "opt-outs",
    "held": "at İYS",
    "refused": "refused",
    "to_send": "to send",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a run of the command did."""

    files: tuple[ImportReport, ...]
    executed: bool
    began: float
    """When, by ``time.monotonic``."""
    took: timedelta | None = None
    """From the first row published until İYS had answered all; None: it was not awaited."""
    left: OpenCount | None = None


def print_what_if(
    found: LoadingWhatIf, loading: FirstLoading, unasked: int, output: OutputFormat
) -> None:
    """Print what the loading would do; in JSON it is part of what ``print_done`` prints."""
    if output is OutputFormat.JSON:
        return
    for columns in (_JUDGED, _SENT):
        rows = [[getattr(one, name) for name in columns] for one in found.lanes]
        print_rows(output, columns, rows)
    for line in _lines(found, loading, unasked):
        say(line)


def _lines(found: LoadingWhatIf, loading: FirstLoading, unasked: int) -> Iterator[str]:
    yield (
        "İYS takes: also older dates, until a brand is activated; lawful: within three business "
        "days, by a general transfer, or at İYS already; refused: their recipient opted out"
    )
    asked = sum(one.asked for one in found.lanes)
    known = sum(one.in_ledger for one in found.lanes)
    yield f"known of {known:,} keys: from the ledger" + (
        f"; İYS was asked about {asked:,}: of those that it does not hold as ONAY it does not say "
        "whether they opted out"
        if asked
        else ""
    )
    transferable = sum(one.transferable for one in found.lanes)
    if transferable:
        yield (
            f"{transferable:,} of the void ones were covered by a general transfer: lawful only "
            "where İYS holds them"
        )
    if unasked:
        takes = _rounded(loading.limits.asking(unasked))
        yield f"--ask asks İYS about opt-ins that are not known: {unasked:,} requests, {takes}"
    for lane in found.suspended:
        yield (
            f"brand {lane.brand_code}, {lane.channel}: {lane.records:,} records would wait here "
            f"and not be sent to İYS: {lane.reason} (izin brands suspensions)"
        )
    yield from _forecast(found)


def _forecast(found: LoadingWhatIf) -> Iterator[str]:
    time = found.time
    yield (
        f"at İYS's limit: {time.submissions:,} submissions, {time.queries:,} queries, "
        f"{time.results:,} results: {_rounded(time.takes)}, until "
        f"{turkish(found.now + time.takes)} if it began now"
    )
    if time.forecast.lost:
        yield (
            f"{time.forecast.lost:,} consents will be void before they can be sent, the first at "
            f"{turkish(time.forecast.first_lost_at)}"
        )
    for code, at in sorted(found.loading_ends.items()):
        if at is not None:
            holds = "does not hold" if code in found.missed else "holds"
            yield f"brand {code}: first loading until {turkish(at)}: {holds}"


def print_done(found: LoadingWhatIf, done: Done, output: OutputFormat) -> None:
    """Print what was done, and where the rows are that were not published."""
    if output is OutputFormat.JSON:
        print_json(_as_json(found, done))
        return
    for one in done.files:
        warn_of_hidden(one.hidden_sheets)
        if one.lost_opt_outs:
            warn(
                f"{one.path.name}: {one.refused_opt_outs} opt-outs (RET) were refused, and "
                f"{one.refused_unclear} rows whose status cannot be read"
            )
        word = "published" if done.executed else "would be published"
        where = "" if one.report_path is None else f"; the others are in {one.report_path}"
        say(f"{one.path.name}: {one.rows:,} rows, {one.published:,} {word}{where}")
    if not done.executed:
        say("nothing was published; add --execute to do it")
    if done.took is not None and done.left is not None:
        say(f"it took {done.took}, {_rounded(found.time.takes)} by the forecast")
        if done.left.for_person:
            say(
                f"{done.left.for_person:,} wait for a person: izin brands parked, izin brands "
                "suspensions, izin iys list"
            )


def _as_json(found: LoadingWhatIf, done: Done) -> Mapping[str, Any]:
    time = found.time
    return {
        "suspended": [one._asdict() for one in found.suspended],
        "lanes": [{**asdict(one), "duplicates": one.duplicates} for one in found.lanes],
        "addresses": {
            code: {"phones": one.phones, "emails": one.emails, "total": one.total}
            for code, one in found.addresses.items()
        },
        "void": found.void,
        "forecast": {
            "submissions": time.submissions,
            "queries": time.queries,
            "results": time.results,
            "seconds": round(time.takes.total_seconds(), 1),
            "done_at": found.now + time.takes,
            "will_be_lost": time.forecast.lost,
            "loading_ends": found.loading_ends,
            "missed": list(found.missed),
        },
        "files": [
            {
                "file": one.path,
                "rows": one.rows,
                "published": one.published,
                "opt_outs": one.opt_outs,
                "refused": one.refused,
                "refused_opt_outs": one.refused_opt_outs,
                "refused_unclear": one.refused_unclear,
                "reasons": one.reasons,
                "report": one.report_path,
            }
            for one in done.files
        ],
        "executed": done.executed,
        "took_seconds": None if done.took is None else done.took.total_seconds(),
        "left_for_a_person": None if done.left is None else done.left.for_person,
    }


def _rounded(duration: timedelta) -> timedelta:
    return timedelta(seconds=round(duration.total_seconds()))
