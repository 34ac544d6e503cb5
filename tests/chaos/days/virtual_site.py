"""One installation on virtual time: simulator, ledger, sinks, and the order stage beside them.

The sinks are the worker's own loops over the ledger's own SQL. The SQL reads the loop's clock: a
function in an earlier schema replaces PostgreSQL's. The simulator is
reached over a transport that may be down or lose replies.
"""

import asyncio
import secrets
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, LiteralString, TypeVar

import httpx
import psycopg
import typer
from iys_simulator.app import build_app
from iys_simulator.clock import Clock
from iys_simulator.gateway.connection_drops import ConnectionDroppedError
from iys_simulator.settings import Settings
from iys_simulator.state import SimulatorState
from iys_simulator.store.accounts import Account, Brand as SimulatorBrand, Subscription
from psycopg import AsyncCursor
from psycopg.rows import DictRow, dict_row
from pydantic import SecretStr

from benchmarks.results import RunReport
from izin.consent import Consent, ConsentEvent, DecisionKind, decide
from izin.iys.client import IysClient
from izin.iys.rate_limit import Pace
from izin.iys.tokens import TokenAuth
from izin.ledger import offsets
from izin.ledger.access_tokens import LedgerTokenStore
from izin.ledger.db import Connection, Ledger, Notifications
from izin.ledger.db.leases import enter
from izin.ledger.db.migrate import migrate
from izin.ledger.db.notifications import NAMES
from izin.ledger.rate_limits import LedgerPacer
from izin.ledger.record import Brand, LeaseOwner, TopicMessages
from izin.local import Postgres, create_database
from izin.runtime.process import cancel_all
from izin.runtime.settings import (
    IysSettings,
    KafkaSettings,
    LedgerSettings,
    SinkSettings,
)
from izin.schemas.codec import Codec
from izin.sinks.ingest.decision_reader import DecisionReader, IncomingDecision
from izin.sinks.ingest.ingester import Ingester
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.loops import outbound_loops
from tests.chaos.command import Show, run_stage
from tests.chaos.days.virtual_loop import VirtualLoop, run as run_loop
from tests.support.builders import BRAND, CUSTOMER, a_decision_record, as_admitted
from tests.support.registration import register_brand

T = TypeVar("T")

BEGINS_AT = datetime(2026, 10, 26, 5, 30, tzinfo=UTC)
"""A Monday. Its Wednesday is half a day and its Thursday the Republic's: both shift the terms."""
HOUR = 3600.0
DAY = 24 * HOUR
_ACTIVATED_AT = datetime(2020, 1, 1, tzinfo=UTC)
_TOPIC, _TOPIC_ID = "consent-decisions", "topic"
USERNAME, PASSWORD = "ada@example.com", "not-a-password"
ADDRESS = "192.0.2.1"
BRANDS = (BRAND, BRAND + 1)
RESULT_DELAY = timedelta(seconds=300)
_LATENCY = 0.05
_CLOCK = """
CREATE SCHEMA virtual_clock;
CREATE FUNCTION virtual_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT current_setting('virtual_clock.now')::timestamptz $$;
"""


class Outage(StrEnum):
    """A fault of the connection to İYS, or of İYS itself."""

    DOWN = "no connection"
    LOST = "replies lost after their effect"
    BUSY = "İYS answers 503"
    HELD = "every second call of opt-ins held by a silent network"


@dataclass(kw_only=True)
class VirtualTime:
    """The one clock: the start instant plus the loop's time."""

    loop: VirtualLoop
    began_at: datetime

    def now(self) -> datetime:
        """Return the current instant."""
        return self.began_at + timedelta(seconds=self.loop.time())

    def seconds(self) -> float:
        """Return the current instant in epoch seconds."""
        return self.began_at.timestamp() + self.loop.time()


class _PollingConnection(psycopg.AsyncConnection[DictRow]):
    """A session that waits for a lock in virtual time, so that its owner can go on."""

    async def execute(self, query: str, *more: object, **how: object) -> AsyncCursor[DictRow]:
        """Execute the statement; a lock that is taken is tried again."""
        if "pg_advisory_lock(" not in query:
            return await super().execute(query, *more, **how)
        tried = query.replace("pg_advisory_lock(", "pg_try_advisory_lock(")
        while True:
            cursor = await super().execute(tried, *more, **how)
            if next(iter((await cursor.fetchone() or {}).values())):
                return cursor
            await asyncio.sleep(_LATENCY)


