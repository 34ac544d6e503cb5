"""The plan of repairs: a plan as replays have one, and beside it a file with a line for each key.

Both name recipients, so only their owner may read them. The plan has the digest of the lines: a
file that was edited is refused. Each line says when the row last changed, so that a key that moved
since is left alone.
"""

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Self

import orjson

from izin.reconcile.comparing import Difference, OtherRepairsError, Scope
from izin.reconcile.judging import IysRecord
from izin.reconcile.remedies import Repair
from izin.replay.bounds import bounds_of
from izin.replay.plan import Plan, work_folder
from izin.replay.selection import Selection
from izin.runtime.settings import KafkaSettings

KIND = "reconcile"
_FILE = "repairs.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRepairs:
    """What is to be done about one key."""

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
        standing = differences[0].standing
        row, desired, permission = standing.row, standing.desired, standing.permission
        movements = [
            one.finding.record for one in differences if one.remedy.repair is Repair.MOVEMENT
        ]
        return cls(
            key=standing.key,
            customer_id=standing.customer_id,
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

    def line(self) -> bytes:
        """Return it as a line of the file."""
        values = {name: getattr(self, name) for name in self.__slots__}
        values["value"] = None if self.value is None else base64.b64encode(self.value).decode()
        if self.movement is not None:
            names = IysRecord.__slots__
            values["movement"] = {name: getattr(self.movement, name) for name in names}
        return orjson.dumps(values) + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Return what :meth:`line` wrote."""
        values = orjson.loads(line)
        values["repairs"] = tuple(map(Repair, values["repairs"]))
        for name in ("updated_at", "effective_at"):
            values[name] = _instant(values[name])
        if values["value"] is not None:
            values["value"] = base64.b64decode(values["value"])
        if values["movement"] is not None:
            found = values["movement"]
            for name in ("creation_date", "consent_date"):
                found[name] = _instant(found[name])
            values["movement"] = IysRecord(**found)
        return cls(**values)


class RepairFile:
    """Writes the plan at ``path``: the repairs as they come, and the plan itself last."""

    def __init__(self, path: Path) -> None:
        self.keys = 0
        """How many keys are to be repaired."""
        self.counts: dict[str, int] = {}
        """How many of them by which repair."""
        self._path = path
        self._of_key: list[Difference] = []
        self._target = work_folder(path) / _FILE
        self._part = self._target.with_name(f"{_FILE}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self._file = os.fdopen(os.open(self._part, flags, 0o600), "wb")
        self._digest = hashlib.sha256()

    def add(self, difference: Difference) -> None:
        """Add a difference; those of one key come together."""
        if self._of_key and self._of_key[0].key != difference.key:
            self._write()
        self._of_key.append(difference)

    def write(self, plan: Plan) -> Plan:
        """Complete the file, and write ``plan`` with its digest."""
        self._write()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._target)
        options = {
            **plan.options,
            "keys": self.keys,
            "repairs": self.counts,
            "sha256": self._digest.hexdigest(),
        }
        written = replace(plan, options=options)
        written.write(self._path)
        return written

    def _write(self) -> None:
        if not self._of_key:
            return
        found, self._of_key = KeyRepairs.of(self._of_key), []
        if found is None:
            return
        line = found.line()
        self._digest.update(line)
        self._file.write(line)
        self.keys += 1
        for one in found.repairs:
            self.counts[str(one)] = self.counts.get(str(one), 0) + 1


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
        OtherRepairsError: they are not those that it was made with.
    """
    file = work_folder(path) / _FILE
    try:
        with file.open("rb") as lines:
            digest = hashlib.file_digest(lines, "sha256").hexdigest()
            if digest != plan.options["sha256"]:
                raise OtherRepairsError(file)
            lines.seek(0)
            while page := list(islice(lines, size)):
                yield [KeyRepairs.from_line(one) for one in page]
    except FileNotFoundError as error:
        raise OtherRepairsError(file) from error


def counts_of(plan: Plan) -> Mapping[str, Any]:
    """Return how many keys have which repair."""
    found: Mapping[str, Any] = plan.options["repairs"]
    return found


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
