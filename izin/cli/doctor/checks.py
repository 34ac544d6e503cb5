"""``izin doctor``: checks of every part of the installation, in their order, and each one's remedy.

Living sink workers are in the ledger (``reads.living``), endpoints answer over HTTP. Processes are
not looked for: they may be on other machines.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from time import monotonic, sleep
from typing import Annotated, TypeVar

import httpx
import typer
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr
from rich.table import Table
from rich.text import Text

from izin.cli.dead_letters.listing import acknowledged
from izin.cli.doctor import faults, finding, rights
from izin.cli.doctor.faults import (
    of_automatic,
    of_backlog,
    of_brands,
    of_granted,
    of_memory,
    of_missing,
    of_secrets,
    of_webhooks,
    token_finding,
)
from izin.cli.doctor.finding import (
    Check,
    CheckState,
    DoctorFinding,
    findings,
    fixed,
    ok,
    skipped,
    wrong,
)
from izin.cli.doctor.iys_calls import CHECK, find_differences
from izin.cli.terminal import (
    OutputFormat,
    OutputOption,
    exit_if,
    kafka_settings,
    out,
    print_json,
    utc_now,
)
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.consent.forecast import records_per_second
from izin.iys.tokens import TokenPolicy
from izin.iys.wire_format import BrandPath
from izin.kafka import clients
from izin.kafka.bounded_reader import unread
from izin.ledger import brands as registry, offsets, reads, sequences, stream_progress
from izin.ledger.automatic_suspension import decisions
from izin.ledger.db import Ledger, pending
from izin.ledger.db.migrate import migrate, migrations
from izin.ledger.rate_limits import addresses
from izin.ledger.registry import granted
from izin.ledger.stored_secrets import census
from izin.ledger.webhooks import registry as subscribers
from izin.runtime.settings import (
    ApiSettings,
    ConsoleSettings,
    FeedsSettings,
    GateSettings,
    IntakeSettings,
    IysSettings,
    LedgerSettings,
    SinkSettings,
    StreamSettings,
)
from izin.runtime.settings.processes import HttpAddresses
from izin.schemas.fast import BUILD, TO_COMPILE
from izin.sinks.ingest.ingested_topics import identity
from izin.streams.ownership import DecidedOffsets

_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not listened on
T = TypeVar("T")
_TIMEOUT = 5.0
_QUERY_TIMEOUT = 15.0
"""Of one query of the ledger; migrations may take longer."""
_KAFKA = frozenset({"broker", "topics"})
_LEDGER = frozenset({"database", "migrations"})
OF_WORKERS = frozenset(
    {"order", "sink", "intake", "feeds", "gate", "webhooks", "api", "console", "roles"}
)
"""The checks that fail until workers have been started: before, it is the owner who checks."""
_CHECK_WIDTH, _STATE_WIDTH = 12, 7


def endpoint_url(settings: HttpAddresses) -> str:
    """Return where the process of these settings answers whether it is ready."""
    host = "127.0.0.1" if settings.host in _ANY_ADDRESS else settings.host
    return f"http://{host}:{settings.port}"


def endpoint_status(url: str, timeout: float) -> int | None:
    """Return the HTTP status of a process's readiness, None where nothing answers."""
    try:
        return httpx.get(f"{url}/health/ready", timeout=timeout, trust_env=False).status_code
    except httpx.HTTPError:
        return None


def _broker() -> Iterator[DoctorFinding]:
    settings = kafka_settings()
    with clients.broker_errors(settings):
        clients.admin(settings).list_topics(timeout=_TIMEOUT)
    limit = clients.transaction_limit(settings)
    if limit is not None and limit > clients.TRANSACTION_LIMIT:
        yield wrong(
            "broker",
            f"transaction.max.timeout.ms is {limit}: for so long another producer's open "
            "transaction holds back the opt-outs behind it; set it to "
            f"{clients.TRANSACTION_LIMIT} at every broker, and transaction.timeout.ms of the "
            "producers below (docs/runbook.md)",
        )
    else:
        yield ok("broker", settings.bootstrap_servers)


