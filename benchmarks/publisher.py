"""The benchmark ``publisher``: the library, which validates, beside a bare client of Kafka.

Both publish the same records to the same topics, each acknowledged by the broker, trial by trial in
turn. The bare contender is what a program writes without the library: confluent-kafka's producer
with the same settings, and fastavro. It makes the same ids, and validates nothing.
"""

import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter
from typing import Annotated, Any, NamedTuple
from uuid import UUID, uuid5

import typer
from confluent_kafka import KafkaError, Message
from fastavro import schemaless_writer
from rich.table import Table

from benchmarks.brands import register_brand
from benchmarks.order.timer import TrialError
from benchmarks.results import RunReport
from benchmarks.worker.installation import BrokerOption, PartitionsOption, measuring
from izin.kafka.clients import access_of, producer
from izin.producers import ConsentPublisher, IzinError, NewEvent, Published
from izin.runtime.settings import KafkaSettings
from izin.schemas import contracts
from izin.schemas.records import headers

LIBRARY, BARE = "izin, validating", "confluent-kafka and fastavro"

BRAND, CUSTOMER, _ORIGIN = 600_001, "bench", "shop"
_NAMESPACE = UUID("5f6f7b0e-6f4a-5d0c-9a53-6b8f6f0d1c02")
_BEGAN = datetime(2026, 3, 2, 9, tzinfo=UTC)
_LINGER = timedelta(milliseconds=2)
_TIMEOUT = timedelta(seconds=60)
_OUTSTANDING = 10_000
"""How many results the program waits for at most."""
_RETS = 5
"""One event in so many is an opt-out."""


class Row(NamedTuple):
    """What a program knows of an event."""

    number: int
    recipient: str
    status: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishingSpeed:
    """Acknowledged events a second of a contender: median, least and most of the trials."""

    name: str
    median: float
    least: float
    most: float


def publisher(
    events: Annotated[int, typer.Option(min=100, help="Events of a trial.")] = 200_000,
    trials: Annotated[int, typer.Option(min=1, help="Trials of each contender.")] = 5,
    partitions: PartitionsOption = 4,
    bootstrap_servers: BrokerOption = None,
) -> RunReport:
    """Measure how fast the library publishes, and its ratio to a bare client of Kafka."""
    with measuring(partitions, bootstrap_servers) as (settings, _, show):
        found = speeds(settings, events=events, trials=trials, on_progress=show)
    by_name = {one.name: one for one in found}
    ratio = by_name[LIBRARY].median / by_name[BARE].median
    table = Table(title=f"Published and acknowledged, {events:,} events, {trials} trials")
    table.add_column("contender")
    for heading in ("events/s", "min–max", f"× {BARE}"):
        table.add_column(heading, justify="right")
    for one in found:
        share = one.median / by_name[BARE].median
        spread = f"{one.least:,.0f}–{one.most:,.0f}"
        table.add_row(one.name, f"{one.median:,.0f}", spread, f"{share:.2f}")
    return RunReport(
        tables=[table],
        data={"events": events, "trials": trials, "speeds": [asdict(one) for one in found]},
        figures={"publisher": ratio},
    )


def speeds(
    settings: KafkaSettings,
    *,
    events: int,
    trials: int,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Sequence[PublishingSpeed]:
    """Return the speeds of both contenders over the topics of ``settings``.

    Raises:
        TrialError: an event was not acknowledged.
    """
    register_brand(settings, BRAND, CUSTOMER)
    contenders = {LIBRARY: library, BARE: bare}
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for trial in range(trials):
        for name, run in contenders.items():
            on_progress(f"trial {trial + 1}: {name}")
            taken[name].append(events / run(settings, events))
    return [
        PublishingSpeed(name=name, median=median(one), least=min(one), most=max(one))
        for name, one in taken.items()
    ]


def rows(count: int) -> Iterator[Row]:
    """Yield ``count`` rows, a second apart, of as many recipients."""
    for number in range(count):
        status = "ONAY" if number % _RETS else "RET"
        at = _BEGAN + timedelta(seconds=number % 86_400)
        yield Row(number, f"+90500{number:07d}", status, at)


def library(settings: KafkaSettings, count: int) -> float:
    """Publish with the library; return the seconds until all is acknowledged."""
    with ConsentPublisher(_ORIGIN, access_of(settings), linger=_LINGER) as publisher:
        publisher.publish(_event(next(rows(1))))
        began = perf_counter()
        pending: deque[Future[Published]] = deque()
        try:
            for row in rows(count):
                pending.append(publisher.submit(_event(row)))
                if len(pending) > _OUTSTANDING:
                    pending.popleft().result()
            for one in pending:
                one.result()
        except IzinError as error:
            raise TrialError(f"an event was not acknowledged: {error}") from error
        return perf_counter() - began


def bare(settings: KafkaSettings, count: int) -> float:
    """Publish with a bare client; return the seconds until all is acknowledged."""
    client = producer(settings, **{"linger.ms": _LINGER / timedelta(milliseconds=1)})
    contract = contracts.current()["ConsentEvent"]
    frame = b"\xc3\x01" + contract.fingerprint
    events, express = settings.topics.events.name, settings.topics.express.name
    acknowledged = 0

    def delivered(error: KafkaError | None, _message: Message) -> None:
        nonlocal acknowledged
        acknowledged += error is None

    began = perf_counter()
    for row in rows(count):
        record = _record(row)
        out = io.BytesIO()
        out.write(frame)
        schemaless_writer(out, contract.parsed, record)
        about = headers(
            record="ConsentEvent", event_id=record["event_id"], source=f"/{_ORIGIN}", at=row.at
        )
        while True:
            try:
                client.produce(
                    express if row.status == "RET" else events,
                    key=f"{BRAND}/MESAJ/BIREYSEL/{row.recipient}".encode(),
                    value=out.getvalue(),
                    headers=about,
                    on_delivery=delivered,
                )
                break
            except BufferError:
                client.poll(0.1)
        client.poll(0)
    client.flush(_TIMEOUT.total_seconds())
    taken = perf_counter() - began
    if acknowledged != count:
        raise TrialError(f"{count - acknowledged} events were not acknowledged")
    return taken


def _event(row: Row) -> NewEvent:
    """Return ``row`` as the library takes it."""
    return NewEvent(
        brand_code=BRAND,
        type="MESAJ",
        recipient=row.recipient,
        status=row.status,
        source="HS_WEB",
        consent_date=row.at,
        received_at=row.at,
        origin_ref="row",
        version=row.number,
    )


def _record(row: Row) -> dict[str, Any]:
    """Return ``row`` as fastavro takes it. Its id is a UUIDv5, as any program makes one."""
    return {
        "event_id": str(uuid5(_NAMESPACE, f"{_ORIGIN}\x1frow\x1f{row.number}")),
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "type": "MESAJ",
        "recipient_type": "BIREYSEL",
        "recipient": row.recipient,
        "recipient_raw": row.recipient,
        "status": row.status,
        "source": "HS_WEB",
        "consent_date": row.at,
        "received_at": row.at,
        "date_basis": "stated",
        "origin": _ORIGIN,
        "origin_ref": "row",
        "sequence": None,
        "actor": None,
        "correlation_id": None,
        "cause": None,
        "import_id": None,
        "row": None,
        "retailer_code": None,
        "retailer_access": None,
        "notice_version": None,
        "evidence": {},
        "evidence_hash": None,
        "iys": None,
    }
