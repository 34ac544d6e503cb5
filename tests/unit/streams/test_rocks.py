"""The state on disk: what survives, what is discarded, and what is refused.

One suite for every state: in memory and on disk.
"""

import json
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from rocksdict import Options, Rdict
from structlog.typing import EventDict

from izin.consent import LAW_VERSION
from izin.runtime.settings import StateKind, StreamSettings
from izin.schemas.erasure import SUPPRESSED
from izin.streams.engine.app import states
from izin.streams.errors import StateError
from izin.streams.state import rocks as rocks_module
from izin.streams.state.packing import LAYOUT
from izin.streams.state.rocks import LOCK_FILE, RocksFolder, RocksState
from izin.streams.state.state import MemoryState, PartitionState, suppression
from tests.support.builders import a_key
from tests.support.order.harness import KEY, ONAY, RET, apply, consent_of

HOME = "cluster/topic"
OTHER_ONAY = replace(ONAY, key=a_key(recipient="+905550000002"))
OTHER = OTHER_ONAY.key.encode()


@pytest.fixture
def folder(tmp_path: Path) -> RocksFolder:
    """Return a worker's folder."""
    return RocksFolder(tmp_path / "worker")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Return the place where RocksDB keeps partition 0."""
    return tmp_path / "worker/0/rows"


@pytest.fixture
def state(folder: RocksFolder) -> Iterator[RocksState]:
    """Yield an open state that holds a row."""
    kept = folder.state(0)
    kept.open(HOME)
    apply(kept, {KEY: ONAY}, 5)
    yield kept
    kept.close()


def record(rows: Path, **about: object) -> None:
    """Change what a closed folder records of itself."""
    opened = Rdict(str(rows), Options(raw_mode=True))
    written = json.loads(opened[rocks_module._ABOUT])
    opened[rocks_module._ABOUT] = json.dumps(written | about).encode()
    opened.close()


def without_a_beginning(rows: Path) -> None:
    """Damage the database."""
    (rows / "CURRENT").write_text("rubbish")


def of_an_older_packing(rows: Path) -> None:
    """Let an older release have packed the rows."""
    record(rows, layout=LAYOUT - 1)


@contextmanager
def opened(folder: RocksFolder, partition: int = 0) -> Iterator[RocksState]:
    """Open the state of a partition in a folder."""
    state = folder.state(partition)
    state.open(HOME)
    yield state
    state.close()


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from izin.consent.ordering import decide
from izin.streams.state.rocks import RocksFolder
from tests.support.builders import an_admitted_event, a_key
from tests.support.order.harness import apply

onay = decide(None, an_admitted_event()).consent
state = RocksFolder(Path(sys.argv[1])).state(0)
state.open("cluster/topic")
for number in range(10**9):
    rows = [
        replace(onay, key=a_key(recipient=f"+90555{number:05d}{one:02d}"), origin=f"o{number % 99}")
        for one in range(20)
    ]
    apply(state, {row.key.encode(): row for row in rows}, number + 1)
    print(number + 1, flush=True)
"""