def _topics() -> Iterator[DoctorFinding]:
    settings = kafka_settings()
    faults = clients.topic_faults(
        settings, finding.remedies(settings) if clients.missing_topics(settings) else {}
    )
    yield from (wrong("topics", fault) for fault in faults)
    if not faults:
        yield ok(
            "topics",
            f"{len(tuple(settings.topics))} topics, {settings.partitions} partitions each where "
            "keyed",
        )


def _order() -> Iterator[DoctorFinding]:
    settings = kafka_settings()
    # The positions first: events that come meanwhile are then undecided, not decided before.
    express, group = settings.topics.express, StreamSettings().group(settings)
    with closing(DecidedOffsets(settings, clients.codec(settings))) as decided:
        offsets = decided.read()
        lanes = [unread(settings, lane, offsets) for lane in (express, settings.topics.events)]
        running = clients.members(settings, group)
        waiting = {(express.name, number) for number in lanes[0].partitions if running}
        give_up_at = monotonic() + faults.DECIDED_WITHIN.total_seconds()
        while waiting and monotonic() < give_up_at:
            sleep(1)
            now = decided.read()
            waiting = {one for one in waiting if now.get(one, 0) <= offsets.get(one, 0)}
    if running and clients.is_contested(settings, group):
        yield wrong(
            "order",
            "a second worker was started with an IZIN_INSTANCE_ID that is in use, and was ended "
            "(the log has 'instance id in use twice'); give each order worker one of its own",
        )
    yield faults.of_worker(
        faults.ORDER,
        lanes,
        running=running,
        now=utc_now(),
        undecided={number for _, number in waiting},
    )


def _dead_letters() -> Iterator[DoctorFinding]:
    settings = kafka_settings()
    found = faults.dead_letters_since(
        settings, clients.codec(settings), datetime.now(UTC) - faults.DEAD_LETTERS_WITHIN
    )
    known = acknowledged(settings.topics.dead_letters.name, found)
    yield faults.of_dead_letters(len(found), known)


async def _server_version(ledger: Ledger) -> int:
    async with ledger.transaction() as connection:
        return connection.info.server_version


def _fix_migrations(_stopped: bool) -> Iterator[DoctorFinding]:
    if applied := asyncio.run(migrate(_ledger_settings().database_url.get_secret_value())):
        yield fixed("migrations", f"ran {', '.join(applied)}")


def _migrations() -> Iterator[DoctorFinding]:
    missing = asyncio.run(_within(pending(_ledger_settings().database_url.get_secret_value())))
    ends = [f"; {one.name} {one.ends}" for one in migrations() if one.ends and one.name in missing]
    yield (
        wrong(
            "migrations",
            f"{', '.join(missing)} not run{''.join(ends)}; run: izin doctor --fix",
        )
        if missing
        else ok("migrations", "the ledger is up to date")
    )


def _sink() -> Iterator[DoctorFinding]:
    settings = kafka_settings()
    # The ledger first: records that come meanwhile are then unread, not read before they existed.
    positions = _query(reads.ingested)
    found = [
        unread(settings, topic, positions)
        for topic in (settings.topics.decisions, settings.topics.gate_receipts)
    ]
    name = settings.topics.decisions.name
    cluster_id, topic_id, _ = identity(settings, name)
    for other in _query(partial(offsets.of_other, name, cluster_id, topic_id)):
        yield wrong("sink", str(other))
    yield faults.of_worker(faults.SINK, found, running=_query(reads.living), now=utc_now())
    yield from faults.of_held(_query(offsets.held))


def _endpoint(
    check: str,
    of_process: type[IntakeSettings | FeedsSettings | GateSettings | ApiSettings | ConsoleSettings],
) -> Iterator[DoctorFinding]:
    settings = of_process()
    if settings.model_fields_set & {"host", "port"}:
        url = endpoint_url(settings)
        yield faults.of_endpoint(check, url, endpoint_status(url, _TIMEOUT))
    else:
        host, port = (f"IZIN_{check.upper()}_{one}" for one in ("HOST", "PORT"))
        yield skipped(check, f"neither {host} nor {port} is set here, so none is known")


def _deadlines() -> Iterator[DoctorFinding]:
    pace = records_per_second(
        IysSettings().requests_per_second, batch_size=SinkSettings().batch_size
    )
    yield from of_backlog(_query(reads.backlog), now=utc_now(), pace=pace)


