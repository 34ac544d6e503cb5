"""The benchmark ``redrive``: dead letters come back, all of them with one command.

Of the letters most land, some are opt-outs, and some are opt-ins of people who have opted out
since. The command is timed from its start to its end, as an operator runs it: it reads the letters,
runs the law, writes them, waits until an order worker has decided them, and compares. Each letter
must land once, none may win over what is newer, and the preview must be the result.
"""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from time import perf_counter, sleep
from typing import Annotated, Any

import typer

from benchmarks import ROOT
from benchmarks.events import BEGAN, canonical_events
from benchmarks.order.timer import TrialError
from benchmarks.order.verify_output import read_rows
from benchmarks.results import RunReport
from benchmarks.worker.installation import BrokerOption, PartitionsOption, measuring
from benchmarks.worker.order_worker import order_worker
from izin.consent import ConsentEvent, Status
from izin.kafka import clients
from izin.ledger.db.migrate import migrate
from izin.local import Child, Postgres
from izin.producers.publishing.publisher import kafka_record
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import dead_letter_to_avro
from izin.streams.ownership import DecidedOffsets

_HOUR = timedelta(hours=1)
_POLL = 0.1
_COMMAND = ("dead-letters", "redrive", "--all", "--reason", "benchmark", "--by", "benchmark")
_SUPERSEDED, _OPT_OUTS = 5, 7
"""Every fifth letter is an opt-in of somebody who has opted out since; every seventh an opt-out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveRun:
    """How the letters came back."""

    letters: int
    seconds: float
    preview: Mapping[str, int]
    result: Mapping[str, int]
    differences: int
    doubled: int
    """Letters that landed more than once."""
    overtaken: int
    """People who had opted out since, and whose state is no longer that opt-out."""

    @property
    def failures(self) -> Iterator[str]:
        """Yield what is not as it must be."""
        superseded = len(range(0, self.letters, _SUPERSEDED))
        expected = {"applied": self.letters - superseded, "stale": superseded}
        if dict(self.preview) != expected:
            yield f"the preview is {self.preview}, and should be {expected}"
        if self.result != self.preview or self.differences:
            yield f"{self.differences} letters differ: {self.result} of {self.preview}"
        if self.doubled or self.overtaken:
            yield f"{self.doubled} landed twice, {self.overtaken} won over something newer"


def redrive(
    letters: Annotated[int, typer.Option(min=10, help="Dead letters.")] = 10_000,
    partitions: PartitionsOption = 4,
    bootstrap_servers: BrokerOption = None,
    database_url: Annotated[
        str | None, typer.Option(help="An empty database instead of one of our own.")
    ] = None,
) -> RunReport:
    """Redrive many dead letters with one command."""
    with measuring(partitions, bootstrap_servers) as (settings, folder, show):
        if database_url is not None:
            found = measure(settings, database_url, folder, letters, show)
        else:
            with Postgres(folder) as postgres:
                found = measure(settings, postgres.url, folder, letters, show)
    speed = found.letters / found.seconds
    line = f"{found.letters:,} letters in {found.seconds:.2f} s, {speed:,.0f}/s: {found.result}"
    return RunReport(
        tables=[line],
        data=asdict(found),
        figures={"redrive": speed},
        failures=list(found.failures),
    )


def measure(
    settings: KafkaSettings,
    database_url: str,
    folder: Path,
    letters: int,
    on_progress: Callable[[str], None] = lambda _: None,
) -> RedriveRun:
    """Plant ``letters`` and redrive them; raises TrialError where the command fails."""
    on_progress("planting dead letters")
    asyncio.run(migrate(database_url))
    events = list(_events(letters))
    newer = [_opted_out(one) for one in events[::_SUPERSEDED]]
    _publish(settings, newer)
    _plant(settings, events)
    worker = order_worker(settings, folder)
    worker.start()
    try:
        _await_decided(settings)
        on_progress("the preview")
        preview, _ = _run(settings, database_url)
        on_progress("redriving")
        done, seconds = _run(settings, database_url, "--execute")
    finally:
        Child.stop(worker)
    applied, current = _decided(settings)
    return RedriveRun(
        letters=letters,
        seconds=seconds,
        preview=preview["preview"],
        result=done["result"],
        differences=len(done["differences"]),
        doubled=sum(1 for one in events if applied[one.event_id] > 1),
        overtaken=sum(1 for one in newer if current.get(one.recipient) != one.event_id),
    )


def _events(count: int) -> Iterator[ConsentEvent]:
    """Yield the events of letters, each of a person of its own."""
    (like,) = canonical_events(1, keys=1, rng=Random(1))
    for number in range(count):
        is_opt_out = number % _OPT_OUTS == 0 and number % _SUPERSEDED != 0
        yield replace(
            like,
            event_id=f"letter-{number}",
            recipient=f"+90500{number:07d}",
            status=str(Status.RET if is_opt_out else Status.ONAY),
        )


def _opted_out(event: ConsentEvent) -> ConsentEvent:
    at = BEGAN + _HOUR
    return replace(
        event,
        event_id=f"newer-{event.event_id}",
        status=str(Status.RET),
        consent_date=at,
        received_at=at,
    )


def _publish(settings: KafkaSettings, events: list[ConsentEvent]) -> None:
    writer, codec = clients.producer(settings), Codec()
    for event in events:
        record = kafka_record(event, None, BEGAN, settings.topics, codec)
        writer.produce(record.topic, record.value, record.key, headers=record.headers)
        writer.poll(0)
    writer.flush()


def _await_decided(settings: KafkaSettings) -> None:
    """Wait until the order worker has decided what is on the express lane."""
    lane = settings.topics.express.name
    ends = clients.committed_ends(settings, lane)
    with closing(DecidedOffsets(settings, Codec())) as decided:
        while any(decided.read().get((lane, one), 0) < end for one, end in ends.items()):
            sleep(_POLL)


def _plant(settings: KafkaSettings, events: list[ConsentEvent]) -> None:
    writer, codec = clients.producer(settings), Codec()
    for number, event in enumerate(events):
        record = kafka_record(event, None, BEGAN, settings.topics, codec)
        letter = dead_letter_to_avro(
            reason="poison",
            violations=(),
            topic=settings.topics.events.name,
            partition=0,
            offset=number,
            timestamp=BEGAN + 2 * _HOUR,
            key=record.key,
            value=record.value,
        )
        value = codec.encode("DeadLetter", letter)
        writer.produce(settings.topics.dead_letters.name, value, partition=0)
        writer.poll(0)
    writer.flush()


def _run(settings: KafkaSettings, database_url: str, *words: str) -> tuple[dict[str, Any], float]:
    """Run the command; return its JSON and how many seconds it took."""
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
        "IZIN_PARTITIONS": settings.partitions,
        "DATABASE_URL": database_url,
    }
    given = (f"{name}={value}" for name, value in environment.items())
    command = (sys.executable, "-m", "izin.cli", *_COMMAND, *words, "--output", "json")
    began = perf_counter()
    done = subprocess.run(  # noqa: S603  # our own command
        ["env", "-u", "SCHEMA_REGISTRY_URL", *given, *command],  # noqa: S607  # of every system
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    seconds = perf_counter() - began
    if done.returncode:
        raise TrialError(f"the command ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout), seconds


def _decided(settings: KafkaSettings) -> tuple[Counter[str], dict[str, str]]:
    """Return how often each event was applied, and which one stands for each recipient."""
    codec, topics = Codec(), settings.topics
    ends = clients.committed_ends(settings, topics.decisions.name)
    decisions = [
        codec.decode("Decision", value)
        for _, value in read_rows(settings, topics.decisions.name, ends)
    ]
    applied = Counter(one["event"]["event_id"] for one in decisions if one["kind"] == "Apply")
    ends = clients.committed_ends(settings, topics.desired_consents.name)
    rows = read_rows(settings, topics.desired_consents.name, ends)
    consents = (codec.decode_consent(value) for _, value in rows)
    return applied, {one.key.recipient: one.event_id for one in consents}
