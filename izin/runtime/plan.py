"""Plan, then execute: a file says what is to be done, and what that relies on.

A plan is made by a dry run and checked before anything is executed: who edits the file, appends to
a topic that must stand still, or installs another law, gets an error and plans again. What a plan
has much of is in lines beside it, with their digest in the plan. The folder of its work has what is
done, so that what was stopped goes on. All of it names recipients: only its owner may read it.

OurError                    (izin.consent.errors)
└── PlanMovedError          what the plan relies on has changed since
SourceError                 (izin.consent.errors)
├── UnreadablePlanError     the file is no plan, or was edited
└── OtherPlanError          the file has the plan of something else
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from hashlib import file_digest, sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, Self

import orjson

from izin.consent import LAW_VERSION, OurError, SourceError

REBUILD = "rebuild"
"""A kind of plan."""
DESIRED_CONSENTS = "desired-consents"
"""A target of rebuilds."""
_FORMAT = 2
_NAMED = 3
"""So many changes are named: of many partitions each may have moved."""
_SLASHES = 3
"""Of a canonical key, ``brand_code/type/recipient_type/recipient``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which keys are selected; a default one selects everything."""

    keys: frozenset[str] = frozenset()
    recipients: frozenset[str] = frozenset()
    """As keys spell them; whoever has one of the ``keys`` or is one of them is selected."""
    brands: frozenset[int] = frozenset()

    def takes_key(self, key: str) -> bool:
        """Whether the canonical ``key`` and its brand are selected."""
        if self.brands and int(key.partition("/")[0]) not in self.brands:
            return False
        if not self.keys and not self.recipients:
            return True
        return key in self.keys or key.split("/", _SLASHES)[-1] in self.recipients

    def takes_record(self, key: bytes) -> bool:
        """Whether the ``key`` of a record is selected; one that is not canonical, for somebody else
        wrote it, only where everything is.
        """
        try:
            return self.takes_key(key.decode())
        except ValueError:
            return self == Selection()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, sorted; what is not given is left out."""
        values = {
            "keys": sorted(self.keys),
            "recipients": sorted(self.recipients),
            "brands": sorted(self.brands),
        }
        return {name: value for name, value in values.items() if value}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the selection that :meth:`as_json` gave."""
        return cls(
            keys=frozenset(values.get("keys", ())),
            recipients=frozenset(values.get("recipients", ())),
            brands=frozenset(values.get("brands", ())),
        )


class OnProgress(Protocol):
    """What long work calls from time to time, with how much is done, of how much.

    The unit is the work's own (records, keys, partitions). ``total`` may grow while it runs.
    """

    def __call__(self, done: int, total: int, /) -> None:
        """Show, or keep, that so much of ``total`` is done."""


def silent(_done: int, _total: int, /) -> None:
    """Show no progress."""


class UnreadablePlanError(SourceError):
    """A file that is no plan, or part of none, or one that was edited by hand."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path.name}: {why}; plan again")


class OtherPlanError(SourceError):
    """The file of a plan has the plan of something else."""

    def __init__(self, path: Path, what: str = "something else") -> None:
        super().__init__(f"{path.name} has the plan of {what}; name another file (--plan)")


class PlanMovedError(OurError):
    """Something that a plan relies on has changed since it was made; nothing was executed."""

    def __init__(self, moved: Sequence[str]) -> None:
        what = "; ".join(moved[:_NAMED])
        more = f"; and {len(moved) - _NAMED} more" if len(moved) > _NAMED else ""
        super().__init__(
            f"since the plan was made: {what}{more}; plan again, in another file (--plan)"
        )
        self.moved = tuple(moved)

    def __reduce__(self) -> tuple[type["PlanMovedError"], tuple[Sequence[str]]]:
        """Come from another process as it was raised there."""
        return PlanMovedError, (self.moved,)


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
        return [
            *(
                f"{topic}/{number} begins at {now.starts[number]}, not {start}"
                for number, start in self.starts.items()
                if now.starts[number] > start
            ),
            *(
                f"{topic}/{number} ends at {now.ends[number]}, not {end}"
                for number, end in self.ends.items()
                if now.ends[number] < end or (self.stands_still and now.ends[number] != end)
            ),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done, with which options, and what that relies on."""

    kind: str
    """rebuild, what-if, reconcile or requeue."""
    target: str
    """What is rebuilt, or the code of the brand; empty for a what-if."""
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
        ours, theirs = (
            {
                "the law has version {}, not {}": one.law_version,
                "IZIN_EXTRA_CLOSED_DAYS has other days": one.closed_days,
                "the cluster is {}, not {}": one.cluster_id,
            }
            for one in (self, now)
        )
        found = [
            *(what.format(theirs[what], one) for what, one in ours.items() if one != theirs[what]),
            *(
                what
                for topic, bounds in self.topics.items()
                for what in bounds.moved(topic, now.topics[topic])
            ),
            *(
                f"shard {shard} of the history ends at {now.history.get(shard, 0)}"
                for shard, place in self.history.items()
                if now.history.get(shard, 0) < place
            ),
        ]
        if found:
            raise PlanMovedError(found)

    def write(self, path: Path) -> None:
        """Write it to ``path``, all or nothing: a plan names recipients, so only its owner reads
        it.
        """
        write_private(path, [_bytes({**self._values(), "digest": self.digest})])

    @classmethod
    def read(cls, path: Path, *, kind: str | None = None, target: str | None = None) -> Self:
        """Return the plan in ``path``, of this ``kind`` and for this ``target`` where they matter.

        Raises:
            UnreadablePlanError: it is no plan, was edited, or is of another release.
            OtherPlanError: it is of another kind, or for another target.
        """
        try:
            values = orjson.loads(path.read_bytes())
            digest = values.pop("digest")
            if values["format"] != _FORMAT:
                raise UnreadablePlanError(path, f"its format is {values['format']}")
            plan = cls._of(values)
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnreadablePlanError(path, "it is no plan") from error
        if plan.digest != digest:
            raise UnreadablePlanError(path, "it was edited")
        if kind not in {None, plan.kind} or target not in {None, plan.target}:
            raise OtherPlanError(path, f"{plan.kind} {plan.target}".rstrip())
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


class PrivateLines:
    """Writes a file line by line, which its owner alone may read: it is whole, or not there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self._file = os.fdopen(os.open(self._part, flags, 0o600), "wb")
        self._digest = sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, line: bytes) -> None:
        """Write ``line``, which has its end."""
        self._file.write(line)
        self._digest.update(line)

    def complete(self) -> str:
        """Put the file into its place; return its SHA-256 in hexadecimal digits."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._part.replace(self._path)
        return self._digest.hexdigest()


def lines_of(path: Path, digest: str) -> Iterator[bytes]:
    """Yield the lines of the file with this ``digest``, each with its end.

    Raises:
        UnreadablePlanError: it is gone, or was edited.
    """
    try:
        with path.open("rb") as file:
            if file_digest(file, "sha256").hexdigest() != digest:
                raise UnreadablePlanError(path, "it was edited")
            file.seek(0)
            yield from file
    except OSError as error:
        raise UnreadablePlanError(path, "it cannot be read") from error


def write_private(path: Path, parts: Iterable[bytes]) -> str:
    """Write ``parts`` one after the other to ``path``, all or nothing; only its owner may read it.
    Return its SHA-256 in hexadecimal digits.
    """
    with PrivateLines(path) as file:
        for part in parts:
            file.add(part)
        return file.complete()


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
