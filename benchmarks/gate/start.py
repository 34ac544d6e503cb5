"""Measure the start of the gate: permissions read into memory, input lanes searched for opt-outs.

The lane has opt-ins of our own systems, none of which may be an opt-out, so every record is only
looked at; the order stage has decided none of them.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import IsolationLevel
from rich.table import Table

from benchmarks.events import BEGAN
from benchmarks.gate.published import Records, key_of, permissions, publish
from benchmarks.gate.questions import BRAND
from benchmarks.process_usage import peak_megabytes
from benchmarks.results import RunReport, progress
from benchmarks.worker.installation import installation
from izin.consent import ConsentEvent
from izin.gate.key_tables import LaneTable
from izin.gate.state import GateState
from izin.gate.undecided import UndecidedOptOuts
from izin.kafka.clients import access_of
from izin.kafka.follower import RecordFollower
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro

_PARTITIONS = 12
_ASKED = 20_000
_APART = 7919
"""Keys that are asked for one after the other are far from one another."""
_MICROSECONDS = 1_000_000
_STALE_AFTER = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTiming:
    """What was measured of one start."""

    keys: int
    start_seconds: float
    """From the start until everything was read."""
    key_facts_us: float
    """Of elapsed time, for a key that is known."""
    events: int
    lane_seconds: float
    """To read them, searching each for an opt-out."""
    peak_mib: float
    """Resident memory of the process, with its Kafka clients and what published the records."""


def gate_start(
    keys: Annotated[int, typer.Option(min=100, help="Permissions to be read.")] = 5_000_000,
    events: Annotated[int, typer.Option(min=100, help="Opt-ins on a lane.")] = 1_000_000,
) -> RunReport:
    """Measure the start of the gate, what is known of a key, and a lane that is read."""
    with (
        progress().status(f"publishing and reading {keys:,} permissions, {events:,} events"),
        tempfile.TemporaryDirectory() as folder,
        installation(Path(folder), partitions=_PARTITIONS) as settings,
    ):
        publish(settings, settings.topics.permissions, permissions(keys))
        started, state = _start(settings)
        count, key_facts_us = state.counts().keys, _key_facts_us(state, keys)
        publish(settings, settings.topics.events, _events(events))
        found = StartTiming(
            keys=count,
            start_seconds=started,
            key_facts_us=key_facts_us,
            events=events,
            lane_seconds=_seconds(_lane(settings).load),
            peak_mib=peak_megabytes(os.getpid()),
        )
    rate = found.events / found.lane_seconds
    table = Table(title=f"A gate that knows {found.keys:,} keys")
    headings = ("until ready", "keys/s", "µs/key", "lane records/s", "peak memory")
    for heading in headings:
        table.add_column(heading, justify="right")
    cells = (f"{found.start_seconds:.1f} s", f"{found.keys / found.start_seconds:,.0f}")
    more = (f"{found.key_facts_us:.1f}", f"{rate:,.0f}", f"{found.peak_mib:.0f} MiB")
    table.add_row(*cells, *more)
    return RunReport(
        tables=[table],
        data=asdict(found),
        figures={
            "gate-start": found.start_seconds,
            "gate-key-facts": found.key_facts_us,
        },
        failures=[] if found.keys == keys else [f"{found.keys:,} keys of {keys:,} are known"],
    )


def _start(settings: KafkaSettings) -> tuple[float, GateState]:
    """Return how many seconds a state took to be read, and it, which no longer follows."""
    state = GateState(settings, Codec(), stale_after=_STALE_AFTER)
    following = state.following()
    seconds = _seconds(following.__enter__)
    following.__exit__(None, None, None)
    return seconds, state


def _key_facts_us(state: GateState, keys: int) -> float:
    asked = [key_of(number * _APART % keys) for number in range(_ASKED)]

    def ask() -> None:
        for key in asked:
            if state.of_key(key).opted_out:
                raise ValueError("a key is closed that is not")

    return _seconds(ask) / len(asked) * _MICROSECONDS


def _lane(settings: KafkaSettings) -> RecordFollower:
    """Return what reads the bulk lane as the gate does."""
    topic = settings.topics.events
    table = LaneTable(
        topic=topic.name,
        partitions=_PARTITIONS,
        codec=Codec(),
        undecided=UndecidedOptOuts(),
        unreadable=_refuse,
    )
    uncommitted = IsolationLevel.READ_UNCOMMITTED
    connection = access_of(settings)
    return RecordFollower(connection, topic, table, reads=uncommitted, until=uncommitted)


def _refuse(topic: str, _record: object, error: Exception) -> None:
    raise ValueError(f"a record of {topic} was not readable") from error


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _events(count: int) -> Records:
    event = ConsentEvent(
        event_id="",
        customer_id="acme",
        brand_code=BRAND,
        type="MESAJ",
        recipient_type="BIREYSEL",
        recipient="",
        status="ONAY",
        source="HS_WEB",
        consent_date=BEGAN,
        received_at=BEGAN,
        origin="web",
        origin_ref="signup-0000000",
        actor="signup-form",
        evidence={"ip": "192.0.2.1", "page": "https://example.com/uye-ol"},
    )
    encode = Codec().template_encoder(
        "ConsentEvent", event_to_avro(event), {"event_id", "recipient"}
    )
    for number in range(count):
        key = key_of(number)
        event_id = f"bench-{number:028}"
        yield key.encode(), encode({"event_id": event_id, "recipient": key.recipient})
