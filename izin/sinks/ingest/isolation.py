"""Put aside what the ledger cannot take, within a budget; beyond it opt-ins wait, opt-outs go on.

As in the order stage: where our own code fails on too many records of a source, the fault is taken
for ours. Then the position of the partition stays, and of what comes only the opt-outs (RET) are
stored, until a person has acted and the worker was restarted. The ledger knows no order of arrival,
so whatever is stored later gives the same rows.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import Message
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client import Counter as Total

from izin.runtime.dead_letter_budget import BUDGET, DeadLetterBudget, LatestRecords
from izin.runtime.observe import get_logger
from izin.sinks.ingest.decision_reader import IncomingDecision
from izin.sinks.record.unreadable import QuarantinedRecord

_log = get_logger(__name__)


class Record(NamedTuple):
    """One message of the topic; neither decision nor quarantined: the end of a partition."""

    message: Message
    decision: IncomingDecision | None = None
    """What is stored of it; of a quarantined opt-out the one that stands for it."""
    quarantined: QuarantinedRecord | None = None

    @property
    def partition(self) -> int:
        """The partition."""
        return self.message.partition() or 0

    @property
    def is_opt_out(self) -> bool:
        """Whether it may not wait."""
        if self.quarantined is not None:
            return self.quarantined.is_ret
        return self.decision is not None and self.decision.is_ret


class Isolation:
    """Which partitions are paused, what is put aside, and the metrics of both."""

    def __init__(
        self, budget: DeadLetterBudget = BUDGET, registry: CollectorRegistry | None = None
    ) -> None:
        self.paused: set[int] = set()
        """The partitions whose opt-ins wait for a person."""
        self.restoring: frozenset[int] = frozenset()
        """The partitions whose opt-ins wait until their keys are restored (``bootstrap``)."""
        self._latest: defaultdict[int, LatestRecords] = defaultdict(lambda: LatestRecords(budget))
        self._quarantined = Total(
            "izin_quarantined_decisions",
            "Records of the topic of decisions that the ledger could not take, by reason",
            ["reason", "is_ret"],
            registry=registry,
        )
        self._paused = Gauge(
            "izin_ingest_partitions_paused",
            "Partitions of the topic of decisions whose opt-ins wait for a person",
            registry=registry,
        )

    @property
    def held(self) -> frozenset[int]:
        """The partitions whose position stays, and of which only opt-outs are stored."""
        return self.restoring | self.paused

    def passing(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return those of ``records`` that may be stored, after pausing partitions in which too
        many are put aside.
        """
        suspects, counts = _count(records)
        for partition, by_source in suspects.items():
            source = self._latest[partition].exceeded_by(by_source, counts[partition])
            if source is not None and partition not in self.paused:
                self._pause(partition, source)
        held = self.held
        if not held:
            return records
        return [one for one in records if one.partition not in held or one.is_opt_out]

    def stored(self, records: Sequence[Record]) -> None:
        """Count ``records`` once they are stored, and call a person for those put aside."""
        suspects, counts = _count(records)
        for partition, count in counts.items():
            self._latest[partition].add(suspects.get(partition, {}), count)
        for one in records:
            if one.quarantined is not None:
                self._alert(one.quarantined, is_closed=one.decision is not None)

    def _pause(self, partition: int, source: str) -> None:
        self.paused.add(partition)
        self._paused.set(len(self.paused))
        _log.critical(
            "opt-ins paused",
            partition=partition,
            source=source,
            effect="its opt-ins wait; its opt-outs and the other partitions go on",
            remedy="if the last deploy is at fault, take it back; if the records are, set "
            "IZIN_DEAD_LETTER_SHARE higher (1: no bound); then restart",
        )

    def _alert(self, record: QuarantinedRecord, *, is_closed: bool) -> None:
        self._quarantined.labels(record.reason, str(record.is_ret).lower()).inc()
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        if record.is_ret:
            _log.critical(
                "opt-out quarantined",
                **place,
                error=record.error,
                closed=is_closed,
                remedy="izin dead-letters has it as it was; "
                + ("its permission is closed" if is_closed else "nothing was closed: act by hand"),
            )
        else:
            _log.critical(
                "decision quarantined",
                **place,
                error=record.error,
                remedy="izin dead-letters has it as it was; where it is unreadable, it may be an "
                "opt-out",
            )


def _count(records: Sequence[Record]) -> tuple[Mapping[int, Counter[str]], Counter[int]]:
    """Return how many are put aside, by partition and source, and how many there are."""
    suspects: defaultdict[int, Counter[str]] = defaultdict(Counter)
    counts: Counter[int] = Counter()
    for one in records:
        if one.quarantined is not None:
            suspects[one.partition][one.quarantined.source] += 1
        counts[one.partition] += one.decision is not None or one.quarantined is not None
    return suspects, counts
