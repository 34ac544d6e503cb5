"""The topics: names, keys, contracts and settings, defined here and nowhere else.

Names are kebab-case, plural, without dots. The partition count of the keyed topics is fixed for
life, for a key must stay where its history is. All take the broker's time (``LogAppendTime``): an
event without a ``received_at`` of its own still has an instant that no publisher chose, and a
broker refuses no record of a machine whose clock is ahead.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

DEFAULT_PARTITIONS = 48
_HOUR_MS = 60 * 60 * 1000
_DAY_MS = 24 * _HOUR_MS
_RETENTION_MS = 90 * _DAY_MS

_APPENDED = {"message.timestamp.type": "LogAppendTime"}
_EVENTS = MappingProxyType(
    {**_APPENDED, "cleanup.policy": "delete", "retention.ms": str(_RETENTION_MS)}
)
# What was erased is gone from the log within a week.
_ERASABLE = {
    **_APPENDED,
    "cleanup.policy": "compact",
    "max.compaction.lag.ms": str(7 * _DAY_MS),
    "segment.ms": str(_DAY_MS),
}
# An order worker keeps its state for as long, less a day: it must see each tombstone, too.
STATE_TOMBSTONES_KEPT_MS = 7 * _DAY_MS
# A reader that is less than a day behind misses no change.
_STATE = MappingProxyType(
    {
        **_ERASABLE,
        "min.compaction.lag.ms": str(_DAY_MS),
        "delete.retention.ms": str(STATE_TOMBSTONES_KEPT_MS),
    }
)
_EVIDENCE = MappingProxyType({**_APPENDED, "cleanup.policy": "delete", "retention.ms": "-1"})
_LATEST = MappingProxyType({**_APPENDED, "cleanup.policy": "compact"})
# A reader must see each tombstone: so long one that has read to the end may stay away.
TOMBSTONES_KEPT_MS = _DAY_MS
_LATEST_OF_PERSONS = MappingProxyType({**_STATE, "delete.retention.ms": str(TOMBSTONES_KEPT_MS)})
_POSITIONS = MappingProxyType(
    {
        **_APPENDED,
        "cleanup.policy": "compact",
        # An active segment is never compacted, and each batch or transaction writes a record.
        "segment.ms": str(_HOUR_MS),
        "segment.bytes": str(16 * 1024 * 1024),
    }
)
_DAY_OF_RECEIPTS = MappingProxyType(
    {
        **_APPENDED,
        "cleanup.policy": "delete",
        "retention.ms": str(25 * _HOUR_MS),
        # Only whole segments are deleted, and every endpoint reads what there is at its start.
        "segment.ms": str(_HOUR_MS),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic: its full name, the Avro record it carries, and its settings."""

    name: str
    record: str
    is_partitioned: bool
    """Whether it has all ``partitions``, one for each part of the keys; else it has one."""
    config: Mapping[str, str]
    owner: str
    """The layers that write it."""
    dead_letters: str | None
    """The dead-letter topic of what cannot be processed; None where a reader stops instead."""


class Topics:
    """The topic table under a prefix (tests and demos share a broker; production has none)."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        dlq = f"{prefix}consent-events-dlq"
        self.events = self._topic("consent-events", "ConsentEvent", _EVENTS, "producers", dlq)
        self.express = self._topic(
            "consent-events-express", "ConsentEvent", _EVENTS, "producers, sinks", dlq
        )
        self.first_receipts = self._topic(
            "first-receipts", "FirstReceipt", _DAY_OF_RECEIPTS, "producers"
        )
        self.desired_consents = self._topic("desired-consents", "Consent", _STATE, "streams")
        self.decisions = self._topic("consent-decisions", "Decision", _EVENTS, "streams", dlq)
        self.positions = self._topic("order-positions", "Positions", _POSITIONS, "streams")
        self.opt_outs = self._topic("consent-opt-outs", "Consent", _EVENTS, "streams")
        self.permissions = self._topic("permissions", "Permission", _LATEST_OF_PERSONS, "sinks")
        self.outcomes = self._topic("consent-outcomes", "Outcome", _EVENTS, "sinks")
        self.brands = self._unkeyed("brands", "Brand", _LATEST)
        self.api_keys = self._unkeyed("api-keys", "ApiKey", _LATEST)
        self.ledger_positions = self._unkeyed("ledger-positions", "LedgerPositions", _POSITIONS)
        self.opted_out_merchants = self._unkeyed(
            "opted-out-merchants", "Consent", _LATEST, "streams"
        )
        self.freshness = self._unkeyed("iys-freshness", "IysFreshness", _LATEST)
        self.gate_receipts = self._topic("gate-receipts", "GateReceipt", _EVENTS, "gate")
        self.anchors = self._unkeyed("ledger-anchors", "Anchor", _EVIDENCE)
        self.dead_letters = self._unkeyed(
            "consent-events-dlq", "DeadLetter", _EVENTS, "producers, streams, sinks"
        )

    def _topic(
        self,
        name: str,
        record: str,
        config: Mapping[str, str],
        owner: str,
        dead_letters: str | None = None,
    ) -> Topic:
        return Topic(
            name=f"{self.prefix}{name}",
            record=record,
            is_partitioned=True,
            config=config,
            owner=owner,
            dead_letters=dead_letters,
        )

    def _unkeyed(
        self, name: str, record: str, config: Mapping[str, str], owner: str = "sinks"
    ) -> Topic:
        """Return a topic of one partition."""
        return replace(self._topic(name, record, config, owner), is_partitioned=False)

    def __iter__(self) -> Iterator[Topic]:
        """Yield every topic."""
        return (var for var in vars(self).values() if isinstance(var, Topic))
