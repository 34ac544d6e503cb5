"""Who races: each runner with its settings in words, and how its process is started."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import izin
from benchmarks.order.contenders import kafka_streams, quix_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.order.dataset import Foreseen
    from izin.local.maven import Progress
    from izin.runtime.settings import KafkaSettings

ROOT = Path(izin.__file__ or "").parents[1]
"""Where ``izin`` is imported from, also by an interpreter that has not installed it."""

PASS_THROUGH = "librdkafka pass-through"  # noqa: S105 - a runner, no password
NAIVE_FAUST = "Faust, table and send"
FAUST_TAKE = "Faust, take()"
QUIX = "Quix Streams"
STREAMS_IN_MEMORY = "Kafka Streams, in memory"
STREAMS_EXACTLY_ONCE = "Kafka Streams, exactly once"
OURS = "izin, the peers' work"
OURS_EVERYTHING = "izin, everything on"


def _python(module: str) -> Callable[[Progress], tuple[str, ...]]:
    return lambda _: (sys.executable, "-m", f"izin.bench.peers.{module}")


def _quix(on_progress: Progress) -> tuple[str, ...]:
    python = quix_environment.python(on_progress=on_progress)
    imports = quix_environment.izin_alone(ROOT)
    return ("env", f"PYTHONPATH={imports}", python, "-P", "-m", "benchmarks.order.contenders.quix")


def _streams(store: str, guarantee: str) -> Callable[[Progress], tuple[str, ...]]:
    def prepare(on_progress: Progress) -> tuple[str, ...]:
        module = (sys.executable, "-m", "benchmarks.order.contenders.kafka_streams")
        return (*module, kafka_streams.prepare(on_progress), store, guarantee)

    return prepare


def _own_topic(_settings: KafkaSettings, app: str) -> str:
    return f"{app}-latest"


def _consents(settings: KafkaSettings, _app: str) -> str:
    return settings.topics.consents.name


def _rows(foreseen: Foreseen) -> Mapping[int, int]:
    return foreseen.rows


def _records(foreseen: Foreseen) -> Mapping[int, int]:
    return foreseen.records


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """One of the race. Its process is started with the words of a ``Task`` after its command."""

    name: str
    short: str
    """Its name in topics, groups and files."""
    how: str
    """Its settings, as the table tells them."""
    prepare: Callable[[Progress], tuple[str, ...]]
    """Brings what it needs and returns its command; raises LocalError where it cannot be had."""
    output: Callable[[KafkaSettings, str], str] = _own_topic
    foreseen: Callable[[Foreseen], Mapping[int, int]] = _rows
    """How many records must at least come, by partition."""
    writes_more: bool = False
    """Also writes rows that the peers' rule does not make."""
    is_slow: bool = False
    """Runs over the short course."""
    processes: int = 1
    """How many of it run at once, sharing the partitions."""


RUNNERS: tuple[Runner, ...] = (
    Runner(
        name=PASS_THROUGH,
        short="pass-through",
        how="undecoded, no state, at least once",
        prepare=_python("pass_through"),
        foreseen=_records,
        writes_more=True,
    ),
    Runner(
        name=NAIVE_FAUST,
        short="faust-table",
        how="an event a step, table in memory, changelog, at least once",
        prepare=_python("faust_table"),
        is_slow=True,
    ),
    Runner(
        name=FAUST_TAKE,
        short="faust-take",
        how="1,000 events a step, table in memory, changelog, librdkafka writes, at least once",
        prepare=_python("faust_take"),
        is_slow=True,
    ),
    Runner(
        name=QUIX,
        short="quix",
        how=f"{quix_environment.VERSION}, RocksDB, changelog, at least once",
        prepare=_quix,
    ),
    Runner(
        name=STREAMS_IN_MEMORY,
        short="streams-memory",
        how="Java, in-memory store with cache and changelog, a thread a core, at least once",
        prepare=_streams(kafka_streams.MEMORY, kafka_streams.AT_LEAST_ONCE),
    ),
    Runner(
        name=STREAMS_EXACTLY_ONCE,
        short="streams-eos",
        how="Java, RocksDB with cache and changelog, a thread a core, exactly_once_v2",
        prepare=_streams(kafka_streams.ROCKSDB, kafka_streams.EXACTLY_ONCE),
    ),
    Runner(
        name=OURS,
        short="izin-latest-wins",
        how="two order workers, the peers' rule in the place of the law; exactly once",
        prepare=_python("ours_latest_wins"),
        output=_consents,
        # As Kafka Streams runs a thread a core: a Python process uses one.
        processes=2,
    ),
    Runner(
        name=OURS_EVERYTHING,
        short="izin",
        how="one order worker: law, decisions, opt-outs, dead letters; exactly once",
        prepare=_python("ours_everything"),
        output=_consents,
        writes_more=True,
    ),
)
