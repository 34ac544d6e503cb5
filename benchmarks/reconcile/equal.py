"""The benchmark ``reconcile``: a brand of which İYS, ledger and topics agree, by its command.

Every key has a row, a record in both topics and an observation in the history. The command is a
process of its own: seconds count from its start to its end.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import psycopg
import typer
from rich.table import Table

from benchmarks.gate.published import publish
from benchmarks.process_usage import run_measured
from benchmarks.results import RunReport, progress
from benchmarks.sink.fixture import BRANDS, sink_fixture
from benchmarks.worker.installation import installation
from izin.local import Postgres
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec

_PARTITIONS = 12
_BRAND = BRANDS[0]
_UNEQUAL = 1
"""The exit code of the command where anything differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileRun:
    """What one run of the command took and gave."""

    keys: int
    seconds: float
    peak_megabytes: float
    differences: int


def reconcile(
    keys: Annotated[int, typer.Option(min=100, help="Keys of the brand.")] = 1_000_000,
) -> RunReport:
    """Measure how long a brand takes whose sides agree, and the memory of the command."""
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    with (
        TemporaryDirectory(prefix="izin-bench-") as name,
        progress().status(f"filling {keys:,} keys") as status,
        installation(Path(name) / "kafka", partitions=_PARTITIONS) as settings,
        Postgres(Path(name) / "postgres") as postgres,
    ):
        asyncio.run(_fill(postgres.url, settings, keys, at))
        topics = settings.topics
        publish(settings, topics.desired_consents, _consents(keys, at))
        publish(settings, topics.permissions, _permissions(keys, at))
        status.update(f"comparing {keys:,} keys")
        found = _compare(postgres.url, settings)
    table = Table(title=f"izin reconcile, {found.keys:,} keys of which every side says the same")
    for heading in ("seconds", "peak, MB", "keys/s", "differences"):
        table.add_column(heading, justify="right")
    rate = f"{found.keys / found.seconds:,.0f}"
    peak = f"{found.peak_megabytes:.0f}"
    table.add_row(f"{found.seconds:.1f}", peak, rate, str(found.differences))
    is_right = (found.keys, found.differences) == (keys, 0)
    what = f"{found.keys} keys were compared, and {found.differences} differ"
    return RunReport(
        tables=[table],
        data=asdict(found),
        figures={"reconcile": found.seconds, "reconcile-memory": found.peak_megabytes},
        failures=[] if is_right else [what],
    )


async def _fill(url: str, settings: KafkaSettings, keys: int, at: datetime) -> None:
    """Fill a ledger with rows and observations."""
    statement = (resources.files("benchmarks.reconcile") / "equal_consents.sql").read_text("utf-8")
    async with (
        sink_fixture(url, settings, keys=0) as fixture,
        fixture.ledger.session() as connection,
    ):
        await connection.execute("DELETE FROM outbox")
        await connection.execute("SELECT create_month((now() AT TIME ZONE 'UTC')::date)")
        cursor = psycopg.AsyncClientCursor(connection)
        await cursor.execute(statement, {"brand": _BRAND, "count": keys, "at": at})
        await connection.execute("VACUUM ANALYZE consents, history")


def _consents(keys: int, at: datetime) -> Iterator[tuple[bytes, bytes]]:
    fields: dict[str, Any] = {
        **_shared(),
        "status": "ONAY",
        "previous_status": None,
        "effective_at": at,
        "origin_rank": 0,
        "event_id": "",
        "origin": "crm",
        "source": "HS_WEB",
        "consent_date": at,
        "registrable": True,
        "latest_onay_at": at,
        "latest_ret_at": None,
        "law_version": 2,
    }
    encode = Codec().template_encoder("Consent", fields, {"recipient", "event_id"})
    for number, key, recipient in _keys(keys):
        yield key, encode({"recipient": recipient, "event_id": f"filled-{number}"})


def _permissions(keys: int, at: datetime) -> Iterator[tuple[bytes, bytes]]:
    fields: dict[str, Any] = {
        **_shared(),
        "may_send": True,
        "previous_may_send": False,
        "reason": "registered",
        "desired": "ONAY",
        "registered": "ONAY",
        "registered_at": at,
        "consent_date": at,
        "since": at,
        "retailers": None,
    }
    encode = Codec().template_encoder("Permission", fields, {"recipient"})
    for _, key, recipient in _keys(keys):
        yield key, encode({"recipient": recipient})


def _shared() -> dict[str, Any]:
    return {
        "customer_id": "acme",
        "brand_code": _BRAND,
        "type": "MESAJ",
        "recipient_type": "BIREYSEL",
        "recipient": "",
    }


def _keys(count: int) -> Iterator[tuple[int, bytes, str]]:
    for number in range(1, count + 1):
        recipient = f"+9054{number:08d}"
        yield number, f"{_BRAND}/MESAJ/BIREYSEL/{recipient}".encode(), recipient


def _compare(url: str, settings: KafkaSettings) -> ReconcileRun:
    """Run the command; raises CalledProcessError where it fails."""
    environment = {
        "DATABASE_URL": url,
        "IZIN_PARTITIONS": str(settings.partitions),
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
    }
    given = (f"{name}={value}" for name, value in environment.items())
    words = ("reconcile", f"--brand={_BRAND}", "--output=json")
    argv = ("env", *given, sys.executable, "-m", "izin.cli", *words)
    done = run_measured(argv, fine=(0, _UNEQUAL))
    found = json.loads(done.printed)
    return ReconcileRun(
        keys=min(found["compared"][name] for name in ("rows", "desired", "permissions", "seen")),
        seconds=done.seconds,
        peak_megabytes=done.peak_megabytes,
        differences=len(found["differences"]),
    )
