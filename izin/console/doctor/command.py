"""``izin doctor``: is everything there, is it as it must be, and if not, what is to be done.

Each finding is printed as it comes, so a part that keeps the doctor waiting is seen to be the next.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import httpx
import psycopg
import typer
from confluent_kafka import KafkaException
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr
from rich.table import Table
from rich.text import Text

from izin.consent.forecast import records_per_second
from izin.console.doctor import consumer_lag, lag_checks
from izin.console.doctor.ledger_checks import Finding, State, of_backlog, of_brands, of_missing
from izin.console.doctor.runner import Check, findings
from izin.console.terminal.ledger_session import open_ledger
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    kafka_settings,
    out,
    print_json,
)
from izin.iys.token_policy import TokenPolicy
from izin.runtime import kafka
from izin.runtime.registry import codec
from izin.runtime.settings import IysSettings, LedgerSettings, SinkSettings, StreamSettings
from izin.sinks.ledger import brands as registry
from izin.sinks.ledger import reads, sequences, stream_progress
from izin.sinks.ledger.db.migrate import migrate, pending

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from izin.sinks.ledger.db.connection import Ledger

T = TypeVar("T")

_TIMEOUT = 5.0
_ANSWERS_WITHIN = 15.0
"""So long the ledger may take for an answer; migrations may take longer."""
_CHECK_WIDTH, _STATE_WIDTH = 12, 7


def doctor(
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Create topics, set their settings, run migrations.")
    ] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Check broker, topics, order worker, dead letters, database, migrations, sink worker,
    pulls from İYS, deadlines, brands, missing events, registry and İYS, and say what to do about
    each.

    Changes nothing without --fix, and spends no token call at İYS. Exit code 1 if anything is
    wrong.
    """
    found: list[Finding] = []
    for one in findings(_CHECKS, fix):
        found.append(one)
        if output is OutputFormat.TABLE:
            _show(one)
    if output is OutputFormat.JSON:
        print_json([{"check": one.check, "state": one.state, "what": one.what} for one in found])
    if any(one.state is State.WRONG for one in found):
        raise typer.Exit(ExitCode.WRONG)


def _show(finding: Finding) -> None:
    """Print a finding as a row: a table that is drawn when all is known tells nothing till then."""
    row = Table.grid(padding=(0, 1))
    row.add_column(width=_CHECK_WIDTH)
    row.add_column(width=_STATE_WIDTH)
    row.add_column()
    # As text: what people entered is no markup.
    row.add_row(Text(finding.check), Text(finding.state), Text(finding.what))
    out.print(row)


def _broker(fix: bool) -> Iterator[Finding]:
    del fix  # a server is started by whoever keeps it
    settings = kafka_settings()
    servers = settings.bootstrap_servers
    try:
        kafka.admin(settings).list_topics(timeout=_TIMEOUT)
    except KafkaException as error:
        what = (
            f"Kafka at {servers}: {error.args[0].str()}; "
            "is it running, and is KAFKA_BOOTSTRAP_SERVERS right?"
        )
        yield Finding(check="broker", state=State.WRONG, what=what)
        return
    yield Finding(check="broker", state=State.OK, what=servers)


def _topics(fix: bool) -> Iterator[Finding]:
    settings = kafka_settings()
    made = kafka.ensure_topics(settings) if fix else ()
    if made:
        yield Finding(check="topics", state=State.FIXED, what=f"created {', '.join(made)}")
    mended = kafka.mend_topics(settings) if fix else ()
    if mended:
        yield Finding(check="topics", state=State.FIXED, what=f"settings of {', '.join(mended)}")
    faults = kafka.topic_faults(settings)
    for fault in faults:
        yield Finding(check="topics", state=State.WRONG, what=fault)
    if not faults:
        count = len(tuple(settings.topics))
        what = f"{count} topics, {settings.partitions} partitions each where keyed"
        yield Finding(check="topics", state=State.OK, what=what)


def _order(fix: bool) -> Iterator[Finding]:
    del fix  # a worker is started by whoever keeps it
    settings = kafka_settings()
    topics = settings.topics
    group = f"{settings.topic_prefix}{StreamSettings().app_id}-order"
    lanes = [
        consumer_lag.unread(settings, lane, consumer_lag.committed(settings, group, lane))
        for lane in (topics.express, topics.events)
    ]
    yield lag_checks.of_unread(lag_checks.ORDER, lanes, now=datetime.now(UTC))


def _dead_letters(fix: bool) -> Iterator[Finding]:
    del fix  # each needs a person
    since = datetime.now(UTC) - lag_checks.LETTERS_WITHIN
    yield lag_checks.of_dead_letters(consumer_lag.dead_letters_since(kafka_settings(), since))


