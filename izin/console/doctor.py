"""``izin doctor``: is everything there, is it as it must be, and if not, what is to be done."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import httpx
import psycopg
import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from izin.consent.errors import IzinError
from izin.consent.forecast import records_per_second
from izin.console.findings import Finding, State, of_backlog, of_brands, of_missing
from izin.console.opening import open_ledger
from izin.console.output import (
    Exit,
    Output,
    OutputOption,
    kafka_settings,
    print_rows,
    wrong_settings,
)
from izin.iys.token_policy import TokenPolicy
from izin.runtime import kafka
from izin.runtime.registry import codec
from izin.runtime.settings import IysSettings, LedgerSettings, SinkSettings
from izin.sinks.ledger import brands as registry
from izin.sinks.ledger import reads, sequences
from izin.sinks.ledger.migrate import migrate, pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from izin.schemas.topics import Topics
    from izin.sinks.ledger.brands import Brand
    from izin.sinks.ledger.reads import Backlog, Parked
    from izin.sinks.ledger.sequences import Missing

_TIMEOUT = 5.0


def doctor(
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Create topics, set their settings, run migrations.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check broker, topics, database, migrations, deadlines, brands, missing events, registry and
    İYS, and say what to do about each.

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


def _brands(fix: bool) -> Iterator[Finding]:
    del fix  # each needs a person
    settings = LedgerSettings()
    absent = _absent(settings)
    if absent is not None:
        yield Finding(check="brands", state=State.SKIPPED, what=absent)
        return
    brands, parked = asyncio.run(_brands_and_parked(settings))
    if not brands:
        what = "none is registered yet: izin brands add"
        yield Finding(check="brands", state=State.SKIPPED, what=what)
        return
    policy = TokenPolicy(calls_per_hour=IysSettings().token_requests_per_hour)
    wrong = list(of_brands(brands, parked, policy=policy, now=datetime.now(UTC)))
    yield from wrong
    if not wrong:
        what = f"{len(brands)} registered, and nothing of them waits for a person"
        yield Finding(check="brands", state=State.OK, what=what)


async def _brands_and_parked(
    settings: LedgerSettings,
) -> tuple[tuple[Brand, ...], tuple[Parked, ...]]:
    async with open_ledger(settings) as ledger:
        return await registry.every(ledger), await reads.parked(ledger)


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


_CHECKS = (_topics, _database, _deadlines, _brands, _sequences, _registry, _iys)