def test_kill_leaves_a_consistent_prefix(tmp_path: Path, folder: RocksFolder) -> None:
    """Killed while it writes, a worker leaves whole batches, each with its position, none twice."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "worker")], stdout=subprocess.PIPE, text=True
    ) as writer:
        applied = 0
        for line in writer.stdout:
            applied = int(line)
            if applied >= 300:
                writer.send_signal(signal.SIGKILL)
                break
        applied = max([applied, *map(int, writer.stdout.read().split())])
    assert applied >= 300
    with opened(folder) as state:
        assert applied <= state.position <= applied + 1
        assert len(state) == 20 * state.position
        for number in range(state.position):
            expected = replace(
                ONAY, key=a_key(recipient=f"+90555{number:05d}19"), origin=f"o{number % 99}"
            )
            assert consent_of(state, expected.key.encode()) == expected
        assert consent_of(state, a_key(recipient=f"+90555{state.position:05d}00").encode()) is None


def test_folder_is_of_one_worker(state: RocksState, folder: RocksFolder, rows: Path) -> None:
    """Two workers that share a folder are refused with the remedy; the first is not disturbed. Its
    keys are recipients, so nobody else reads it.
    """
    with pytest.raises(StateError, match="IZIN_INSTANCE_ID"):
        folder.state(0).open(HOME)
    assert consent_of(state, KEY) == ONAY
    assert rows.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("name", "error"),
    [("worker/0/letters.txt", "no state of ours"), ("worker", "IZIN_STATE_FOLDER")],
    ids=["folder of others", "file"],
)
def test_path_of_others_is_left_alone(
    tmp_path: Path, folder: RocksFolder, name: str, error: str
) -> None:
    """It is reported, with the setting that corrects it."""
    foreign = tmp_path / name
    foreign.parent.mkdir(parents=True, exist_ok=True)
    foreign.write_text("dear")
    with pytest.raises(StateError, match=error):
        folder.state(0).open(HOME)
    assert foreign.read_text() == "dear"


def test_partitions_are_independent(state: RocksState, folder: RocksFolder) -> None:
    """What one partition holds, another knows nothing of."""
    with opened(folder, 1) as other:
        assert (consent_of(other, KEY), consent_of(state, KEY)) == (None, ONAY)


def test_database_that_cannot_be_created_is_refused(
    tmp_path: Path, folder: RocksFolder, logged: list[EventDict]
) -> None:
    """Where not even an empty state can be made, the worker does not begin."""
    (tmp_path / "worker/0").mkdir(parents=True)
    (tmp_path / "worker/0" / LOCK_FILE).touch()
    (tmp_path / "worker/0/rows").write_text("a file")
    with pytest.raises(StateError, match="cannot be made"):
        folder.state(0).open(HOME)
    assert [one["why"] for one in logged] == ["it cannot be opened"]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (without_a_beginning, "it cannot be opened"),
        (of_an_older_packing, "an older release packed it"),
    ],
)
def test_folder_that_cannot_be_read_is_discarded(
    state: RocksState,
    rows: Path,
    logged: list[EventDict],
    damage: Callable[[Path], None],
    why: str,
) -> None:
    """Nothing but rows of the topic is lost with it, and none is read by guessing."""
    state.close()
    damage(rows)
    state.open(HOME)
    assert (len(state), state.position, consent_of(state, KEY)) == (0, 0, None)
    assert [one["why"] for one in logged] == [why]


def test_unreadable_database_raises_and_is_then_discarded(
    state: RocksState, monkeypatch: pytest.MonkeyPatch, logged: list[EventDict]
) -> None:
    """A damaged block ends the worker before it decides; the next start does without it."""
    damaged = Mock()
    damaged.get.side_effect = Exception("Corruption: block checksum mismatch")  # as RocksDB
    other = b"1/MESAJ/BIREYSEL/x"  # not of the last batch, which is at hand
    for act in (lambda: consent_of(state, other), lambda: apply(state, {other: ONAY}, 6)):
        rows, state._rows = state._rows, damaged  # type: ignore[assignment]
        with pytest.raises(StateError, match="start the worker again"):
            act()
        state._rows = rows
    state.close()
    state.open(HOME)
    assert (len(state), state.position) == (0, 0)
    assert [one["why"] for one in logged] == ["it could not be read"]


@contextmanager
def a_full_disk(room: int = 2**20) -> Iterator[None]:
    """Let no file grow beyond ``room`` bytes."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def row(number: int) -> bytes:
    """Return the key of a row."""
    return b"1/MESAJ/BIREYSEL/%d" % number


def apply_until_full(state: RocksState) -> None:
    """Apply more rows than the disk has room for."""
    for number in range(6, 60):
        state.apply({row(number): b"x" * 2**16}, number)


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what could not be written be tried again with the next rows."""
    monkeypatch.setattr(rocks_module, "_RETRY_AFTER", 0.0)


@pytest.mark.usefixtures("_at_once")
def test_rows_of_a_full_disk_stand_in_memory_until_there_is_room(
    state: RocksState, folder: RocksFolder, logged: list[EventDict]
) -> None:
    """They are read, replaced, removed and counted as if they were written, and then they are."""
    whole = b"x" * 2**16
    with a_full_disk():
        apply_until_full(state)
        state.apply({row(59): None, row(58): b"y", KEY: None, row(1): None}, 60)
        assert (len(state), state.position) == (53, 60)
        assert [state.packed(row(one)) for one in (1, 6, 58, 59)] == [None, whole, b"y", None]
        assert state.packed(KEY) is None
    state.apply({row(57): None}, 61)
    reported = [one["event"] for one in logged if one["log_level"] != "info"]
    assert reported == ["state not written", "state not flushed", "state written again"]
    state.close()
    with opened(folder) as again:
        assert (len(again), again.position) == (52, 61)
        assert [again.packed(row(one)) for one in (1, 6, 57, 58)] == [None, whole, None, b"y"]


def test_rows_wait_where_too_many_of_them_cannot_be_written(
    state: RocksState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The full disk is named as such, the state is as it was, and goes on once there is room."""
    monkeypatch.setattr(rocks_module, "_MOST_UNWRITTEN", 2**20)
    monkeypatch.setattr(rocks_module, "_RETRY_AFTER", 0.0)
    with a_full_disk():
        with pytest.raises(StateError, match="is the disk full"):
            apply_until_full(state)
        before = len(state), state.position
        with pytest.raises(StateError, match="is the disk full"):
            state.apply({row(99): b"x" * 2**20}, 99)
        assert (len(state), state.position) == before
    state.apply({row(99): b"x" * 2**20}, 99)
    assert (len(state), state.position) == (before[0] + 1, 99)