class TimedLedger(Ledger):
    """The ledger, whose database reads the virtual clock."""

    def __init__(self, settings: LedgerSettings, *, owner: int, time: VirtualTime) -> None:
        super().__init__(settings, owner=owner)
        self._time = time

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """Yield a connection with the instant of the virtual clock, in a transaction."""
        async with super().reading() as connection:
            await connection.execute(*self._instant(is_local=True))
            yield connection

    async def fetch(
        self, query: LiteralString, values: Mapping[str, Any] | None = None
    ) -> list[DictRow]:
        """Return the rows of one query, in a transaction that has the instant."""
        async with self.reading() as connection:
            return await (await connection.execute(query, values)).fetchall()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """Yield a connection of its own, likewise."""
        async with await _PollingConnection.connect(
            self._url, autocommit=True, row_factory=dict_row
        ) as connection:
            await connection.execute(*self._instant(is_local=False))
            yield connection

    def _instant(self, *, is_local: bool) -> tuple[Any, list[object]]:
        return "SELECT set_config('virtual_clock.now', %s, %s)", [
            self._time.now().isoformat(),
            is_local,
        ]


class SimulatorTransport:
    """The way to the simulator; ``token_calls`` are the instants of token requests."""

    def __init__(self, simulator: SimulatorState, time: VirtualTime) -> None:
        self._app = build_app(simulator)
        self._time = time
        self.outage: Outage | None = None
        self.token_calls: list[float] = []
        self.calls = 0
        self._opt_ins = 0
        self._held: list[tuple[httpx.ASGITransport, httpx.Request]] = []

    def of(self, address: str) -> "TransportOfAddress":
        """Return the transport of the processes behind an address."""
        return TransportOfAddress(self, httpx.ASGITransport(self._app, client=(address, 40_000)))

    async def send(self, inner: httpx.ASGITransport, request: httpx.Request) -> httpx.Response:
        """Return the simulator's reply, unless there is an outage."""
        self.calls += 1
        if request.url.path == "/oauth2/token":
            self.token_calls.append(self._time.seconds())
        await asyncio.sleep(_LATENCY)
        if self.outage is Outage.DOWN:
            raise httpx.ConnectError("down", request=request)
        if self.outage is Outage.HELD and b'"ONAY"' in request.content:
            self._opt_ins += 1
            if self._opt_ins % 2:
                self._held.append((inner, request))
                await asyncio.Event().wait()  # until its client gives it up
        if self.outage is Outage.BUSY:
            busy = {"errors": [{"code": "H192", "message": "busy"}]}
            return httpx.Response(503, json=busy, request=request)
        try:
            answer = await inner.handle_async_request(request)
        except ConnectionDroppedError:
            raise httpx.ReadError("dropped", request=request) from None
        await answer.aread()
        await asyncio.sleep(_LATENCY)
        if self.outage is Outage.LOST:
            raise httpx.ReadError("lost", request=request)
        return answer

    async def end_outage(self) -> None:
        """End the outage; what the network has held arrives, though nobody awaits it any more."""
        self.outage = None
        held, self._held = self._held, []
        for inner, request in held:
            await inner.handle_async_request(request)


@dataclass(frozen=True, slots=True)
class TransportOfAddress(httpx.AsyncBaseTransport):
    """The transport of the processes behind an address."""

    common: SimulatorTransport
    inner: httpx.ASGITransport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the simulator's reply."""
        return await self.common.send(self.inner, request)


def create_simulator(time: VirtualTime) -> SimulatorState:
    """Return a simulator with our account and brands and the documented limits."""
    simulator = SimulatorState(
        Settings(request_window="sliding", hidden_window=0),
        Clock(time.seconds),
        pause=asyncio.sleep,
    )
    simulator.directory.add_account(
        Account(username=USERNAME, password=PASSWORD, iys_code=BRAND),
        Subscription(iys_code=BRAND),
    )
    for code in BRANDS:
        simulator.directory.add_brand(
            SimulatorBrand(
                code=code, iys_code=BRAND, name="Örnek", activated_at="2020-01-01 00:00:00"
            )
        )
    return simulator


