"""The benchmark ``sweep``: every key of two brands is swept against the simulator, at full size.

One process, real time, and the pacer of İYS's ten requests a second. What counts is how many of the
requests that a sweep may make, two a second, it makes.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import httpx
import typer
from iys_simulator.clock import wire_text
from iys_simulator.rules.consent import Consent
from iys_simulator.state import SimulatorState
from iys_simulator.store.accounts import Account, Brand as SimulatorBrand, Subscription
from iys_simulator.store.database import Database
from iys_simulator.store.register import Register
from pydantic import SecretStr
from rich.table import Table

from benchmarks.process_usage import peak_megabytes
from benchmarks.results import RunReport, progress
from benchmarks.simulator.load import run_simulator, save_consents, url_of
from benchmarks.sink.fixture import BRANDS, SinkFixture, sink_fixture
from benchmarks.sink.iys_account import PASSWORD, USERNAME
from izin.iys.client import IysClient
from izin.iys.rate_limit import Pace
from izin.iys.tokens import TokenAuth
from izin.ledger.access_tokens import LedgerTokenStore
from izin.ledger.rate_limits import LedgerPacer
from izin.ledger.record import LeaseOwner
from izin.ledger.sweep import sweeps
from izin.local import Postgres
from izin.runtime.settings import IysSettings, KafkaSettings
from izin.sinks.inbound.sweep import Sweeper
from izin.sinks.outbound.context import OutboundContext, RequestBudget

_LIMIT = 10.0
"""İYS's requests a second."""
_A_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepUse:
    """What a sweep made of its requests."""

    keys: int
    requests: int
    seconds: float
    """From the first request to the last one."""
    slots: float
    """How many requests it might have made in that time."""
    cpu_seconds: float
    """Of this process."""
    peak_mb: float
    confirmed: int
    wal_bytes: int
    """What PostgreSQL wrote ahead meanwhile."""

    @property
    def used(self) -> float:
        """The share of its requests that it made, in percent. Turns missed before the first
        request are made up.
        """
        return min(100.0, 100 * self.requests / self.slots)


def sweep(
    keys: Annotated[int, typer.Option(min=2000, help="Keys of both brands.")] = 1_000_000,
    rate: Annotated[float, typer.Option(min=0.1, max=_LIMIT, help="Requests a second.")] = 2,
) -> RunReport:
    """Sweep every key of two brands, and measure how many of its requests the sweep makes."""
    with (
        TemporaryDirectory(prefix="izin-bench-") as name,
        progress().status("filling İYS and the ledger") as status,
    ):
        folder = Path(name)
        _fill(folder / "register.db", keys)
        with (
            Postgres(folder) as postgres,
            run_simulator(folder, folder / "register.db") as simulator,
        ):
            address = url_of(simulator)
            _post(address, "settings", requestsPerSecond=int(_LIMIT), requestWindow="sliding")
            use = asyncio.run(
                measure_sweep(postgres.url, address, keys=keys, rate=rate, say=status.update)
            )
    table = Table(title=f"A sweep of {use.keys:,} keys at {rate:g} requests a second")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for what, figure in (
        ("requests", f"{use.requests:,}"),
        ("seconds", f"{use.seconds:,.0f}"),
        ("share of its requests", f"{use.used:.1f} %"),
        ("keys confirmed", f"{use.confirmed:,}"),
        ("CPU of the process, ms a request", f"{use.cpu_seconds / use.requests * 1000:,.0f}"),
        ("memory of the process at most, MB", f"{use.peak_mb:,.0f}"),
        ("PostgreSQL's log, bytes a key", f"{use.wal_bytes / use.keys:,.0f}"),
    ):
        table.add_row(what, figure)
    return RunReport(tables=[table], data={"sweep": asdict(use)}, figures=figures(use))


def figures(use: SweepUse) -> Mapping[str, float]:
    """Return the figure that has a bar."""
    return {"sweep-slots": use.used}


