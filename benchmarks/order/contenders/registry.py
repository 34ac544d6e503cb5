"""The contenders: the settings of each in words, and the command of its process."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.order.contenders import flink, kafka_streams, quix_environment
from benchmarks.order.dataset import ExpectedOutput
from izin.local.java import Progress
from izin.runtime.settings import KafkaSettings

PASS_THROUGH = "librdkafka pass-through"  # noqa: S105 - a contender, no password
NAIVE_FAUST = "Faust, table and send"
FAUST_TAKE = "Faust, take()"
QUIX = "Quix Streams"
STREAMS_IN_MEMORY = "Kafka Streams, in memory"
STREAMS_EXACTLY_ONCE = "Kafka Streams, exactly once"
FLINK_HEAP = "Flink, heap, 1 s"
FLINK_HEAP_OFTEN = "Flink, heap, 100 ms"
FLINK_ROCKSDB = "Flink, RocksDB, 1 s"
IZIN_SAME_WORK = "izin, the same work"
IZIN = "izin, everything on"


def _python(module: str) -> Callable[[Progress], tuple[str, ...]]:
    return lambda _: (sys.executable, "-m", f"benchmarks.order.contenders.{module}")


def _quix(on_progress: Progress) -> tuple[str, ...]:
    python = quix_environment.python(on_progress=on_progress)
    imports = quix_environment.make_import_folder()
    return ("env", f"PYTHONPATH={imports}", python, "-P", "-m", "benchmarks.order.contenders.quix")


def _streams(store: str, guarantee: str) -> Callable[[Progress], tuple[str, ...]]:
    def prepare(on_progress: Progress) -> tuple[str, ...]:
        module = (sys.executable, "-m", "benchmarks.order.contenders.kafka_streams")
        return (*module, kafka_streams.PROGRAM.prepare(on_progress), store, guarantee)

    return prepare


def _flink(backend: str, interval: str) -> Callable[[Progress], tuple[str, ...]]:
    def prepare(on_progress: Progress) -> tuple[str, ...]:
        module = (sys.executable, "-m", "benchmarks.order.contenders.flink")
        return (*module, flink.PROGRAM.prepare(on_progress), backend, interval)

    return prepare


def _own_topic(_settings: KafkaSettings, app: str) -> str:
    return f"{app}-latest"


def _consents(settings: KafkaSettings, _app: str) -> str:
    return settings.topics.desired_consents.name


def _rows(expected: ExpectedOutput) -> Mapping[int, int]:
    return expected.rows


def _records(expected: ExpectedOutput) -> Mapping[int, int]:
    return expected.records


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One contender. Its process is started with the fields of a ``Task`` after its command."""

    name: str
    slug: str
    """Its name in topics, groups and files."""
    setup: str
    """Its settings in words."""
    prepare: Callable[[Progress], tuple[str, ...]]
    """Installs what it needs and returns its command; raises LocalError where that fails."""
    output: Callable[[KafkaSettings, str], str] = _own_topic
    expected: Callable[[ExpectedOutput], Mapping[int, int]] = _rows
    """How many records it must write at least, by partition."""
    writes_more: bool = False
    """Whether it also writes rows that the common rule does not make."""
    is_slow: bool = False
    """Whether it takes the short dataset."""
    runs_once: bool = False
    """Whether one trial is enough: another of its kind is far faster, and takes all trials."""
    processes: int = 1
    """How many of it run at once, sharing the partitions."""


CONTENDERS: tuple[Contender, ...] = (
    Contender(
        name=PASS_THROUGH,
        slug="pass-through",
        setup="undecoded, no state, at least once",
        prepare=_python("pass_through"),
        expected=_records,
        writes_more=True,
    ),
    Contender(
        name=NAIVE_FAUST,
        slug="faust-table",
        setup="an event a step, table in memory, changelog, at least once",
        prepare=_python("faust_table"),
        is_slow=True,
    ),
    Contender(
        name=FAUST_TAKE,
        slug="faust-take",
        setup="1,000 events a step, table in memory, changelog, librdkafka writes, at least once",
        prepare=_python("faust_take"),
        is_slow=True,
    ),
    Contender(
        name=QUIX,
        slug="quix",
        setup=f"{quix_environment.VERSION}, RocksDB, changelog, at least once",
        prepare=_quix,
        is_slow=True,
    ),
    Contender(
        name=STREAMS_IN_MEMORY,
        slug="streams-memory",
        setup="Java, in-memory store with cache and changelog, a thread a core, at least once",
        prepare=_streams(kafka_streams.MEMORY, kafka_streams.AT_LEAST_ONCE),
    ),
    Contender(
        name=STREAMS_EXACTLY_ONCE,
        slug="streams-eos",
        setup="Java, RocksDB with cache and changelog, a thread a core, exactly_once_v2",
        prepare=_streams(kafka_streams.ROCKSDB, kafka_streams.EXACTLY_ONCE),
    ),
    Contender(
        name=FLINK_HEAP,
        slug="flink-heap",
        setup=f"{flink.VERSION}, state on the heap, a subtask a core, objects reused, "
        "EXACTLY_ONCE sink with lz4 and batches of 64 KiB, a checkpoint a second",
        prepare=_flink(flink.HEAP, "1s"),
    ),
    Contender(
        name=FLINK_HEAP_OFTEN,
        slug="flink-heap-100ms",
        setup="the same with a checkpoint every 100 ms; one trial",
        prepare=_flink(flink.HEAP, "100ms"),
        runs_once=True,
    ),
    Contender(
        name=FLINK_ROCKSDB,
        slug="flink-rocksdb",
        setup="the same with RocksDB, incremental, a checkpoint a second; one trial",
        prepare=_flink(flink.ROCKSDB, "1s"),
        runs_once=True,
    ),
    Contender(
        name=IZIN_SAME_WORK,
        slug="izin-latest-wins",
        setup="two order workers, the common rule in place of the law; exactly once",
        prepare=_python("izin_latest_wins"),
        output=_consents,
        # Kafka Streams runs a thread for each core; a Python process uses one core.
        processes=2,
    ),
    Contender(
        name=IZIN,
        slug="izin",
        setup="one order worker: law, decisions, opt-outs, dead letters; exactly once",
        prepare=_python("izin_everything"),
        output=_consents,
        writes_more=True,
    ),
)