@dataclass(kw_only=True)
class VirtualSinks:
    """The sink processes; one that is killed leaves its data as it is."""

    site: "VirtualSite"
    unforeseen: list[str] = field(default_factory=list)
    bells: Notifications = field(default_factory=Notifications)
    _running: dict[int, asyncio.Task[None]] = field(default_factory=dict)

    def notify(self) -> None:
        """Wake the loops, as a NOTIFY of the database does."""
        for name in NAMES:
            self.bells.wake(name)

    def start(self, number: int) -> None:
        """Start a sink, unless it runs."""
        if number not in self._running:
            addresses = self.site.addresses
            work = self._run(addresses[number % len(addresses)])
            self._running[number] = asyncio.create_task(work, name=f"sink {number}")

    def start_all(self) -> None:
        """Start every sink that does not run."""
        for number in range(self.site.count):
            self.start(number)

    async def kill(self, number: int) -> None:
        """Kill a sink at any point; raises the error that ended it before."""
        task = self._running.pop(number, None)
        if task is None:
            return
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def end(self) -> None:
        """End all."""
        for number in range(self.site.count):
            await self.kill(number)

    def check(self) -> None:
        """Raise the error of a sink that should run."""
        for task in self._running.values():
            if task.done():
                task.result()

    def ledger(self) -> TimedLedger:
        """Return the ledger as one process opens it."""
        settings = LedgerSettings(database_url=SecretStr(self.site.database_url), pool_size=3)
        return TimedLedger(settings, owner=secrets.randbelow(2**31 - 1) + 1, time=self.site.time)

    async def _run(self, address: str) -> None:
        iys = IysSettings(
            base_url="http://iys.example.com",
            egress_address=address,
            username=USERNAME,
            password=SecretStr(PASSWORD),
            result_delay=RESULT_DELAY + timedelta(seconds=1),
        )
        sink = SinkSettings(poll_interval=self.site.poll_interval)
        site, loop = self.site, self.site.loop
        async with AsyncExitStack() as stack:
            ledger = await stack.enter_async_context(self.ledger())
            await enter(await stack.enter_async_context(ledger.session()), ledger.owner)
            pacer = LedgerPacer(ledger, Pace(), address=address, clock=loop.time)
            await pacer.begin()
            store = LedgerTokenStore(ledger=ledger, account=USERNAME, address=address)
            auth = TokenAuth(iys, store, now=site.time.now)
            client = await stack.enter_async_context(
                IysClient(
                    iys,
                    auth=auth,
                    pacer=pacer,
                    transport=site.transport.of(address),
                    clock=loop.time,
                )
            )
            context = OutboundContext(
                ledger=ledger,
                client=client,
                topic_messages=site.messages,
                clock=site.time.now,
                pacer=pacer,
                lease_owner=LeaseOwner(
                    owner=ledger.owner,
                    lease=sink.lease,
                    call_within=iys.timeout,
                    account=iys.username,
                    address=address,
                ),
                result_delay=iys.result_delay,
                unforeseen=self.unforeseen.append,
            )
            lanes = [
                asyncio.create_task(work, name=name)
                for name, work in (
                    *outbound_loops(context, sink, self.bells, asyncio.Event()),
                    *(("beside", work) for work in site.beside(context)),
                )
            ]
            try:
                done, _ = await asyncio.wait(lanes, return_when=asyncio.FIRST_EXCEPTION)
                for lane in done:
                    lane.result()
            finally:
                await cancel_all(lanes)