@pytest.mark.usefixtures("_at_once")
def test_state_that_lost_rows_on_a_full_disk_is_read_back(state: RocksState, rows: Path) -> None:
    """What stands in memory is no state without the rows below it."""
    with a_full_disk():
        apply_until_full(state)
    shutil.rmtree(rows)
    with pytest.raises(StateError, match="lost rows"):
        state.apply({}, 60)
    state.open(HOME)
    assert (len(state), state.position) == (0, 0)


def test_state_on_a_full_disk_is_not_discarded(state: RocksState) -> None:
    """It cannot be opened until there is room, and is whole then."""
    state.close()
    with a_full_disk(0), pytest.raises(StateError, match="is the disk full"):
        state.open(HOME)
    state.open(HOME)
    assert (consent_of(state, KEY), state.position) == (ONAY, 5)


@pytest.mark.parametrize("end", [RocksState.close, RocksState.clear])
def test_folder_is_let_go_where_its_last_rows_cannot_be_written(
    state: RocksState, end: Callable[[RocksState], None], logged: list[EventDict]
) -> None:
    """A disk that is full while a partition is released does not hold it back once there is room:
    the same worker, or another one, takes the folder again.
    """
    with a_full_disk():
        apply_until_full(state)
        end(state)
    assert [one["event"] for one in logged] == ["state not written", "state not flushed"]
    state.close()
    state.open(HOME)
    apply(state, {KEY: ONAY}, 70)
    assert (consent_of(state, KEY), state.position) == (ONAY, 70)


@pytest.mark.parametrize("newer", [{"law": LAW_VERSION + 1}, {"layout": LAYOUT + 1}])
def test_folder_of_a_newer_release_is_refused_and_kept(
    state: RocksState, rows: Path, newer: dict[str, int]
) -> None:
    """An older worker neither decides over a newer state nor removes it, and lets it go."""
    state.close()
    record(rows, **newer)
    for _ in range(2):
        with pytest.raises(StateError, match="newer release"):
            state.open(HOME)
    record(rows, law=LAW_VERSION, layout=LAYOUT)
    state.open(HOME)
    assert consent_of(state, KEY) == ONAY


def test_closed_state_raises(state: RocksState) -> None:
    """A released partition is not used for decisions by mistake; it is reported as empty."""
    state.close()
    with pytest.raises(StateError, match="not open"):
        consent_of(state, KEY)
    with pytest.raises(StateError, match="not open"):
        apply(state, {KEY: ONAY}, 6)
    assert (len(state), state.size) == (0, 0)


@pytest.mark.parametrize(("instance", "name"), [("worker-2", "worker-2"), (None, "worker")])
def test_each_worker_has_its_own_folder(tmp_path: Path, instance: str | None, name: str) -> None:
    """Group, instance and partition name the folder, so that two workers can share a disk."""
    settings = StreamSettings(
        state=StateKind.ROCKSDB, state_folder=tmp_path, instance_id=instance, app_id="izin"
    )
    state = states(settings, "izin-order")(3)
    state.open(HOME)
    assert (tmp_path / "izin-order" / name / "3" / LOCK_FILE).exists()
    state.close()


def test_state_in_memory_is_the_default(tmp_path: Path) -> None:
    """Nothing is written to disk unless it is configured."""
    assert isinstance(states(StreamSettings(state_folder=tmp_path), "group")(3), MemoryState)
    assert not list(tmp_path.iterdir())


