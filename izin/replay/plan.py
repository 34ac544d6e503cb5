"""The plan of a replay: a file that says what is replayed, and what that relies on.

A plan is made by the dry run and checked before anything is executed: who edits the file, appends
to a topic that must stand still, or installs another law, gets an error and plans again. Beside the
plan is a folder of its work, by which a replay that was stopped goes on.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import orjson

from izin.consent.model import LAW_VERSION
from izin.replay.errors import PlanMovedError, UnreadablePlanError
from izin.replay.selection import Selection

REBUILD = "rebuild"
"""A kind of plan."""
DESIRED_CONSENTS = "desired-consents"
"""A target of rebuilds."""
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A topic as the plan found it, and the part of it that is read."""

    topic_id: str
    starts: Mapping[int, int]
    """By partition: the first offset that is read."""
    ends: Mapping[int, int]
    """By partition: the offset behind the last that is read."""
    stands_still: bool
    """Whether nothing may be appended until the plan is executed."""

    def moved(self, topic: str, now: "Bounds") -> list[str]:
        """Return what of ``topic`` has changed that the plan relies on."""
        if self.topic_id != now.topic_id:
            return [f"{topic} was created again"]
        if self.ends.keys() != now.ends.keys():
            return [f"{topic} has {len(now.ends)} partitions, not {len(self.ends)}"]
        found = []
        for number, start in self.starts.items():
            if now.starts[number] > start:
                found.append(f"{topic}/{number} begins at {now.starts[number]}, not {start}")
        for number, end in self.ends.items():
            if now.ends[number] < end or (self.stands_still and now.ends[number] != end):
                found.append(f"{topic}/{number} ends at {now.ends[number]}, not {end}")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is replayed, with which options, and what that relies on."""

    kind: str
    """rebuild, re-emit or what-if."""
    target: str
    """What is rebuilt, or who it is for; empty for a what-if."""
    selection: Selection
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """JSON values."""
    cluster_id: str
    topics: Mapping[str, Bounds]
    history: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    """By shard: up to which place the history is read. Empty: it is not read."""
    closed_days: tuple[date, ...] = ()
    law_version: int = LAW_VERSION
    made_at: datetime
    by: str

    @property
    def digest(self) -> str:
        """SHA-256 of everything in it, in hexadecimal digits."""
        return sha256(_bytes(self._values())).hexdigest()

    def check(self, now: "Plan") -> None:
        """Compare it with the plan that would be made ``now``; raises PlanMovedError."""
        found = []
        if self.law_version != now.law_version:
            found.append(f"the law has version {now.law_version}, not {self.law_version}")
        if self.closed_days != now.closed_days:
            found.append("IZIN_EXTRA_CLOSED_DAYS has other days")
        if self.cluster_id != now.cluster_id:
            found.append(f"the cluster is {now.cluster_id}, not {self.cluster_id}")
        for topic, bounds in self.topics.items():
            found += bounds.moved(topic, now.topics[topic])
        for shard, place in self.history.items():
            if now.history.get(shard, 0) < place:
                found.append(f"shard {shard} of the history ends at {now.history.get(shard, 0)}")
        if found:
            raise PlanMovedError(found)

    def write(self, path: Path) -> None:
        """Write it to ``path``, all or nothing: a plan names recipients, so only its owner reads
        it.
        """
        write_private(path, [_bytes({**self._values(), "digest": self.digest})])

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the plan in ``path``.

        Raises:
            UnreadablePlanError: it is no plan, was edited, or is of another release.
        """
        try:
            values = orjson.loads(path.read_bytes())
            digest = values.pop("digest")
            if values["format"] != _FORMAT:
                raise UnreadablePlanError(path, f"its format is {values['format']}")
            plan = cls._of(values)
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnreadablePlanError(path, "it is no plan of a replay") from error
        if plan.digest != digest:
            raise UnreadablePlanError(path, "it was edited")
        return plan

    @classmethod
    def _of(cls, values: Mapping[str, Any]) -> Self:
        topics = {
            topic: Bounds(
                topic_id=bounds["id"],
                starts=_numbered(bounds["starts"]),
                ends=_numbered(bounds["ends"]),
                stands_still=bounds["stands_still"],
            )
            for topic, bounds in values["topics"].items()
        }
        return cls(
            kind=values["kind"],
            target=values["target"],
            selection=Selection.from_json(values["selection"]),
            options=values["options"],
            cluster_id=values["cluster_id"],
            topics=topics,
            history=_numbered(values["history"]),
            closed_days=tuple(map(date.fromisoformat, values["closed_days"])),
            law_version=values["law_version"],
            made_at=datetime.fromisoformat(values["made_at"]),
            by=values["by"],
        )

    def _values(self) -> dict[str, Any]:
        topics = {
            topic: {
                "id": bounds.topic_id,
                "starts": _texts(bounds.starts),
                "ends": _texts(bounds.ends),
                "stands_still": bounds.stands_still,
            }
            for topic, bounds in self.topics.items()
        }
        return {
            "format": _FORMAT,
            "kind": self.kind,
            "target": self.target,
            "selection": self.selection.as_json(),
            "options": dict(self.options),
            "cluster_id": self.cluster_id,
            "topics": topics,
            "history": _texts(self.history),
            "closed_days": [day.isoformat() for day in self.closed_days],
            "law_version": self.law_version,
            "made_at": self.made_at.isoformat(),
            "by": self.by,
        }


def write_private(path: Path, parts: Iterable[bytes]) -> None:
    """Write ``parts`` one after the other to ``path``, all or nothing; only its owner may read
    it.
    """
    new = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def work_folder(path: Path) -> Path:
    """Return the folder of the work of the plan in ``path``; only its owner may read it."""
    folder = path.with_name(f"{path.name}.work")
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _numbered(values: Mapping[str, int]) -> dict[int, int]:
    return {int(number): offset for number, offset in values.items()}


def _texts(values: Mapping[int, int]) -> dict[str, int]:
    return {str(number): offset for number, offset in sorted(values.items())}


def _bytes(values: Mapping[str, Any]) -> bytes:
    return orjson.dumps(values, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