def _database(fix: bool) -> Iterator[Finding]:
    del fix  # a server is started by whoever keeps it
    url = _ledger_settings().database_url.get_secret_value()
    with psycopg.connect(url) as connection:
        version = connection.info.server_version // 10000
    yield Finding(check="database", state=State.OK, what=f"PostgreSQL {version}")


def _migrations(fix: bool) -> Iterator[Finding]:
    url = _ledger_settings().database_url.get_secret_value()
    if fix and (applied := asyncio.run(migrate(url))):
        yield Finding(check="migrations", state=State.FIXED, what=f"ran {', '.join(applied)}")
    missing = asyncio.run(_within(pending(url)))
    if missing:
        what = f"{', '.join(missing)} not run; run: izin doctor --fix"
        yield Finding(check="migrations", state=State.WRONG, what=what)
    else:
        yield Finding(check="migrations", state=State.OK, what="the ledger is up to date")


def _sink(fix: bool) -> Iterator[Finding]:
    del fix  # a worker is started by whoever keeps it
    settings = kafka_settings()
    # The ledger first: what comes meanwhile is then unread, and never read before it was written.
    positions = _asked(reads.ingested)
    found = consumer_lag.unread(settings, settings.topics.decisions, positions)
    yield lag_checks.of_unread(lag_checks.SINK, [found], now=datetime.now(UTC))


def _pull(fix: bool) -> Iterator[Finding]:
    del fix  # a worker is started by whoever keeps it
    yield lag_checks.of_heard(_asked(stream_progress.heard), now=datetime.now(UTC))


def _deadlines(fix: bool) -> Iterator[Finding]:
    del fix  # time cannot be mended
    iys = IysSettings()
    pace = records_per_second(iys.requests_per_second, batch_size=SinkSettings().batch_size)
    yield from of_backlog(_asked(reads.backlog), now=datetime.now(UTC), pace=pace)


def _brands(fix: bool) -> Iterator[Finding]:
    del fix  # each needs a person
    brands = _asked(registry.every)
    if not brands:
        what = "none is registered yet: izin brands add"
        yield Finding(check="brands", state=State.SKIPPED, what=what)
        return
    policy = TokenPolicy(calls_per_hour=IysSettings().token_requests_per_hour)
    wrong = list(of_brands(brands, _asked(reads.parked), policy=policy, now=datetime.now(UTC)))
    yield from wrong
    if not wrong:
        what = f"{len(brands)} registered, and nothing of them waits for a person"
        yield Finding(check="brands", state=State.OK, what=what)


def _sequences(fix: bool) -> Iterator[Finding]:
    del fix  # only its source can bring what never came
    topics = kafka_settings().topics
    yield from of_missing(_asked(lambda ledger: sequences.missing(ledger, topics)))


def _ledger_settings() -> LedgerSettings:
    """Return how the ledger is reached, with a limit to how long it may take to let us in."""
    settings = LedgerSettings()
    limited = make_conninfo(settings.database_url.get_secret_value(), connect_timeout=int(_TIMEOUT))
    return settings.model_copy(update={"database_url": SecretStr(limited)})


def _asked(question: Callable[[Ledger], Awaitable[T]]) -> T:
    """Return what the ledger answers; raises TimeoutError where it does not."""

    async def ask() -> T:
        async with open_ledger(_ledger_settings()) as ledger:
            return await question(ledger)

    return asyncio.run(_within(ask()))


async def _within(work: Awaitable[T]) -> T:
    async with asyncio.timeout(_ANSWERS_WITHIN):
        return await work


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


_KAFKA = frozenset({"broker", "topics"})
_LEDGER = frozenset({"database", "migrations"})
_CHECKS = (
    Check(name="broker", ask=_broker),
    Check(name="topics", ask=_topics, needs=frozenset({"broker"})),
    Check(name="order", ask=_order, needs=_KAFKA),
    Check(name="dead-letters", ask=_dead_letters, needs=_KAFKA),
    Check(name="database", ask=_database),
    Check(name="migrations", ask=_migrations, needs=frozenset({"database"})),
    Check(name="sink", ask=_sink, needs=_KAFKA | _LEDGER),
    Check(name="pull", ask=_pull, needs=_LEDGER),
    Check(name="deadlines", ask=_deadlines, needs=_LEDGER),
    Check(name="brands", ask=_brands, needs=_LEDGER),
    Check(name="sequences", ask=_sequences, needs=_LEDGER),
    Check(name="registry", ask=_registry),
    Check(name="iys", ask=_iys),
)