def test_suppression_is_known_after_a_restart(folder: RocksFolder, state: RocksState) -> None:
    """Until the state is cleared; an erased key has no row."""
    assert not state.suppresses
    state.apply({KEY: b"", SUPPRESSED + b"fake/00": suppression(7)}, 6)
    assert state.packed(KEY) is None
    state.close()
    with opened(folder) as again:
        assert (again.suppresses, len(again)) == (True, 1)
        again.clear()
        assert not again.suppresses


@pytest.fixture(params=["memory", "rocksdb"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PartitionState]:
    """Yield an empty state of each implementation, open."""
    made = MemoryState() if request.param == "memory" else RocksFolder(tmp_path).state(0)
    made.open(HOME)
    yield made
    made.close()


def test_rows_may_be_applied_without_moving_the_position(kept: PartitionState) -> None:
    """Rows that are held may be read again; none may be passed over."""
    apply(kept, {}, 7)
    apply(kept, {KEY: ONAY}, 7)
    assert (kept.position, consent_of(kept, KEY)) == (7, ONAY)


def test_key_applied_again_is_counted_once(kept: PartitionState) -> None:
    """A key that was read before and one that was not are treated alike."""
    apply(kept, {KEY: ONAY}, 1)
    apply(kept, {KEY: RET}, 2)
    assert consent_of(kept, OTHER) is None
    apply(kept, {KEY: ONAY, OTHER: OTHER_ONAY}, 4)
    assert consent_of(kept, KEY) == ONAY
    apply(kept, {KEY: RET}, 5)
    apply(kept, {KEY: None}, 6)
    apply(kept, {KEY: None}, 7)
    assert (len(kept), consent_of(kept, KEY)) == (1, None)


def test_rows_replace_and_tombstones_remove(kept: PartitionState) -> None:
    """A delta lays new rows over old ones, and a tombstone forgets a key, known or not."""
    apply(kept, {KEY: ONAY, OTHER: OTHER_ONAY}, 5)
    apply(kept, {KEY: RET, OTHER: None, b"never seen": None}, 9)
    assert (consent_of(kept, KEY), consent_of(kept, OTHER)) == (RET, None)
    assert (len(kept), kept.position) == (1, 9)


def test_cleared_state_is_empty(kept: PartitionState) -> None:
    """Nothing of what it held survives, nor its position; and it goes on."""
    apply(kept, {KEY: ONAY}, 5)
    kept.clear()
    assert (len(kept), kept.position, consent_of(kept, KEY)) == (0, 0, None)
    apply(kept, {KEY: RET}, 3)
    assert (len(kept), kept.position, consent_of(kept, KEY)) == (1, 3, RET)


def test_reopened_state_has_its_rows(kept: PartitionState) -> None:
    """A partition that moves away and comes back needs to read only what it missed."""
    apply(kept, {KEY: ONAY, OTHER: OTHER_ONAY}, 5)
    kept.close()
    kept.close()
    kept.open(HOME)
    assert (len(kept), kept.position) == (2, 5)
    assert (consent_of(kept, KEY), consent_of(kept, OTHER)) == (ONAY, OTHER_ONAY)


def test_state_opened_twice_is_unchanged(kept: PartitionState) -> None:
    """A partition is taken again and again by the same worker."""
    apply(kept, {KEY: ONAY}, 5)
    kept.open(HOME)
    assert (consent_of(kept, KEY), kept.position) == (ONAY, 5)


@pytest.mark.parametrize("closed", [True, False])
def test_state_of_another_topic_is_discarded(
    kept: PartitionState, logged: list[EventDict], closed: bool
) -> None:
    """What came from a topic recreated since, or from another cluster, is never trusted."""
    apply(kept, {KEY: ONAY}, 5)
    if closed:
        kept.close()
    kept.open("cluster/topic made again")
    assert (len(kept), kept.position, consent_of(kept, KEY)) == (0, 0, None)
    assert [one["why"] for one in logged] == ["it is of another topic"]
    apply(kept, {KEY: RET}, 1)
    kept.open("cluster/topic made again")
    assert consent_of(kept, KEY) == RET


def test_size_grows_with_the_rows(kept: PartitionState) -> None:
    """What it takes grows with what it holds."""
    empty = kept.size
    many = {
        one.key.encode(): one
        for number in range(2000)
        for one in [replace(ONAY, key=a_key(recipient=f"+90555{number:07d}"))]
    }
    apply(kept, many, 1)
    assert kept.size > empty + 50 * len(many)
