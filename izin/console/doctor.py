"""``izin doctor``: is everything there, is it as it must be, and if not, what is to be done."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import httpx
import psycopg
import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from izin.consent.errors import IzinError
from izin.consent.forecast import forecast, records_per_second
from izin.consent.model import Status
from izin.console.opening import open_ledger
from izin.console.output import (
    Exit,
    Output,
    OutputOption,
    kafka_settings,
    print_rows,
    turkish,
    wrong_settings,
)
from izin.runtime import kafka
from izin.runtime.registry import codec
from izin.runtime.settings import IysSettings, LedgerSettings, SinkSettings
from izin.sinks.ledger import reads, sequences
from izin.sinks.ledger.migrate import migrate, pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from izin.schemas.topics import Topics
    from izin.sinks.ledger.reads import Backlog
    from izin.sinks.ledger.sequences import Missing

_TIMEOUT = 5.0


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WRONG = "wrong"
    FIXED = "fixed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found, and what to do about it."""

    check: str
    state: State
    what: str


def doctor(
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Create topics, set their settings, run migrations.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check broker, topics, database, migrations, deadlines, missing events, registry and İYS, and
    say what to do about each.

    Changes nothing without --fix, and spends no token call at İYS. Exit code 1 if anything is
    wrong.
    """
    found = [one for check in _CHECKS for one in _safely(check, fix)]
    print_rows(
        output, ("check", "state", "what"), [(one.check, one.state, one.what) for one in found]
    )
    if any(one.state is State.WRONG for one in found):
        raise typer.Exit(Exit.WRONG)


def _safely(check: Callable[[bool], Iterator[Finding]], fix: bool) -> Iterator[Finding]:
    """Yield what ``check`` finds; what it cannot even look at is a finding too."""
    name = check.__name__.removeprefix("_")
    try:
        yield from check(fix)
    except ValidationError as error:
        kinds = {one["type"] for one in error.errors()}
        state = State.SKIPPED if kinds == {"missing"} else State.WRONG
        yield Finding(check=name, state=state, what=wrong_settings(error))
    except SettingsError as error:
        yield Finding(check=name, state=State.WRONG, what=str(error))
    except IzinError as error:
        yield Finding(check=name, state=State.WRONG, what=str(error))


def _topics(fix: bool) -> Iterator[Finding]:
    settings = kafka_settings()
    made = kafka.ensure_topics(settings) if fix else ()
    if made:
        yield Finding(check="topics", state=State.FIXED, what=f"created {', '.join(made)}")
    mended = kafka.mend_topics(settings) if fix else ()
    if mended:
        yield Finding(check="topics", state=State.FIXED, what=f"settings of {', '.join(mended)}")
    faults = kafka.topic_faults(settings)
    yield Finding(check="broker", state=State.OK, what=settings.bootstrap_servers)
    for fault in faults:
        yield Finding(check="topics", state=State.WRONG, what=fault)
    if not faults:
        count = len(tuple(settings.topics))
        what = f"{count} topics, {settings.partitions} partitions each where keyed"
        yield Finding(check="topics", state=State.OK, what=what)


def _database(fix: bool) -> Iterator[Finding]:
    url = LedgerSettings().database_url.get_secret_value()
    try:
        with psycopg.connect(url, connect_timeout=int(_TIMEOUT)) as connection:
            version = connection.info.server_version // 10000
        yield Finding(check="database", state=State.OK, what=f"PostgreSQL {version}")
        if fix and (applied := asyncio.run(migrate(url))):
            yield Finding(check="migrations", state=State.FIXED, what=f"ran {', '.join(applied)}")
        missing = asyncio.run(pending(url))
    except psycopg.Error as error:
        # Its text may hold the password.
        what = f"{type(error).__name__}; is PostgreSQL running, and is DATABASE_URL right?"
        yield Finding(check="database", state=State.WRONG, what=what)
        return
    if missing:
        what = f"{', '.join(missing)} not run; run: izin doctor --fix"
        yield Finding(check="migrations", state=State.WRONG, what=what)
    else:
        yield Finding(check="migrations", state=State.OK, what="the ledger is up to date")


def _deadlines(fix: bool) -> Iterator[Finding]:
    del fix  # time cannot be mended
    settings, iys = LedgerSettings(), IysSettings()
    absent = _absent(settings)
    if absent is not None:
        yield Finding(check="deadlines", state=State.SKIPPED, what=absent)
        return
    pace = records_per_second(iys.requests_per_second, batch_size=SinkSettings().batch_size)
    yield from of_backlog(asyncio.run(_backlog(settings)), now=datetime.now(UTC), pace=pace)


def _absent(settings: LedgerSettings) -> str | None:
    """Return why the ledger cannot be asked; None where it can."""
    try:
        missing = asyncio.run(pending(settings.database_url.get_secret_value()))
    except psycopg.Error:
        return "the ledger cannot be reached"
    return "the ledger is not there yet" if missing else None


async def _backlog(settings: LedgerSettings) -> Backlog:
    async with open_ledger(settings) as ledger:
        return await reads.backlog(ledger)


def of_backlog(backlog: Backlog, *, now: datetime, pace: float) -> Iterator[Finding]:
    """Yield what becomes of ``backlog`` at ``pace`` records a second, the worst first."""
    ahead = forecast(backlog.telling, now=now, records_per_second=pace)
    if ahead.lost:
        what = (
            f"{ahead.lost} ONAY expire before they can be told, the first at "
            f"{turkish(ahead.first_lost_at)}; run a sink worker, from more addresses if one is too "
            "slow (IYS_EGRESS_ADDRESS); what is lost needs a new consent"
        )
        yield Finding(check="deadlines", state=State.WRONG, what=what)
    if ahead.late > ahead.lost:
        what = (
            f"{ahead.late - ahead.lost} records are told after they are due, the first due at "
            f"{turkish(ahead.first_late_at)}; run a sink worker"
        )
        yield Finding(check="deadlines", state=State.WRONG, what=what)
    if backlog.held:
        kept = sum(one.count for one in backlog.held)
        ends = [one for one in backlog.held if one.status is Status.ONAY and one.expires_at]
        lost = (
            f"; {sum(one.count for one in ends)} of them ONAY that expire, the first at "
            f"{turkish(min(one.expires_at for one in ends if one.expires_at))}"
            if ends
            else ""
        )
        noes = [one for one in backlog.held if one.status is Status.RET]
        due = min((one.due_at for one in noes if one.due_at), default=None)
        urgent = (
            f"; {sum(one.count for one in noes)} of them opt-outs"
            f"{f', the first due at {turkish(due)}' if due else ''}: izin deadlines opt-outs"
            " writes what a person withdraws"
            if noes
            else ""
        )
        what = (
            f"{kept} records are kept from İYS{urgent}{lost}; "
            "see: izin brands stops, izin brands list"
        )
        yield Finding(check="deadlines", state=State.WRONG, what=what)
    if not (ahead.late or ahead.lost or backlog.held):
        count = sum(one.count for one in backlog.telling)
        done = f", the last by {turkish(ahead.done_at)}" if count else ""
        what = f"{count} records to tell, all in time at {pace:g} a second{done}"
        yield Finding(check="deadlines", state=State.OK, what=what)


def _sequences(fix: bool) -> Iterator[Finding]:
    del fix  # only its source can bring what never came
    settings, topics = LedgerSettings(), kafka_settings().topics
    absent = _absent(settings)
    if absent is not None:
        yield Finding(check="sequences", state=State.SKIPPED, what=absent)
        return
    yield from of_missing(asyncio.run(_missing(settings, topics)))


async def _missing(settings: LedgerSettings, topics: Topics) -> tuple[Missing, ...]:
    async with open_ledger(settings) as ledger:
        return await sequences.missing(ledger, topics)


def of_missing(missing: Sequence[Missing]) -> Iterator[Finding]:
    """Yield what each origin has numbered and never brought."""
    for one in missing:
        more = f" and {one.numbers - 1} more in {one.gaps} gaps" if one.numbers > 1 else ""
        given_up = (
            f"; {one.given_up} before are no longer looked for: do its numbers run one by one?"
            if one.given_up
            else ""
        )
        what = (
            f"{one.origin} of {one.customer_id}: number {one.first_number}{more} never came, since "
            f"{turkish(one.since)}; have the origin publish them again (what came twice counts "
            f"once), or say that they were never given: izin sequences close{given_up}"
        )
        yield Finding(check="sequences", state=State.WRONG, what=what)
    if not missing:
        what = "no origin that numbers its events misses one"
        yield Finding(check="sequences", state=State.OK, what=what)


def _registry(fix: bool) -> Iterator[Finding]:
    del fix  # schemas are registered by who writes first
    settings = kafka_settings()
    if settings.registry_url is None:
        what = "SCHEMA_REGISTRY_URL is not set; records carry Avro fingerprints"
        yield Finding(check="registry", state=State.SKIPPED, what=what)
        return
    codec(settings)
    what = f"{settings.registry_url} takes our schemas"
    yield Finding(check="registry", state=State.OK, what=what)


def _iys(fix: bool) -> Iterator[Finding]:
    del fix  # nothing at İYS is ours to mend
    settings = IysSettings()
    try:
        # Spends no token: a call without one is 401 where İYS's API answers.
        answer = httpx.get(f"{settings.base_url}/sps/0/brands", timeout=_TIMEOUT)
    except httpx.HTTPError as error:
        what = (
            f"{settings.base_url}: {type(error).__name__}; is IYS_BASE_URL right, and may this "
            "machine's address call İYS (they keep a list)?"
        )
        yield Finding(check="iys", state=State.WRONG, what=what)
        return
    yield _of_iys(settings.base_url, answer.status_code)


def _of_iys(url: str, status: int) -> Finding:
    match status:
        case httpx.codes.UNAUTHORIZED:
            return Finding(check="iys", state=State.OK, what=f"{url} answers")
        case httpx.codes.FORBIDDEN:
            what = f"{url} does not let this machine's address in (403); have İYS add it"
        case _:
            what = f"{url} answers {status}, not as İYS's API does; is IYS_BASE_URL right?"
    return Finding(check="iys", state=State.WRONG, what=what)


_CHECKS = (_topics, _database, _deadlines, _sequences, _registry, _iys)