async def measure_sweep(
    url: str, simulator: str, *, keys: int, rate: float, say: Callable[[str], None]
) -> SweepUse:
    """Sweep a ledger of ``keys`` settled keys at ``url``, which the ``simulator`` has too."""
    async with sink_fixture(url, KafkaSettings(), keys=keys) as fixture:
        transport = _TimedTransport()
        settings = IysSettings(base_url=simulator, username=USERNAME, password=SecretStr(PASSWORD))
        pacer = LedgerPacer(fixture.ledger, Pace(rate=_LIMIT), address="sweep")
        await pacer.begin()
        store = LedgerTokenStore(ledger=fixture.ledger, account=USERNAME, address="sweep")
        auth = TokenAuth(settings, store)
        async with IysClient(settings, auth=auth, pacer=pacer, transport=transport) as client:
            sweeper = Sweeper(
                context=_context(fixture, client, pacer),
                budget=RequestBudget(rate, clock=time.monotonic),
                every=None,
            )
            # The token is there, as in a worker that runs.
            await client.brands(BRANDS[0])
            await sweeps.order(fixture.ledger, BRANDS, by="benchmark", now=datetime.now(UTC))
            before, used = await _written(fixture), time.process_time()
            while await sweeper.sweep():
                say(f"{len(transport.at):,} requests made")
            used = time.process_time() - used
            after = await _written(fixture)
        ended = await sweeps.latest(fixture.ledger)
    at = transport.at
    seconds = at[-1] - at[0]
    return SweepUse(
        keys=keys,
        requests=len(at),
        seconds=seconds,
        slots=seconds * rate + 1,
        cpu_seconds=used,
        peak_mb=peak_megabytes(os.getpid()),
        confirmed=sum(one.counts.confirmed for one in ended),
        wal_bytes=after - before,
    )


class _TimedTransport(httpx.AsyncHTTPTransport):
    """Notes when each query of many is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[float] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if "/status/" in request.url.path:
            self.at.append(time.monotonic())
        return await super().handle_async_request(request)


def _context(fixture: SinkFixture, client: IysClient, pacer: LedgerPacer) -> OutboundContext:
    return OutboundContext(
        ledger=fixture.ledger,
        client=client,
        topic_messages=fixture.topic_messages,
        clock=lambda: datetime.now(UTC),
        pacer=pacer,
        lease_owner=LeaseOwner(
            owner="1", lease=timedelta(seconds=60), call_within=timedelta(seconds=20)
        ),
        result_delay=timedelta(minutes=5),
        unforeseen=lambda _code: None,
    )


async def _written(fixture: SinkFixture) -> int:
    """Return how many bytes PostgreSQL has written ahead so far."""
    (row,) = await fixture.ledger.fetch(
        "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS bytes"
    )
    return int(row["bytes"])


def _fill(file: Path, keys: int) -> None:
    """Write the settled keys of the ledger's fixture into the register of a simulator."""
    database = Database(file)
    state = SimulatorState(database=database)
    account = Account(username=USERNAME, password=PASSWORD, iys_code=BRANDS[0])
    state.directory.add_account(account, Subscription(iys_code=BRANDS[0]))
    second = int(time.time()) - 2 * _A_DAY
    for code in BRANDS:
        state.directory.add_brand(SimulatorBrand(code=code, iys_code=BRANDS[0], name="Örnek"))
        save_consents(Register(database, code), _consents(keys // len(BRANDS), second), second)
    database.close()


def _consents(count: int, second: int) -> Iterator[Consent]:
    for number in range(1, count + 1):
        yield Consent(
            type="MESAJ",
            recipient_type="BIREYSEL",
            recipient=f"+9054{number:08d}",
            status="ONAY",
            source="HS_WEB",
            consent_date=wire_text(second - 60),
        )


def _post(simulator: str, what: str, **fields: Any) -> None:  # noqa: ANN401 - a setting's value
    url = f"{simulator}/__simulator__/{what}"
    httpx.post(url, json=fields, trust_env=False).raise_for_status()