def _brands() -> Iterator[DoctorFinding]:
    brands = _query(registry.every)
    if not brands:
        yield skipped("brands", "none is registered yet: izin brands add")
        return
    found = list(
        of_brands(
            brands,
            _query(reads.parked),
            policy=TokenPolicy(calls_per_hour=IysSettings().token_requests_per_hour),
            now=utc_now(),
        )
    )
    found += of_automatic(_query(decisions.undecided))
    yield from found
    if not found:
        yield ok("brands", f"{len(brands)} registered, and none needs a person")


def _registry() -> Iterator[DoctorFinding]:
    settings = kafka_settings()
    if settings.registry_url is None:
        yield skipped("registry", "SCHEMA_REGISTRY_URL is not set; records carry Avro fingerprints")
        return
    clients.codec(settings)
    yield ok("registry", f"{settings.registry_url} accepts our schemas")


def _iys() -> Iterator[DoctorFinding]:
    url = IysSettings().base_url
    try:
        # Needs no token: İYS's API answers a call without one with 401.
        answer = httpx.get(f"{url}/sps/0/brands", timeout=_TIMEOUT)
    except httpx.HTTPError as error:
        yield wrong(
            "iys",
            f"{url}: {type(error).__name__}; is IYS_BASE_URL right, and may this machine's address "
            "call İYS (they keep a list)?",
        )
        return
    yield of_iys(url, answer.status_code)


def of_iys(url: str, status: int) -> DoctorFinding:
    """Return the finding from the status of a call without a token."""
    match status:
        case httpx.codes.UNAUTHORIZED | httpx.codes.TOO_MANY_REQUESTS:  # the workers ask, too
            return ok("iys", f"{url} answers")
        case httpx.codes.FORBIDDEN:
            return wrong(
                "iys", f"{url} refuses this machine's address (403); have İYS add it to their list"
            )
        case _:
            return wrong(
                "iys", f"{url} answers {status}, not as İYS's API does; is IYS_BASE_URL right?"
            )


def _ledger_settings() -> LedgerSettings:
    """Return the settings of the ledger, with a limit to the time a connection may take."""
    settings = LedgerSettings()
    limited = make_conninfo(settings.database_url.get_secret_value(), connect_timeout=int(_TIMEOUT))
    return settings.model_copy(update={"database_url": SecretStr(limited)})


def _query(question: Callable[[Ledger], Awaitable[T]]) -> T:
    """Return what the ledger answers. Raises TimeoutError where it does not in time."""
    return run_on_ledger(lambda ledger: _within(question(ledger)), _ledger_settings())


async def _within(work: Awaitable[T]) -> T:
    async with asyncio.timeout(_QUERY_TIMEOUT):
        return await work


def _build(build: str) -> str:
    remedy = (
        "" if build == "compiled" else f", at two thirds of the speed; for all of it: {TO_COMPILE}"
    )
    return f"the hot path is {build}{remedy}"


