"""The plan of repairs: a plan as replays have one, and beside it a file with a line for each key.

Both name recipients, so only their owner may read them. The plan has the digest of the lines: a
file that was edited is refused. Each line says when the row last changed, so that a key that moved
since is left alone.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, TypeAdapter

from izin.reconcile.comparing import Difference, Scope
from izin.reconcile.judging import IysRecord
from izin.reconcile.remedies import Repair
from izin.runtime.plan import Plan, PrivateLines, Selection, bounds_of, lines_of, work_folder
from izin.runtime.settings import KafkaSettings

KIND = "reconcile"
_FILE = "repairs.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRepairs:
    """What is to be done about one key."""

    __pydantic_config__ = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    key: str
    customer_id: str | None
    repairs: tuple[Repair, ...]
    updated_at: datetime | None
    """When its row last changed; None: it has none."""
    event_id: str | None = None
    """The event to publish again, and from when it counts."""
    effective_at: datetime | None = None
    partition: int = 0
    offset: int = 0
    value: bytes | None = None
    """The record of ``desired-consents`` to restore from, and its place."""
    published: bool | None = None
    """What the topic of permissions says."""
    movement: IysRecord | None = None

    @classmethod
    def of(cls, differences: Sequence[Difference]) -> Self | None:
        """Return what repairs the ``differences`` of one key; None: nothing does."""
        repairs = {one.remedy.repair for one in differences} - {None}
        if not repairs:
            return None
        compared = differences[0].compared
        row, desired, permission = compared.row, compared.desired, compared.permission
        movements = [
            one.finding.record for one in differences if one.remedy.repair is Repair.MOVEMENT
        ]
        return cls(
            key=compared.key,
            customer_id=compared.customer_id,
            repairs=tuple(one for one in Repair if one in repairs),
            updated_at=None if row is None else row.updated_at,
            event_id=None if row is None else row.desired_event_id,
            effective_at=None if row is None else row.desired_at,
            partition=0 if desired is None else desired.partition,
            offset=0 if desired is None else desired.offset,
            value=desired.value if desired is not None and Repair.RESTORE in repairs else None,
            published=None if permission is None else permission.may_send,
            movement=movements[0] if movements else None,
        )


LINES = TypeAdapter(KeyRepairs)
"""How the repairs of a key are a line of the file."""


class RepairFile:
    """Writes the plan at ``path``: the repairs as they come, and the plan itself last."""

    def __init__(self, path: Path) -> None:
        self.keys = 0
        """How many keys are to be repaired."""
        self.counts = Counter[str]()
        """How many of them by which repair."""
        self._path = path
        self._of_key: list[Difference] = []
        self._lines = PrivateLines(work_folder(path) / _FILE)

    def add(self, difference: Difference) -> None:
        """Add a difference; those of one key come together."""
        if self._of_key and self._of_key[0].key != difference.key:
            self._write()
        self._of_key.append(difference)

    def write(self, plan: Plan) -> Plan:
        """Complete the file, and write ``plan`` with its digest."""
        self._write()
        with self._lines as lines:
            digest = lines.complete()
        options = {"keys": self.keys, "repairs": dict(self.counts), "sha256": digest}
        written = replace(plan, options={**plan.options, **options})
        written.write(self._path)
        return written

    def _write(self) -> None:
        found = KeyRepairs.of(self._of_key) if self._of_key else None
        self._of_key = []
        if found is not None:
            self._lines.add(LINES.dump_json(found) + b"\n")
            self.keys += 1
            self.counts.update(map(str, found.repairs))


def plan_of(scope: Scope, kafka: KafkaSettings, *, asked: bool, now: datetime, by: str) -> Plan:
    """Return the plan of ``scope`` as it would be made ``now``, without repairs.

    Raises:
        BrokerError: Kafka cannot be reached.
    """
    topics = (kafka.topics.desired_consents.name, kafka.topics.permissions.name)
    cluster_id, bounds = bounds_of(kafka, dict.fromkeys(topics, False))
    return Plan(
        kind=KIND,
        target=str(scope.brand.brand_code),
        selection=Selection(
            since=scope.since,
            until=scope.until,
            brands=frozenset({scope.brand.brand_code}),
        ),
        options={"channel": scope.channel and str(scope.channel), "asked": asked},
        cluster_id=cluster_id,
        topics=bounds,
        made_at=now,
        by=by,
    )


def pages_of(path: Path, plan: Plan, size: int) -> Iterator[Sequence[KeyRepairs]]:
    """Yield the repairs of the ``plan`` in ``path``, ``size`` keys at a time.

    Raises:
        UnreadablePlanError: they are not those that it was made with.
    """
    lines = lines_of(work_folder(path) / _FILE, plan.options["sha256"])
    while page := list(islice(lines, size)):
        yield [LINES.validate_json(one) for one in page]


def counts_of(plan: Plan) -> Mapping[str, Any]:
    """Return how many keys have which repair."""
    found: Mapping[str, Any] = plan.options["repairs"]
    return found
