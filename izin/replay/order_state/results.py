"""What a partition gave: a file of numbers and a file of what differs, in the folder of the work.

Both are written whole or not at all, so that a rebuild that was killed goes on with the partitions
that have none. They name recipients in full; only their owner may read them.
"""

import base64
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from izin.replay.order_state.comparison import Change, ChangeKind
from izin.runtime.plan import UnreadablePlanError, write_private


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionResult:
    """What the dry run found of a partition."""

    partition: int
    events: int
    """How many records of the lanes were folded, and are selected."""
    seconds: float
    """How long that took."""
    keys: int
    computed: str
    """The digest of the rows that should stand."""
    standing: str
    """The digest of the rows that do."""
    counts: Mapping[str, int]
    """Rows by how they differ."""
    changes: str
    """The digest of the file of what differs."""


def changes_path(folder: Path, number: int) -> Path:
    """Return the file of what differs in partition ``number``."""
    return folder / f"changes-{number}.jsonl"


def result_path(folder: Path, number: int) -> Path:
    """Return the file of the numbers of partition ``number``."""
    return folder / f"result-{number}.json"


class WrittenChanges(NamedTuple):
    """A file of what differs."""

    digest: str
    counts: Mapping[str, int]
    """Rows by how they differ."""


def write_changes(folder: Path, number: int, changes: Iterable[Change]) -> WrittenChanges:
    """Write what differs in partition ``number``."""
    digest, counts = sha256(), Counter[str]()

    def lines() -> Iterator[bytes]:
        for one in changes:
            line = _line(one)
            digest.update(line)
            counts[one.kind.value] += 1
            yield line

    write_private(changes_path(folder, number), lines())
    return WrittenChanges(digest.hexdigest(), dict(counts))


def check_changes(folder: Path, result: PartitionResult) -> None:
    """Compare the file of what differs in the partition of ``result`` with its digest.

    Raises:
        UnreadablePlanError: it is gone, or was edited.
    """
    path = changes_path(folder, result.partition)
    try:
        with path.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreadablePlanError(path, "it cannot be read") from error
    if found != result.changes:
        raise UnreadablePlanError(path, "it was edited")


def read_changes(folder: Path, result: PartitionResult) -> Iterator[Change]:
    """Yield what differs in the partition of ``result``; raises as ``check_changes``."""
    check_changes(folder, result)
    with changes_path(folder, result.partition).open("rb") as file:
        yield from map(_change, file)


def write_result(folder: Path, result: PartitionResult) -> None:
    """Write the numbers of a partition: it is done then."""
    write_private(result_path(folder, result.partition), [orjson.dumps(asdict(result))])


def read_result(folder: Path, number: int) -> PartitionResult | None:
    """Return the numbers of partition ``number``; None: it is not done."""
    path = result_path(folder, number)
    return PartitionResult(**orjson.loads(path.read_bytes())) if path.exists() else None


def _line(change: Change) -> bytes:
    row = None if change.row is None else base64.b64encode(change.row).decode()
    key = change.key.decode(errors="replace")
    values = {"kind": change.kind, "key": key, "fields": change.fields, "row": row}
    return orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)


def _change(line: bytes) -> Change:
    values: Mapping[str, Any] = orjson.loads(line)
    row = None if values["row"] is None else base64.b64decode(values["row"])
    fields = {name: (both[0], both[1]) for name, both in values["fields"].items()}
    return Change(ChangeKind(values["kind"]), values["key"].encode(), fields, row)