CHECKS = (
    Check(name="build", run=lambda: [ok("build", _build(BUILD))]),
    Check(name="broker", run=_broker),
    Check(
        name="topics",
        run=_topics,
        fix=lambda stopped: finding.fix_topics(kafka_settings(), stopped=stopped),
        needs=frozenset({"broker"}),
    ),
    Check(name="acls", run=lambda: rights.of_kafka(kafka_settings()), needs=frozenset({"broker"})),
    Check(name="order", run=_order, needs=_KAFKA),
    Check(name="dead-letters", run=_dead_letters, needs=_KAFKA),
    Check(
        name="database",
        run=lambda: [ok("database", f"PostgreSQL {_query(_server_version) // 10000}")],
    ),
    Check(name="migrations", run=_migrations, fix=_fix_migrations, needs=frozenset({"database"})),
    Check(
        name="roles",
        run=lambda: rights.of_login(_query(reads.rights), production=_ledger_settings().production),
        needs=frozenset({"database"}),
    ),
    Check(name="memory", run=lambda: of_memory(_query(reads.memory)), needs=_LEDGER),
    Check(name="secrets", run=lambda: of_secrets(_query(census)), needs=_LEDGER),
    Check(name="sink", run=_sink, needs=_KAFKA | _LEDGER),
    Check(name="intake", run=partial(_endpoint, "intake", IntakeSettings)),
    Check(name="feeds", run=partial(_endpoint, "feeds", FeedsSettings)),
    Check(name="gate", run=partial(_endpoint, "gate", GateSettings)),
    Check(name="api", run=partial(_endpoint, "api", ApiSettings)),
    Check(name="console", run=partial(_endpoint, "console", ConsoleSettings)),
    Check(
        name="webhooks",
        run=lambda: of_webhooks(
            _query(subscribers.every), running=_query(reads.living_deliverers), now=utc_now()
        ),
        needs=_LEDGER,
    ),
    Check(
        name="pull",
        run=lambda: faults.of_pulls(_query(stream_progress.read), now=utc_now()),
        needs=_LEDGER,
    ),
    Check(name="addresses", run=lambda: faults.of_addresses(_query(addresses)), needs=_LEDGER),
    Check(name="deadlines", run=_deadlines, needs=_LEDGER),
    Check(name="brands", run=_brands, needs=_LEDGER),
    Check(
        name="granted",
        run=lambda: of_granted(
            _query(granted.readings), _query(granted.lost_rights), now=utc_now()
        ),
        needs=_LEDGER,
    ),
    Check(
        name="sequences",
        run=lambda: of_missing(_query(partial(sequences.missing, topics=kafka_settings().topics))),
        needs=_LEDGER,
    ),
    Check(name="registry", run=_registry),
    Check(name="iys", run=_iys),
    Check(name="token", run=lambda: [_query(token_finding)], needs=_LEDGER | {"iys"}),
)
"""Each is printed as it comes, so the one that keeps the command waiting is the next."""


def doctor(
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Create topics, correct their settings, run migrations.")
    ] = False,
    running: Annotated[
        bool,
        typer.Option(
            help="Check that workers run. --no-running says that none does: before their first "
            "start, or since you stopped them. Only then does --fix create a lost state topic."
        ),
    ] = True,
    iys: Annotated[
        bool,
        typer.Option(
            "--iys",
            help="Check İYS alone (IYS_BASE_URL), by a token and calls that only read: what "
            "differs from what izin relies on is printed.",
        ),
    ] = False,
    brand: Annotated[
        int | None, typer.Option(min=1, help="With --iys: about this brand (brandCode).")
    ] = None,
    iys_code: Annotated[
        int | None, typer.Option(min=1, help="With --brand: the provider's number (iysCode).")
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Check every part of the installation, and say what to do about each fault.

    Checked are broker, topics, rights at Kafka, order workers, dead letters, database, migrations,
    rights at PostgreSQL, secrets in the ledger, sink workers, the intake, the feeds, the gate, the
    API, pulls from İYS, deadlines, brands, missing events, schema registry and İYS, by a call with
    our account's token. Nothing is changed without --fix. With --iys it is İYS alone, at any
    address, such as its integration sandbox: a token and calls that only read, within the limits
    that all processes share. Exit code 1 if anything is wrong.
    """
    if (brand is None) is not (iys_code is None) or (brand is not None and not iys):
        raise typer.BadParameter("--brand and --iys-code go together, and with --iys")
    found: list[DoctorFinding] = []
    made = [check for check in CHECKS if running or check.name not in OF_WORKERS]
    if iys:
        about = None if brand is None else BrandPath(iys_code=iys_code or 0, brand_code=brand)
        ask = partial(find_differences, brand=about, now=utc_now())
        made = [
            Check(name="iys", run=_iys),
            Check(
                name=CHECK,
                run=lambda: run_on_ledger(ask, _ledger_settings()),
                needs=frozenset({"iys"}),
            ),
        ]
    for one in findings(made, fix=fix, stopped=not running):
        found.append(one)
        if output is OutputFormat.TABLE:
            _print(one)
    if output is OutputFormat.JSON:
        print_json([asdict(one) for one in found])
    exit_if([one for one in found if one.state is CheckState.WRONG])


def _print(finding: DoctorFinding) -> None:
    """Print a finding at once; a whole table could be printed at the end only."""
    row = Table.grid(padding=(0, 1))
    row.add_column(width=_CHECK_WIDTH)
    row.add_column(width=_STATE_WIDTH)
    row.add_column()
    # As text: input is no markup.
    row.add_row(Text(finding.check), Text(finding.state), Text(finding.what))
    out.print(row)