def set_clock(database_url: str) -> None:
    """Install the virtual clock in the database: its schema is searched before PostgreSQL's own."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_CLOCK)
        row: DictRow | None = (
            connection.cursor(row_factory=dict_row)
            .execute("SELECT quote_ident(current_database()) AS name")
            .fetchone()
        )
        assert row is not None
        connection.execute(
            f"ALTER DATABASE {row['name']} SET search_path = virtual_clock, public, pg_catalog"
        )


@dataclass(kw_only=True)
class VirtualSite:
    """What a campaign on virtual time runs; ``states`` are the consents that were decided."""

    loop: VirtualLoop
    database_url: str
    count: int
    """How many sinks."""
    poll_interval: timedelta
    addresses: Sequence[str] = (ADDRESS,)
    """Which they call from, in turn."""
    beside: Callable[[OutboundContext], Iterable[Coroutine[Any, Any, None]]] = lambda _: ()
    """What each sink runs beside its outbound loops."""
    states: dict[str, Consent] = field(default_factory=dict)
    decided: int = 0
    """Decisions so far: the offset of the next."""

    def __post_init__(self) -> None:
        self.time = VirtualTime(loop=self.loop, began_at=BEGINS_AT)
        self.simulator = create_simulator(self.time)
        self.transport = SimulatorTransport(self.simulator, self.time)
        self.settings = KafkaSettings(topic_prefix="", partitions=1)
        self._codec = Codec()
        self.messages = TopicMessages(self._codec, self.settings.topics)
        self.sinks = VirtualSinks(site=self)

    @asynccontextmanager
    async def open(self, *brands: int) -> AsyncIterator[Ledger]:
        """Provide the ledger, with these brands; the sinks are not started."""
        await migrate(self.database_url)
        await asyncio.to_thread(set_clock, self.database_url)
        async with self.sinks.ledger() as ledger:
            for code in brands:
                brand = Brand(
                    brand_code=code,
                    iys_code=BRAND,
                    customer_id=CUSTOMER,
                    name="Örnek",
                    activated_at=_ACTIVATED_AT,
                )
                await self.register(ledger, brand)
            await offsets.positions(ledger, _TOPIC, [0], cluster_id="cluster", topic_id=_TOPIC_ID)
            yield ledger

    async def register(self, ledger: Ledger, brand: Brand) -> None:
        """Register ``brand`` here; at İYS it is another's to do."""
        await register_brand(ledger, self.messages, brand, by="test", now=self.time.now())

    async def decide(self, ledger: Ledger, events: Sequence[ConsentEvent]) -> None:
        """Decide about events as the order stage does, and have the ledger take that."""
        decided = list(self._decisions(events))
        if not decided:
            return
        ingester = Ingester(
            ledger=ledger,
            topic_messages=self.messages,
            codec=self._codec,
            settings=self.settings,
            clock=self.time.now,
            wait=timedelta(seconds=1),
        )
        before, self.decided = self.decided, self.decided + len(decided)
        await ingester.store(_TOPIC, _TOPIC_ID, decided, {0: (before, self.decided)})
        self.sinks.notify()

    def _decisions(self, events: Iterable[ConsentEvent]) -> Iterator[IncomingDecision]:
        reader, offset = DecisionReader(self._codec), self.decided
        for event in events:
            admitted = as_admitted(event, self.time.now())
            decision = decide(self.states.get(str(admitted.key)), admitted)
            self.states[str(admitted.key)] = decision.consent
            if decision.kind is not DecisionKind.DUPLICATE:
                record = a_decision_record(decision, offset=offset)
                offset += 1
                yield reader.read(self._codec.encode("Decision", record))

    @property
    def counters(self) -> Any:  # noqa: ANN401  # JSON of the simulator
        """What the simulator counted, by operation and code."""
        return self.simulator.counters.as_dict()

    def codes_among(self, *unwanted: str) -> list[str]:
        """Return which of these codes İYS answered with, and how often."""
        codes: dict[str, int] = self.counters["codes"]
        return [f"{codes[code]} × {code}" for code in unwanted if code in codes]


@dataclass(kw_only=True)
class VirtualCampaign:
    """A campaign on virtual time, with what each of them is given."""

    loop: VirtualLoop
    database_url: str
    folder: Path
    seed: int
    on_progress: Show

    def site(self, *, poll_interval: timedelta, count: int = 1, **more: Any) -> VirtualSite:  # noqa: ANN401  # as VirtualSite has them
        """Return an installation of its own, with so many sinks."""
        return VirtualSite(
            loop=self.loop,
            database_url=self.database_url,
            count=count,
            poll_interval=poll_interval,
            **more,
        )


def run_campaign(
    stage: str,
    folder: Path,
    campaign: Callable[..., Any],
    report: Callable[[Any, float], RunReport],
    **options: object,
) -> typer.Exit:
    """Run the ``campaign`` of a stage, a ``VirtualCampaign`` with these options, and conclude it;
    ``report`` gets its verdict, and how many seconds it took.
    """

    def run(show: Show) -> object:
        with Postgres(folder) as postgres:
            url = create_database(postgres.url, stage)
            given = {"database_url": url, "folder": folder, "on_progress": show}
            return run_loop(lambda loop: campaign(loop=loop, **given, **options).run())

    return run_stage(stage, folder, run, report)
